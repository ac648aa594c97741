"""Moments out of an optimizer, Adam's or Adafactor's, by canonical parameter name."""

from collections.abc import Mapping

import torch
from torch import nn

from g2is.store.moments import Factored, Moments

_EPSILON = 1e-8  # Adam's, in Γ too where the optimizer was Adafactor, whose own are of another place


def moments_of(
    optimizer: torch.optim.Optimizer,
    parameters: Mapping[str, nn.Parameter],
    betas: tuple[float, float] | None = None,
) -> Moments:
    """What an Adam-type `optimizer` or Adafactor holds for `parameters` (canonical name -> parameter), on the CPU.

    Adam's m and v, or Adafactor's factored v without m, for which `betas` says those of Γ. Parameters are matched by
    identity, never by position.
    """
    state = {name: optimizer.state[p] for name, p in parameters.items()}
    steps = {int(of_parameter["step"]) for of_parameter in state.values()}
    assert len(steps) == 1, f"all parameters take every step, found {steps}"
    group = optimizer.param_groups[0]
    is_adam = "betas" in group
    beta1, beta2 = group["betas"] if is_adam else betas or (0.9, 0.999)
    return Moments(
        m={name: _kept(of["exp_avg"]) for name, of in state.items()} if is_adam else {},
        v={name: _kept(of["exp_avg_sq"]) for name, of in state.items() if "exp_avg_sq" in of},
        step=steps.pop(),
        beta1=beta1,
        beta2=beta2,
        epsilon=group["eps"] if is_adam else _EPSILON,
        factored={
            name: Factored(_kept(of["exp_avg_sq_row"]), _kept(of["exp_avg_sq_col"]))
            for name, of in state.items()
            if "exp_avg_sq_row" in of  # not of a bias
        },
    )


def _kept(moment: torch.Tensor) -> torch.Tensor:
    return moment.detach().float().cpu()
