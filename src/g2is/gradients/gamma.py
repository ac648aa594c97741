"""Γ: what an optimizer would make of a gradient (method.md step 2), in five named forms.

Elementwise over float32; m and v are the warm-up's Adam moments and are never advanced between examples.
"""

from collections.abc import Callable
from functools import cache

import torch

from g2is.config import GammaForm
from g2is.errors import first_line, tells_of_memory
from g2is.store.moments import Moments


def gamma(form: GammaForm, gradient: torch.Tensor, name: str, moments: Moments, start: int = 0) -> torch.Tensor:
    """Γ of per-example gradients.

    `gradient` is (B, n) float32, the flattened gradients of parameter `name`, its coordinates from `start` on; the
    result has its shape and is always a new tensor.

    - ``less``: (β1·m + (1−β1)·g) / sqrt(β2·v + (1−β2)·g² + ε); ε inside the root, no bias correction, as LESS's code.
    - ``adam``: the step Adam takes, bias-corrected at step t+1, ε outside the root.
    - ``sgd``: g.
    - ``normalized``: g / (sqrt(v) + ε).
    - ``momentum-free``: ``less`` minus its value at g = 0, the part that all examples share.
    """
    return _adjust(form, gradient, *_state(name, moments, start, gradient.shape[1]))


class Gamma:
    """`gamma` as extraction calls it: compiled where `compiles`, for a GPU.

    There, most of what extraction adds to a backward pass is reading and writing per-example gradients, and compiled
    code goes over them twice in place of eleven times. Where the code cannot be compiled, `notice` is told why, and it
    is run as it stands.
    """

    def __init__(self, compiles: bool, notice: Callable[[str], None]) -> None:
        self._compiles, self._notice = compiles, notice

    def __call__(
        self, form: GammaForm, gradient: torch.Tensor, name: str, moments: Moments, start: int = 0
    ) -> torch.Tensor:
        """As `gamma`."""
        state = _state(name, moments, start, gradient.shape[1])
        if self._compiles:
            try:
                return _compiled()(form, gradient, *state)
            except Exception as error:
                if tells_of_memory(error):
                    raise
                self._compiles = False
                self._notice(f"Γ is computed by code that is not compiled, which is slower: {first_line(error)}")
        return _adjust(form, gradient, *state)


_SQUARABLE = 1e18  # a gradient below has a square in float32, and m and v are far below one that is larger
_State = tuple[torch.Tensor, torch.Tensor, float, float, float, int]


def _state(name: str, moments: Moments, start: int, size: int) -> _State:
    m, v = moments.first(name, start, start + size), moments.second(name, start, start + size)
    return m, v, moments.beta1, moments.beta2, moments.epsilon, moments.step


def _adjust(
    form: GammaForm,
    gradient: torch.Tensor,
    m: torch.Tensor,
    v: torch.Tensor,
    beta1: float,
    beta2: float,
    epsilon: float,
    step: int,
) -> torch.Tensor:
    if form == "sgd":
        return gradient.clone()
    if form == "normalized":
        return gradient / (v.sqrt() + epsilon)
    momentum, at_zero = beta1 * m, beta2 * v
    numerator = torch.add(momentum, gradient, alpha=1 - beta1)
    limit = (1 - beta1) / (1 - beta2) ** 0.5  # what Γ comes to where g is so large that m and v are as nothing
    if form == "adam":
        second = torch.addcmul(at_zero, gradient, gradient, value=1 - beta2)
        denominator = second.div_(1 - beta2 ** (step + 1)).sqrt_().add_(epsilon)
        limit *= (1 - beta2 ** (step + 1)) ** 0.5 / (1 - beta1 ** (step + 1))
        return _saturated(numerator.div_(1 - beta1 ** (step + 1)).div_(denominator), gradient, limit)
    at_zero += epsilon
    adjusted = numerator.mul_(torch.addcmul(at_zero, gradient, gradient, value=1 - beta2).rsqrt_())
    adjusted = _saturated(adjusted, gradient, limit)
    if form == "momentum-free":
        adjusted -= momentum * at_zero.rsqrt()  # the same operations: exactly 0 at g = 0
    return adjusted


def _saturated(adjusted: torch.Tensor, gradient: torch.Tensor, limit: float) -> torch.Tensor:
    """`adjusted`, ±`limit` where the gradient is finite and its square is not: dividing by that gave 0."""
    if gradient.device.type == "cpu":  # elsewhere to look first is to wait for the device, and compiled code does both
        low, high = torch.aminmax(gradient) if gradient.numel() else (gradient.sum(), gradient.sum())
        if max(-low.item(), high.item()) < _SQUARABLE:
            return adjusted
    overflows = (gradient.abs() >= _SQUARABLE) & gradient.isfinite()
    return torch.where(overflows, limit * gradient.sign(), adjusted)


def _adjust_exactly_at_zero(form: GammaForm, gradient: torch.Tensor, *state: *_State) -> torch.Tensor:
    """As `_adjust`, also where a compiler rounds a product and a difference as one."""
    adjusted = _adjust(form, gradient, *state)
    return torch.where(gradient == 0, 0.0, adjusted) if form == "momentum-free" else adjusted


@cache
def _compiled() -> Callable[..., torch.Tensor]:
    return torch.compile(_adjust_exactly_at_zero, dynamic=True)  # every batch has another size
