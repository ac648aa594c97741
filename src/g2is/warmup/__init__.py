"""Warm-up: adapter, training, moments (method.md step 1)."""
