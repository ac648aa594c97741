"""Settings that came later: every setting is in the table or in a list here, and folders of before are what they were.

A test here fails when a setting is added. If folders can have been made without it, it goes into `LATER`, with what
they were made with; what reads fingerprints takes it from there. If it came with the selector or representation that
alone reads it, it goes into WITH_ITS_READER.
"""

from pathlib import Path
from typing import Any

import pytest

from g2is.config import Config, GradientsConfig
from g2is.config.commands import COMMANDS
from g2is.config.compare import CompareConfig
from g2is.config.evaluation import EvaluationConfig
from g2is.config.io import load, parse, to_yaml
from g2is.config.later import LATER, READ_BESIDE, without_unsaid
from g2is.config.suggest import keys_of
from g2is.jobs.custom import Own
from g2is.jobs.made_from import as_selected, as_stored, of_warmup
from g2is.jobs.run_folder import run_identity
from g2is.jobs.test_rows import how_judged
from g2is.store.fingerprint import flatten

_TRAINING = "learning_rate lr_warmup_fraction batch_size device_batch_size weight_decay max_grad_norm beta1 beta2 seed"
FIRST = {  # the settings of commit bb08bba, by section: the first whose folders said what they were made with
    "": "pool targets tests test data out store adapter methods budgets num_seeds keep_adapters pool_gradients"
    " target_gradients graph",
    "model": "name revision dtype trust_remote_code",
    "examples": "template chat_template system dropped_text append_eos learn_end_of_turn max_length truncation date"
    " layout columns max_row_bytes on_bad_row",
    "warmup": f"adapter fraction epochs checkpoints {_TRAINING}",
    "warmup.lora": "rank alpha dropout target_modules",
    "representation": "embedding_model max_terms",
    "gradients": "forms target_form",
    "gradients.projection": "kind dim seed",
    "selection": "method representation selector budget shares include exclude exclude_overlap quotas form"
    " duplicate_threshold noise take_opposed exact_budget delta conflict_tolerance consistency_sign"
    " consistency_reference cross_component_conflicts keep_zero_rows core core_mode core_fraction orient"
    " normalize_targets score if_taken seed",
    "tuning": f"epochs schedule bf16 {_TRAINING}",
    "tuning.lora": "rank alpha dropout target_modules",
    "evaluation": "metrics generate max_new_tokens tasks task_chat_template",
}
# These came with the one selector or representation that reads them: what it made has said them ever since. But for
# path_reference_epochs and path_batch_size: tacs of before had neither, and its stores are of another version.
WITH_ITS_READER = {
    "representation": "path_epochs path_reference_epochs path_batch_size path_learning_rate",
    "selection": "curvature fisher_scale conflict_penalty balance spread kernel_width neighbor_distance most_neighbors"
    " take_by transport_entropy transport_balance subspace_variance redundant_neighbours redundant_cosine"
    " redundant_scale",
}
BEFORE = Path(__file__).resolve().parents[2] / "data/settings_before_later.yaml"  # as bb08bba wrote it
IDENTITY_BEFORE = "e7bcaf66a43933964c86410deced1535"  # of it, by that commit's own `run_identity`
MODEL = {"name": "m"}


def keys(by_section: dict[str, str]) -> set[str]:
    return {f"{section}.{name}".lstrip(".") for section, names in by_section.items() for name in names.split()}


def all_keys() -> set[str]:
    """Those of every command, but how work is executed, which no folder is compared by."""
    found = {key for model in COMMANDS.values() for key in keys_of(model)} - {
        "selection"
    }  # a comparison's, for all methods
    return {key for key in found if not key.startswith("execution.")}


def default_of(key: str) -> Any:
    for model in COMMANDS.values():
        values: Any = {name: field.get_default() for name, field in model.model_fields.items()}
        section, _, name = key.partition(".")
        if section in values and hasattr(values[section], name):
            return getattr(values[section], name)
    if key.startswith("model."):
        return parse(COMMANDS["train"], {"data": "d", "out": "/o", "model": MODEL}, "x").model.model_dump()[key[6:]]
    raise AssertionError(key)


def test_every_setting_was_there_from_the_start_or_is_in_the_table() -> None:
    listed = [keys(FIRST), set(LATER), set(READ_BESIDE), keys(WITH_ITS_READER)]
    assert sum(map(len, listed)) == len(set().union(*listed))
    assert set().union(*listed) == all_keys()


