"""Per-example gradients, Γ and projection (method.md steps 2-4)."""
