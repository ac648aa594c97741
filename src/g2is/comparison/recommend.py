"""Which method a comparison speaks for, on what evidence, and what that evidence lacks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from g2is.comparison.contrasts import Contrast
from g2is.comparison.evidence import Comparison, Entry, Part
from g2is.comparison.notes import FEWEST_TEST_EXAMPLES
from g2is.comparison.statistics import BETTER, INTERVAL_FRACTION, WORSE, Estimate
from g2is.errors import plural
from g2is.methods import FULL, FULL_CUT, RANDOM, UNTUNED

# How far the evidence goes: one method is better than all others; it is better than random, but others are not told
# apart from it; or not even that is shown.
Standing = Literal["clear", "shared", "thin"]

_BESIDE = (UNTUNED, FULL, FULL_CUT)  # no method's selection, and no measure of any
_FEWEST_SEEDS = 3  # with fewer, what one seed says is most of what is known
_CHEAPER = 0.5  # of the seconds that the best takes to select: a method that is as good is worth naming
_SELECTING = ("represent", "select")  # stages of a cell that choosing its rows took


@dataclass(frozen=True)
class Recommendation:
    """What to take at a `budget`.

    method     the method to take: random where none is shown to be better, None where nothing was compared
    standing   how far the evidence goes
    as_good    methods that are not told apart from it, best first; `cheaper` is one of them that selects in less time
               and is not worse than random
    evidence   what speaks for it, a sentence each
    doubts     what the evidence lacks, a sentence each, with what would mend it
    """

    budget: str
    method: str | None
    standing: Standing
    as_good: tuple[str, ...]
    cheaper: str | None
    evidence: tuple[str, ...]
    doubts: tuple[str, ...]


def recommend(comparison: Comparison) -> list[Recommendation]:
    """A recommendation for each budget, from the finished cells.

    The best method is the one of lowest mean ÷ random. It is better than another if the interval of their difference is
    clear of zero and every seed, taken alone, agrees. With fewer than three seeds, fewer than 30 test examples of a
    target, a method's or random's cell missing or a loss of it not finite, or a best that is not better than random,
    the evidence is thin.
    """
    return [_at_budget(comparison, budget) for budget in comparison.grid.budgets]


def _at_budget(comparison: Comparison, budget: str) -> Recommendation:
    compared = [
        entry
        for entry in comparison.entries[budget]
        if entry.method not in (RANDOM, *_BESIDE) and _is_compared(entry.mean)
    ]
    unreadable = [
        f"{entry.method} is not compared: a test loss of it is no finite number"
        for entry in comparison.entries[budget]
        if entry.method not in (RANDOM, *_BESIDE) and entry.mean.relative is not None and not _is_compared(entry.mean)
    ]
    if _is_random_unreadable(comparison, budget):
        unreadable = [f"nothing can be compared: a test loss of {RANDOM} is no finite number"]
    known = (*comparison.remarks, *unreadable)  # of test rows that stand in the pool, say
    if not compared:
        again = "give `g2is compare` again" if comparison.missing else "name some with --methods"
        doubt = f"no method has a finished cell beside {RANDOM} on every target; {again}"
        return Recommendation(budget, None, "thin", (), None, (), known if unreadable else (*known, doubt))
    shown = [entry for entry in compared if _surely_better(entry.mean.to_random)]
    best = (shown or compared)[0]
    others = [entry for entry in compared if entry is not best]
    if shown:
        as_good = [entry for entry in others if not _is_beaten(comparison, best, entry)]
    else:
        as_good = [entry for entry in compared if _is_no_worse(entry)]
    thin = list(_too_little(comparison, budget, best))
    is_whole = not unreadable and not any(
        key.budget == budget and key.method not in _BESIDE for key in comparison.missing
    )
    return Recommendation(
        budget=budget,
        method=best.method if shown else RANDOM,
        standing="thin" if thin or not (shown and is_whole) else "shared" if as_good else "clear",
        as_good=tuple(entry.method for entry in as_good),
        cheaper=_cheaper(best, as_good) if shown else None,
        evidence=tuple(_evidence(comparison, best, [entry for entry in others if entry not in as_good], as_good)),
        doubts=(
            *known,
            *_missing(comparison, budget),
            *thin,
            *_flattered(len(compared)),
            *_against(compared, best, bool(shown)),
        ),
    )


def _is_compared(part: Part) -> bool:
    return part.relative is not None and bool(np.isfinite(part.relative.value))


def _surely_better(found: Contrast | None, than: str = BETTER) -> bool:
    """Whether a method is better: an interval clear of zero, and every seed by itself on the same side."""
    return found is not None and found.verdict == than and found.num_agreeing == found.num_seeds > 0


def _is_no_worse(entry: Entry) -> bool:
    """Whether a method is not told to be worse than random, on the mean over targets."""
    return entry.mean.to_random is not None and entry.mean.to_random.verdict != WORSE


def _is_beaten(comparison: Comparison, best: Entry, other: Entry) -> bool:
    """Whether `best` is surely better than `other` on the mean over targets; a pair is there once, either way round."""
    over = comparison.mean_targets[best.budget]
    for pair in comparison.pairs:
        if pair.budget == best.budget and pair.targets == over:
            if (pair.method, pair.other) == (best.method, other.method):
                return _surely_better(pair.contrast)
            if (pair.method, pair.other) == (other.method, best.method):
                return _surely_better(pair.contrast, WORSE)
    return False


def _evidence(comparison: Comparison, best: Entry, beaten: Sequence[Entry], as_good: Sequence[Entry]) -> Iterator[str]:
    part, found = best.mean, best.mean.to_random
    assert part.relative is not None
    assert found is not None
    where = "" if len(part.targets) == 1 else f" on the mean over {len(part.targets)} targets"
    yield (
        f"{best.method}: test loss ÷ {RANDOM} {_interval(part.relative)}{where}, {_told(found.verdict)} {RANDOM};"
        f" {_of_seeds(found)}"
    )
    if len(part.targets) > 1:
        told = [_of_target(name, of) for name, of in best.by_target.items() if of.relative is not None]
        yield f"by target: {', '.join(told)}"
    if (untuned := part.to_untuned) is not None:
        yield f"{_told(untuned.verdict)} the untuned model"
    if np.isfinite(part.recovered.fraction.value) and part.num_rows is not None:
        yield (
            f"{_interval(part.recovered.fraction, 2)} of what the full pool gains over {RANDOM}, with"
            f" {part.num_rows:,.0f} of its {comparison.num_pool_rows:,} rows"
        )
    if beaten and _surely_better(found):
        yield f"better than {', '.join(entry.method for entry in beaten)}"
    if alike := [entry.method for entry in as_good if entry is not best]:
        yield f"not told apart from {', '.join(alike)}"
    if (seconds := _seconds(best)) is not None:
        yield f"its rows were chosen in {seconds:,.0f} s"


def _is_random_unreadable(comparison: Comparison, budget: str) -> bool:
    """Whether all is to be divided by what is no number."""
    parts = [part for of in comparison.entries[budget] if of.method == RANDOM for part in of.by_target.values()]
    return any(part.loss is not None and not np.isfinite(part.loss.value) for part in parts)


def _of_seeds(found: Contrast) -> str:
    """How many seeds, each taken alone, are on the side that their mean is on."""
    if not found.num_seeds:
        return "no seed is finished on every target"
    told = f"{found.num_agreeing} of {plural(found.num_seeds, 'seed')}"
    if found.verdict in (BETTER, WORSE):
        return f"by {told} taken alone"
    return f"{'lower' if found.relative.value < 0 else 'not lower'} with {told} taken alone"


def _against(compared: Sequence[Entry], best: Entry, is_better: bool) -> Iterator[str]:
    """What speaks against the best method."""
    if compared[0] is not best or not is_better:
        yield (
            f"{compared[0].method} has the lowest loss of those compared, but is not shown to be better than {RANDOM}"
        )
    if len(best.by_target) > 1:
        for name, part in best.by_target.items():
            if part.to_random is not None and part.to_random.verdict == WORSE:
                yield f"on {name} it is worse than {RANDOM}: see that target's own table"
    if best.mean.to_untuned is not None and best.mean.to_untuned.verdict != BETTER:
        yield (
            "tuning on it is not shown to be better than not tuning at all: try another learning rate first"
            " (docs/how_to/learning_rate_and_budget.md)"
        )


def _missing(comparison: Comparison, budget: str) -> Iterator[str]:
    """Cells that are planned at the budget, or at none, and are not there."""
    missing = [key for key in comparison.missing if key.budget in (budget, None)]
    if missing:
        yield f"{plural(len(missing), 'cell')} missing, such as {missing[0]}: give the same command again"


def _too_little(comparison: Comparison, budget: str, best: Entry) -> Iterator[str]:
    """What makes the evidence thin, whatever it says, and what would mend it."""
    num_seeds = best.mean.to_random.num_seeds if best.mean.to_random else 0
    if not num_seeds:
        yield "each target has other seeds: give the same command again, until one seed is finished on all"
    elif num_seeds < _FEWEST_SEEDS:
        yield f"{plural(num_seeds, 'seed')}: the next may say otherwise; use --seeds {_FEWEST_SEEDS}"
    for name in comparison.grid.targets:
        num = comparison.num_test_examples.get(name, 0)
        if 0 < num < FEWEST_TEST_EXAMPLES:
            yield f"{plural(num, 'test example')} of {name}: too few for an interval; give {FEWEST_TEST_EXAMPLES}"
    if absent := [name for name in comparison.grid.targets if name not in comparison.mean_targets[budget]]:
        yield f"nothing is known of {', '.join(absent)}: {RANDOM} has no cell there"


def _flattered(num_compared: int) -> Iterator[str]:
    if num_compared > 1:
        yield (
            f"the best of {num_compared} methods by the rows that chose it looks better than it is: confirm it on test"
            " rows that were not looked at"
        )


def _cheaper(best: Entry, as_good: Sequence[Entry]) -> str | None:
    own = _seconds(best)
    known = [
        (seconds, entry.method) for entry in as_good if _is_no_worse(entry) and (seconds := _seconds(entry)) is not None
    ]
    if own is None or not known:
        return None
    seconds, method = min(known)
    return method if seconds < _CHEAPER * own else None


def _seconds(entry: Entry) -> float | None:
    """What choosing rows took, a cell: representing the pool once, and selecting; None if either is not known."""
    found = [entry.mean.seconds[stage] for stage in _SELECTING if stage in entry.mean.seconds]
    return sum(found) if len(found) == len(_SELECTING) else None


def _of_target(name: str, part: Part) -> str:
    assert part.relative is not None
    verdict = part.to_random.verdict if part.to_random is not None else ""
    return f"{name} {part.relative.value:.3f} ({verdict})"


def _interval(found: Estimate, digits: int = 3) -> str:
    value = f"{found.value:.{digits}f}"
    if not np.isfinite(found.low):
        return value
    return f"{value} [{INTERVAL_FRACTION:.0%}: {found.low:.{digits}f} to {found.high:.{digits}f}]"


def _told(verdict: str) -> str:
    return {BETTER: "better than", WORSE: "worse than"}.get(verdict, "not told apart from")
