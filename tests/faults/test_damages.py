"""A seeded sample of the damages of `benchmarks/faults/damages.py`, each kind on a run with its store."""

import pytest

from faults.damages import KINDS, Case, draw_cases, try_case
from faults.made import made_folders


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_kind_of_damage_is_seen_and_none_is_used_in_silence() -> None:
    with made_folders(("select",)) as (made, scratch):
        cases = draw_cases(made, len(KINDS), seed=3)
        assert {case.kind for case in cases} <= set(KINDS)
        cases += [
            Case("select", "store/gradients/pool/epoch-2/less/rows/c/1/0", "sibling", 5),
            Case("select", "store/warmup/complete.json", "other", 5),
            *(Case("select", "digests.json", "foreign", seed) for seed in (0, 1)),
        ]
        for place, case in enumerate(cases):
            outcome = try_case(case, made, scratch, repairs=place % 3 == 0)
            if outcome is None:
                continue
            assert outcome.seen, f"{case}: {outcome.text}"
            assert outcome.used in ("same", "refused"), f"{case}: {outcome.used}: {outcome.text}"
            assert outcome.repaired in ("same", "refused", "not tried"), f"{case}: {outcome.repaired}: {outcome.text}"


@pytest.mark.slow
def test_verify_looks_at_the_draw_of_a_stopped_warm_up() -> None:
    with made_folders(("stopped",)) as (made, scratch):
        for kind in ("delete", "other"):
            outcome = try_case(Case("stopped", "store/warmup/sample.json", kind, 5), made, scratch)
            assert outcome is not None
            assert outcome.seen, outcome.text
            assert not outcome.wrong, outcome.text
