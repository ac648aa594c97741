"""costs.json of a comparison's store: only what g2is writes there is taken for it."""

from pathlib import Path

import pytest

from g2is.errors import StoreError
from g2is.jobs.costs import COSTS, OF, check_costs, costs_in
from g2is.jobs.findings import Findings, remover
from g2is.jobs.trials import cost_of
from g2is.store.files import write_json


@pytest.mark.parametrize("text", ["{}", '{"a": 1}', '{"gradient": "1.5"}', '{"gradient": true}', '{"of": "x"}', "[]"])
def test_another_file_without_a_digest_is_seen(tmp_path: Path, text: str) -> None:
    (tmp_path / COSTS).write_text(text)
    with pytest.raises(StoreError):
        costs_in(tmp_path)
    findings = Findings(tmp_path)
    check_costs(tmp_path, "this", findings, remover(tmp_path / COSTS))
    assert [damage.path for damage in findings.damages] == [tmp_path / COSTS]


@pytest.mark.parametrize(("of", "is_sound"), [("this", True), (None, True), ("other", False)])
def test_times_are_of_their_own_store(tmp_path: Path, of: str | None, is_sound: bool) -> None:
    of_target = cost_of((tmp_path, "tacs", "b for c"))
    write_json(tmp_path / COSTS, {"gradient": 2.5, "own:mine": 1, of_target: 3.0, **({OF: of} if of else {})})
    findings = Findings(tmp_path)
    check_costs(tmp_path, "this", findings, remover(tmp_path / COSTS))
    assert (findings.damages == []) == is_sound
    assert costs_in(tmp_path)["gradient"] == 2.5
    assert costs_in(tmp_path)["tacs for b for c"] == 3.0
