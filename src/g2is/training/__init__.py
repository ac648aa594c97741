"""Fine-tuning on a selection."""
