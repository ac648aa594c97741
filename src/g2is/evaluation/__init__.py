"""How well a model does on examples: loss, right answers, and tasks of lm-evaluation-harness."""
