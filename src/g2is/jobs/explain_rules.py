"""What a row's vector says of why it was not taken: near-copies, conflicts, opposition, or what it was worth.

The rules are those of the selection (`selection/`), applied to the rows that were taken. What a row was worth at the
end is found by choosing once more among the taken rows and this one: as no other row was chosen while these were, the
same are chosen, and then this one, for what it is worth. If others are chosen, that is not told.
"""

from typing import Any

import numpy as np

from g2is.config.targets import titled
from g2is.errors import G2isError
from g2is.jobs.read_data import plan_for
from g2is.jobs.stored_vectors import Stored, Vectors
from g2is.methods import OWN, CopySettings, selector_kind
from g2is.report.packing import shortened
from g2is.selection.apply import apply_selector
from g2is.selection.arrays import GRAIN
from g2is.selection.limits import Limits
from g2is.selection.rules import WalkSettings, passes_over_opposed
from g2is.selection.selectors.design import DesignSettings
from g2is.selection.similarity import UnitRows

_NEIGHBOURS = 5
_ADDS_NOTHING = "it adds nothing to the rows that were taken"
_MOST_REPLAYED = 4096  # taken rows among which is chosen once more


class Taken:
    """The rows of a selection, in order: `steps` by id, as selection.parquet has them."""

    def __init__(self, steps: list[dict[str, Any]]) -> None:
        self.steps = {step["id"]: step for step in steps}
        self.ids = list(self.steps)


def explain_rows(rows: list[dict[str, Any]], taken: Taken, record: dict[str, Any], stored: Stored) -> None:
    """Add to each of `rows`, which are in the pool, what their vectors say, and the reason of those not selected."""
    if not rows:
        return
    if stored.vectors is None or stored.examples is None:
        for row in rows:
            row["unknown"] = [f"neighbours, conflicts and what it was worth: {stored.why_not}"]
            row.setdefault("reason", _reason(row, record, {}, is_compared=False))
        return
    examples, vectors = stored.examples, stored.vectors
    position_of = {id_: at for at, id_ in enumerate(examples.pool.ids)}
    units = vectors.units(np.array([position_of[row["id"]] for row in rows], np.int64))
    cosines = vectors.cosines(units)
    places = np.array([position_of[id_] for id_ in taken.ids], np.int64)
    replay = _Replay(vectors, stored, taken, places)
    for row, unit, own in zip(rows, units, cosines, strict=True):
        at = position_of[row["id"]]
        row["neighbours"] = [
            {**_named(examples.pool.ids, taken, int(place)), "cosine": shortened(own[place])}
            for place in _nearest(own, at)
        ]
        row["nearest_target"] = _nearest_targets(vectors, stored, unit)
        found = _against_taken(row, own[places], taken, record, vectors, row["nearest_target"])
        if row["state"] == "not selected" and not found:
            found = _worth(row, unit, own[places], taken, record, replay)
        row |= found
        row.setdefault("reason", _reason(row, record, found, is_compared=True))


def _nearest(own: np.ndarray, at: int) -> list[int]:
    order = np.argsort(-own, kind="stable")
    return [int(place) for place in order[: _NEIGHBOURS + 1] if place != at][:_NEIGHBOURS]


def _named(ids: list[str], taken: Taken, place: int) -> dict[str, Any]:
    step = taken.steps.get(ids[place])
    return {"id": ids[place], **({} if step is None else {"order": step["order"]})}


def _nearest_targets(vectors: Vectors, stored: Stored, unit: np.ndarray) -> list[dict[str, Any]]:
    """The nearest example of each target, and whether the row opposes every one of them."""
    assert stored.examples is not None
    found = []
    for name, table in stored.examples.targets.items():
        usable, cosines = vectors.target_cosines(name, unit[None])
        best = int(cosines[0].argmax())
        values = {"target": name, "id": table.ids[int(usable[best])], "cosine": shortened(cosines[0, best])}
        found.append(values | {"opposes_all": bool((cosines[0] < -GRAIN).all())})
    return found


