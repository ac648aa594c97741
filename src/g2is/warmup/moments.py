"""Adam's moments out of an optimizer, by canonical parameter name."""

from collections.abc import Mapping

import torch
from torch import nn

from g2is.store.moments import Moments


def moments_of(optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]) -> Moments:
    """The m and v that an Adam-type `optimizer` holds for `parameters` (canonical name -> parameter), on the CPU.

    Parameters are matched by identity, never by position.
    """
    state = {name: optimizer.state[p] for name, p in parameters.items()}
    steps = {int(of_parameter["step"]) for of_parameter in state.values()}
    assert len(steps) == 1, f"all parameters take every step, found {steps}"
    group = optimizer.param_groups[0]
    beta1, beta2 = group["betas"]
    return Moments(
        m={name: of["exp_avg"].detach().float().cpu() for name, of in state.items()},
        v={name: of["exp_avg_sq"].detach().float().cpu() for name, of in state.items()},
        step=steps.pop(),
        beta1=beta1,
        beta2=beta2,
        epsilon=group["eps"],
    )