def test_what_folders_of_before_meant_is_still_the_default() -> None:
    """Where a default changes this may go, but the table may not change: folders of before were made as it says."""
    assert {key: default_of(key) for key in LATER} == LATER


def test_a_run_of_before_is_still_the_one_that_its_summary_names() -> None:
    assert run_identity(BEFORE) == IDENTITY_BEFORE


@pytest.mark.parametrize("key", sorted(LATER))
def test_a_run_is_another_where_a_later_setting_is_not_as_before(key: str, tmp_path: Path) -> None:
    section, name = key.split(".")
    values = load(BEFORE)

    def identity(value: Any) -> str:
        path = tmp_path / "config.yaml"
        path.write_text(to_yaml({**values, section: {**values.get(section, {}), name: value}}))
        return run_identity(path)

    assert identity(LATER[key]) == IDENTITY_BEFORE
    assert identity("another") != IDENTITY_BEFORE


def test_a_store_of_before_has_the_fingerprint_it_had() -> None:
    assert flatten(GradientsConfig().in_fingerprint()) == {
        "forms": "momentum-free, less",
        "target_form": "sgd",
        "projection.kind": "sparse",
        "projection.dim": 8192,
        "projection.seed": 0,
    }


def test_a_store_says_what_came_later_where_it_is_another() -> None:
    assert GradientsConfig(storage="int8").in_fingerprint()["storage"] == "int8"
    for moments in (None, "factored", "adam"):
        of_all = GradientsConfig(parameters="all", second_moments=moments, forms=("less",)).in_fingerprint()
        assert (of_all["parameters"], of_all["second_moments"]) == ("all", moments or "factored")
        assert "storage" not in of_all


def comparison(**settings: Any) -> CompareConfig:
    values = {"pool": "p", "targets": "t", "tests": "t", "model": MODEL, "methods": "less", "out": "/o", **settings}
    found: CompareConfig = parse(CompareConfig, values, "x")
    return found


def test_cells_of_before_are_made_from_what_they_were() -> None:
    config = comparison()
    lists_and_places = {"budget", "seed", "include", "exclude", "exclude_overlap"}  # a comparison says them elsewhere
    of_first = set(FIRST["selection"].split()) - lists_and_places
    found = {key.removeprefix("methods: less: ") for key in as_selected(config, "less", Own(), {})}
    assert found - set(WITH_ITS_READER["selection"].split()) == of_first
    assert set(of_warmup(config)) == (keys({"": FIRST["warmup"]}) | {"lora"}) - {"seed"}
    assert as_stored(config) == {}
    assert set(how_judged(EvaluationConfig(generate=False))) == set(FIRST["evaluation"].split())


def test_cells_say_what_came_later_where_it_is_another() -> None:
    config = comparison(gradients={"parameters": "all"}, methods={"a": {"method": "less", "precondition": "pool"}})
    found = as_selected(config, "a", Own(), {})
    assert found["methods: a: precondition"] == "pool"
    assert found["methods: a: precondition_damping"] == 0.1  # though that is the default: it is read beside it
    assert of_warmup(config)["second_moments"] == "factored"
    assert "lora" not in of_warmup(config)
    assert how_judged(EvaluationConfig(numeric="math-verify"))["numeric"] == "math-verify"


def test_the_table_knows_names_without_their_section() -> None:
    assert without_unsaid({"storage": "float16", "target_form": "sgd"}, "gradients.") == {"target_form": "sgd"}
    assert without_unsaid({"gradients.storage": "sign", "selection.rounds": 1}) == {"gradients.storage": "sign"}
    assert without_unsaid({"storage": "float16"}) == {"storage": "float16"}  # of no section: another thing of that name


def test_runs_of_now_say_all_their_settings() -> None:
    """The table is of what folders are compared by: config.yaml has every setting, those of the table too."""
    values = {"pool": "p", "targets": "t", "out": "/o", "store": "/s", "model": MODEL}
    config: Config = parse(Config, values, "x")
    assert {key for key in flatten(config.model_dump(mode="json")) if key in LATER} == {
        key for key in LATER if not key.startswith("evaluation.")
    }
