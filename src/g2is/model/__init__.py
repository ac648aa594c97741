"""The base model: where it lies, its parameters' canonical names, batches for it. Used by warmup and gradients."""
