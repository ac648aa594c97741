"""Unbalanced optimal transport from the target's examples to the pool, as in arXiv 2602.14696.

The plan T (M, N) moves a mass of 1/M from each of the M examples to the pool's N rows. It minimises

    Σ T_mn·(1 - c(m, n))/2 + ε·KL(T | a·bᵀ) + λ·KL(Σ_m T_m | b),  Σ_n T_mn = a_m = 1/M,  b_n = 1/N,

c the cosines. Every example gives all that it has; rows need not take equal parts, and λ says how dearly they are held
to it. A row's score is what it takes, Σ_m T_mn. Sinkhorn's steps run on the logarithms of the scalings, where nothing
overflows. Each brings them nearer to the solution by λ/(λ + ε) at least, so it is reached.
"""

from collections.abc import Iterator

import numpy as np
from pydantic import Field

from g2is.methods import OpposedSettings, Section, SelectorKind
from g2is.selection.arrays import Floats
from g2is.selection.problem import Choice, Problem

_REACHED = 1e-11  # change of a logarithm in a step, below which the scalings are the solution's
_BLOCK_VALUES = 2**20  # of the plan, looked at at a time: 8 MiB
_DECIMALS = 9  # of a logarithm of mass: what differs by less is rounding, and ties


class UotSettings(Section):
    """How blurred the plan is, and how equally rows take."""

    transport_entropy: float = Field(
        0.01, ge=0.005, le=1, description="ε: how much the plan is spread over rows that are hardly farther"
    )
    transport_balance: float = Field(
        1e-4, gt=0, le=0.1, description="λ: how dearly rows are held to taking equal parts of the mass"
    )


def uot(problem: Problem) -> Iterator[Choice]:
    """Take rows by the mass that moves to them, most first; ties go to the lowest row.

    The pool of the plan is the rows that can be taken when the target's turn begins, without those that oppose every
    example. Raises SelectionError if the representation has no vectors.
    """
    problem.vectors()
    rows = np.flatnonzero(problem.open & ~problem.opposed)
    if not rows.size:
        return
    mass = _log_mass(problem.similarity[rows], problem.settings.part(UotSettings)).round(_DECIMALS)
    for place in np.argsort(-mass, kind="stable").tolist():
        yield Choice(int(rows[place]), float(np.exp(mass[place])))


def _log_mass(similarity: Floats, settings: UotSettings) -> Floats:
    """The logarithm (n,) of the mass that each of n rows takes, from its cosines (n, M) with the examples, used up.

    With log u = f of the examples and log v = g of the rows, T = a·b·exp(f + g - C/ε). Given f, the rows' condition is
    g = -φ·L, L = log Σ_m a_m·exp(f_m - C_mn/ε) and φ = λ/(λ + ε); given g, the examples' is
    f = -log Σ_n b_n·exp(g_n - C_mn/ε). A row takes b·exp(g + L).
    """
    num_rows, num_examples = similarity.shape
    held = settings.transport_balance / (settings.transport_balance + settings.transport_entropy)  # φ
    kernel = np.subtract(similarity, 1, out=similarity)  # in place: it may be most of what memory holds
    kernel /= 2 * settings.transport_entropy
    at_once = max(1, _BLOCK_VALUES // num_examples)
    of_examples, reach = np.zeros(num_examples), np.empty(num_rows)  # f and L
    while True:
        reached = np.full(num_examples, -np.inf)
        for low in range(0, num_rows, at_once):
            block = kernel[low : low + at_once]
            ours = reach[low : low + at_once] = _log_sum(block + of_examples, 1) - np.log(num_examples)
            reached = np.logaddexp(reached, _log_sum(block - held * ours[:, None], 0))
        before, of_examples = of_examples, np.log(num_rows) - reached
        if np.abs(of_examples - before).max() <= _REACHED:
            return (1 - held) * reach - np.log(num_rows)


def _log_sum(values: Floats, axis: int) -> Floats:
    """log Σ exp(values) along an axis."""
    highest = values.max(axis=axis, keepdims=True)
    found: Floats = np.log(np.exp(values - highest).sum(axis=axis)) + highest.squeeze(axis)
    return found


UOT = SelectorKind(
    line="the rows that most of the target's mass moves to by unbalanced optimal transport",
    source="Nayak et al., arXiv 2602.14696",
    needs=lambda _: "vectors",
    settings=UotSettings,
    shared={OpposedSettings: lambda _: True},
    select=uot,
    replays=False,  # what a row takes depends on what the others take
    score="the part of the target's mass that moves to the row",
    score_unit="part of 1",
)
