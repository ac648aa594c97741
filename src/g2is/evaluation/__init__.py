"""How well a model does on examples: loss and exact match."""
