"""Γ: what an optimizer would make of a gradient (method.md step 2), in five named forms.

Elementwise over float32; m and v are the warm-up's Adam moments and are never advanced between examples.
"""

import torch

from g2is.config import GammaForm
from g2is.store.moments import Moments


def gamma(form: GammaForm, gradient: torch.Tensor, name: str, moments: Moments) -> torch.Tensor:
    """Γ of per-example gradients.

    `gradient` is (B, n) float32, the flattened gradients of parameter `name`; the result has its shape and is always
    a new tensor.

    - ``less``: (β1·m + (1−β1)·g) / sqrt(β2·v + (1−β2)·g² + ε); ε inside the root, no bias correction, as LESS's code.
    - ``adam``: the step Adam takes, bias-corrected at step t+1, ε outside the root.
    - ``sgd``: g.
    - ``normalized``: g / (sqrt(v) + ε).
    - ``momentum-free``: ``less`` minus its value at g = 0, the part that all examples share.
    """
    if form == "sgd":
        return gradient.clone()
    m, v = moments.m[name].reshape(-1), moments.v[name].reshape(-1)
    beta1, beta2, epsilon = moments.beta1, moments.beta2, moments.epsilon
    if form == "normalized":
        return gradient / (v.sqrt() + epsilon)
    numerator = torch.add(beta1 * m, gradient, alpha=1 - beta1)
    second = (1 - beta2) * gradient.square()
    if form == "adam":
        step = moments.step + 1
        second += beta2 * v
        denominator = second.div_(1 - beta2**step).sqrt_().add_(epsilon)
        return numerator.div_(1 - beta1**step).div_(denominator)
    second += beta2 * v + epsilon
    adjusted = numerator.mul_(second.rsqrt_())
    if form == "momentum-free":
        adjusted -= (beta1 * m) * (beta2 * v + epsilon).rsqrt()  # the same operations: exactly 0 at g = 0
    return adjusted