def _against_taken(
    row: dict[str, Any],
    with_taken: np.ndarray,
    taken: Taken,
    record: dict[str, Any],
    vectors: Vectors,
    nearest: list[dict[str, Any]],
) -> dict[str, Any]:
    """The rule that refuses the row for what was taken before it; empty where none does."""
    if row["state"] != "not selected":
        return {}
    settings = vectors.config.selection
    threshold = settings.part(CopySettings).duplicate_threshold
    covering = int(with_taken.argmax())
    if threshold is not None and with_taken[covering] >= threshold - GRAIN:
        return {"covered_by": _of_taken(taken, covering, with_taken), "rule": f"duplicate_threshold {threshold}"}
    if nearest and all(of["opposes_all"] for of in nearest) and passes_over_opposed(settings):
        return {"rule": "take_opposed false: its cosine with every example of the target is below 0"}
    tolerance = record.get("conflict_tolerance")
    if tolerance is None:
        return {}
    # a trail refuses what conflicts with a row of its own, or of all: no step takes what conflicts in each of them
    trails = {step["trail"] for step in taken.steps.values() if step["trail"] is not None}
    conflicts: dict[int, dict[str, Any]] = {}
    for at, id_ in enumerate(taken.ids):
        trail = taken.steps[id_]["trail"]
        if trail is not None and with_taken[at] < -tolerance - GRAIN:
            conflicts.setdefault(trail, _of_taken(taken, at, with_taken))
    found: dict[str, Any] = {"conflicts_with": list(conflicts.values())} if conflicts else {}
    are_shared = settings.part(WalkSettings).cross_component_conflicts
    if conflicts and (are_shared or trails <= conflicts.keys()):
        return found | {"rule": f"conflict_tolerance {tolerance:.4g}: a cosine below it, negated, is a conflict"}
    row |= found
    return {}


def _of_taken(taken: Taken, at: int, with_taken: np.ndarray) -> dict[str, Any]:
    step = taken.steps[taken.ids[at]]
    values = {"id": step["id"], "order": step["order"], "cosine": shortened(with_taken[at])}
    return values | ({} if step["component"] is None else {"component": step["component"]})


def _worth(
    row: dict[str, Any],
    unit: np.ndarray,
    with_taken: np.ndarray,
    taken: Taken,
    record: dict[str, Any],
    replay: "_Replay",
) -> dict[str, Any]:
    """What the row was worth where it came nearest to being taken."""
    if "conflict_tolerance" in record:
        if row.get("source") in (record.get("full_quotas") or ()):
            return {}
        opposed = {of["target"] for of in row["nearest_target"] if of["opposes_all"]}
        return _nearest_step(with_taken, taken, record["conflict_tolerance"], opposed)
    score, why = replay.score(unit)
    if why == _ADDS_NOTHING:
        return {"rule": f"the selector {replay.selector} does not take it even when all others are taken"}
    if score is None:
        row["unknown"] = [f"what it was worth when the budget ended: {why}"]
        return {}
    last = taken.steps[taken.ids[-1]]
    return {"at_the_end": {"score": shortened(score), "last_taken": last["id"], "its_score": shortened(last["score"])}}


def _nearest_step(with_taken: np.ndarray, taken: Taken, tolerance: float, opposed: set[str]) -> dict[str, Any]:
    """The step of the walk at which the row's cosine with the row before came nearest to that of the row taken.

    Steps for a target that it opposes do not count, nor those of a trail that had taken a row it conflicts with by
    then. Where it came nearer than the row taken, what is left of the rules has refused it: consistency.
    """
    before: dict[int, int] = {}  # trail -> the row it took last
    conflicting: set[int] = set()
    best: tuple[float, dict[str, Any]] | None = None
    for at, id_ in enumerate(taken.ids):
        step = taken.steps[id_]
        if step["trail"] is None:
            continue
        is_step = step["role"] in ("step", "refill") and step["similarity_to_previous"] is not None
        if is_step and step["target"] not in opposed and step["trail"] in before and step["trail"] not in conflicting:
            own = float(with_taken[before[step["trail"]]])
            lacking = step["similarity_to_previous"] - own
            if best is None or lacking < best[0]:
                best = lacking, {"order": step["order"], "score": shortened(own), "taken": id_}
                best[1]["its_score"] = shortened(step["similarity_to_previous"])
        before[step["trail"]] = at
        if with_taken[at] < -tolerance - GRAIN:
            conflicting.add(step["trail"])
    if best is None:
        return {}
    rule = "consistency (delta): at the step named it was nearer than the row that was taken"
    return {"nearest_step": best[1], **({"rule": rule} if best[0] < -GRAIN else {})}


class _Replay:
    """Chooses once more among the taken rows and one more."""

    def __init__(self, vectors: Vectors, stored: Stored, taken: Taken, places: np.ndarray) -> None:
        self._vectors, self._stored, self._taken, self._places = vectors, stored, taken, places
        self._units: np.ndarray | None = None
        self.selector = vectors.config.selection.selector

    def score(self, unit: np.ndarray) -> tuple[float | None, str]:
        """What the selector would take the row for after all others; None, and why that is not known."""
        settings, targets = self._vectors.config.selection, self._stored.examples
        assert targets is not None
        kind = None if settings.selector.startswith(OWN) else selector_kind(settings.selector)
        if kind is None or kind.select is None or not kind.replays:
            return None, f"the selector {settings.selector} cannot be asked of single rows"
        if settings.selector == "design" and settings.rounds > 1:
            return None, "the target's gradients were taken anew in each round"
        if len(targets.targets) > 1:
            return None, "with several targets it depends on whose turn it is"
        if len(self._places) > _MOST_REPLAYED:
            return None, f"more than {_MOST_REPLAYED:,} rows were taken"
        if self._units is None:
            self._units = self._vectors.units(self._places)
        (name,) = targets.targets
        if settings.selector == "design":  # of the pool, of which these rows are a few
            share = plan_for(settings, targets).shares(len(targets.pool))[name]
            settings = settings.model_copy(update={"noise": settings.part(DesignSettings).noise_at(share)})
        rows = UnitRows(np.concatenate([self._units, unit[None]]), quantise=False)
        num = len(self._places)
        included = [at for at, id_ in enumerate(self._taken.ids) if self._taken.steps[id_]["role"] == "included"]
        groups = np.array(targets.targets[name].groups, object)
        target = self._vectors.target_rows(name, num + 1 - len(included), groups)
        try:
            steps = apply_selector(num + 1, rows, {name: target}, settings, Limits(included=included)).record.steps
        except G2isError as error:
            return None, str(error).partition("\n")[0]
        chosen = [step.row for step in steps]
        if chosen == list(range(num)):
            return None, _ADDS_NOTHING
        if chosen != list(range(num + 1)):
            return None, "chosen among these rows alone, others come first"
        return (steps[-1].score, "") if np.isfinite(steps[-1].score) else (None, "the selector says no scores")


def _reason(row: dict[str, Any], record: dict[str, Any], found: dict[str, Any], *, is_compared: bool) -> str:
    """Why, in a line; of rows that are not compared with the taken ones, what is true of whatever was not taken."""
    if row["state"] == "selected":
        return f"taken as {row['role']}" + ("" if row.get("target") is None else f", for {titled(row['target'])}")
    if of := found.get("covered_by"):
        return f"a near-copy of {of['id']}, taken as number {of['order'] + 1:,}"
    if row.get("source") in (record.get("full_quotas") or ()):
        return f"the quota of its source {row['source']!r} is full"
    if "rule" in found and "conflicts_with" in found:
        return "it conflicts with a taken row of every trail, or of any where conflicts are shared"
    if "rule" in found:
        if "nearest_step" in found:
            return "it was nearer than a row that was taken, and refused for its consistency with the trail"
        opposes = all(of["opposes_all"] for of in row["nearest_target"])
        return "it opposes every example of the target" if opposes else _ADDS_NOTHING
    if record.get("ran_out"):
        return f"the selection ended before its budget was spent: {record['ran_out']}"
    if not is_compared:
        return "others were taken until the budget was spent"
    if not row["scores"]:
        return "it was not looked at (selection.candidates), or the method scores no rows"
    left = record["budget"] - record["spent"] if record.get("unit") == "tokens" else 0
    if 0 < left < row.get("tokens", 0):
        return f"others were worth more until {left:,} tokens of the budget were left, too few for it"
    return "others were worth more until the budget was spent"
