"""What a comparison's cells share: all that is found and read before the first is made, and what rows cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from g2is.comparison.cells import Key
from g2is.config import Config, SelectionConfig
from g2is.config.compare import CompareConfig
from g2is.config.io import parse
from g2is.config.representation import read_by
from g2is.config.targets import titled
from g2is.errors import ConfigError, ModelError, SelectionError
from g2is.evaluation.metrics import check_judge
from g2is.examples.columns import TEST_COLUMNS, Seen, check_columns
from g2is.examples.dataset import Examples
from g2is.jobs.costs import COSTS, FOR, OF, costs_in
from g2is.jobs.custom import BUILT_IN_ONLY, Own
from g2is.jobs.made_from import as_selected, as_stored, digest_of_rows, fingerprints, of_warmup, store_identity
from g2is.jobs.model_identity import say_slow_products
from g2is.jobs.moved import SELECTIONS
from g2is.jobs.prepare import Prepared, prepare
from g2is.jobs.read_data import plan_for, read_inputs
from g2is.jobs.stages import OF_REPRESENTING, stage_id
from g2is.jobs.test_rows import TestRows, describe_questions, read_tests, shared_rows
from g2is.jobs.trial import Bench, open_bench
from g2is.jobs.work_folder import BAD_ROWS
from g2is.methods import (
    GRADIENT,
    NONE,
    RANDOM,
    REPRESENTATIONS,
    representation_kind,
    selector_kind,
)
from g2is.model.adapter import target_modules
from g2is.progress import Reporter
from g2is.selection.budget import check_form
from g2is.store.digests import record_digests, record_presence
from g2is.store.files import read_json, write_json, write_json_lines
from g2is.store.fingerprint import flatten
from g2is.store.given import part
from g2is.store.manifest import stored_forms

Represented = tuple[Path, str, str | None]  # rows: their store, the representation, and the target whose they are


@dataclass(frozen=True)
class Trials:
    """Everything that cells share.

    `made_from` says what results depend on, beside budgets and seeds; `remarks` what readers of them must know of the
    test rows; `target_tokens` how many each target has; `seen` what was seen of the columns of all files; `broken` why
    what is `represented` cannot be made, once that is known.
    """

    config: CompareConfig
    own: Own
    bench: Bench
    made_from: dict[str, Any]
    remarks: Sequence[str]
    target_tokens: Mapping[str, int]
    seen: Sequence[Seen]
    broken: dict[Represented, ModelError] = field(default_factory=dict)

    def keep_cost(self, rows: Represented, run: Path) -> float | None:
        """Seconds that `rows` took in their store, by the run that made them; None if not known."""
        store, name = rows[0], cost_of(rows)
        costs, whose = costs_in(store) if (store / COSTS).exists() else {}, self._identity(store)
        if costs.pop(OF, whose) != whose:  # another comparison's; those of before do not say whose they are
            costs = {}
        by_stage = seconds_by_stage(run)
        taken = sum(by_stage.get(stage, 0.0) for stage in OF_REPRESENTING)
        if taken > costs.get(name, 0.0):
            costs[name] = round(taken, 2)
            write_json(store / COSTS, {**costs, OF: whose})
            record_presence(self.config.out, (store / COSTS).relative_to(self.config.out).as_posix())
        return costs.get(name, 0.0 if name == NONE else None)

    def _identity(self, store: Path) -> str:
        return store_identity(flatten(self.made_from), store.name)


def open_trials(config: CompareConfig, reporter: Reporter, own: Own = BUILT_IN_ONLY) -> Trials:
    """Find the model, read pool and tests. Raises a G2isError for whatever of them cannot be used."""
    check_judge(config.evaluation.numeric)
    for method in config.methods:
        own.check(config.selection_of(method, config.budgets[0], 0))
        run_config(config, Key(method, next(iter(config.targets)), config.budgets[0], 0), list(config.targets))
    prepared, cache = prepare_trials(config, reporter), config.out / "examples"
    target_modules(prepared.model.without_weights(), config.tuning.lora, "tuning")
    for budget in config.budgets:
        check_form(budget)
    tests = read_tests(config, prepared, cache, reporter)  # before the pool, which may take hours
    examples = read_inputs(prepared, cache, reporter)
    seen = [*examples.seen, *(test.table.seen for test in tests.values())]
    check_columns(config.examples.columns, seen, TEST_COLUMNS)
    _check_budgets(config, examples)
    representations = fingerprints(config, prepared)
    bench = open_bench(config, prepared, examples.pool, tests, reporter.notice)
    if config.tuning.bf16:
        say_slow_products(torch.bfloat16, bench.device, reporter, "tuning.bf16")
    made_from = {
        "model": bench.shared["model"],
        "examples": bench.shared["examples"],
        "pool_sha256": examples.pool.source_sha256,
        "targets_sha256": {name: table.source_sha256 for name, table in examples.targets.items()},
        "tests_sha256": bench.shared["tests"],
        "warmup": of_warmup(config),
        "target_form": config.gradients.target_form,
        "projection": config.gradients.projection.model_dump(mode="json", exclude={"seed"}),
        **as_stored(config),
        "rows": digest_of_rows(examples.filtered),
        **{
            key: value
            for name in (RANDOM, *config.methods)
            for key, value in as_selected(config, name, own, representations).items()
        },
        "tuning": config.tuning.model_dump(mode="json", exclude={"seed"}),
        "evaluation": bench.shared["evaluation"],
    }
    write_json_lines(config.out / BAD_ROWS, chain(examples.bad_rows(), *(test.bad_rows for test in tests.values())))
    record_digests(config.out, [BAD_ROWS])
    remarks = _remarks(prepared, config, examples, tests)
    for text in remarks:
        reporter.notice(text)
    target_tokens = {name: int(table.num_tokens.sum()) for name, table in examples.targets.items()}
    return Trials(config, own, bench, made_from, remarks, target_tokens, seen)


def prepare_trials(config: CompareConfig, reporter: Reporter) -> Prepared:
    """Find the model, as for any cell: it is the same for all. Raises as `prepare`."""
    any_cell = Key(RANDOM, next(iter(config.targets)), config.budgets[0], 0)
    return prepare(run_config(config, any_cell, list(config.targets)), reporter)


def _remarks(prepared: Prepared, config: CompareConfig, examples: Examples, tests: Mapping[str, TestRows]) -> list[str]:
    remarks = shared_rows(prepared, config, examples, tests)
    if config.evaluation.generate:
        for name, test in tests.items():
            remarks += describe_questions(titled(name), test, prepared.tokenizer)
    return remarks


def _check_budgets(config: CompareConfig, examples: Examples) -> None:
    """Raise SelectionError for one that cannot be met or is another by a second name, before the hours of work."""
    seen: dict[tuple[int, str], str] = {}
    name, target = next(iter(examples.targets.items()))
    of_cell = replace(examples, targets={name: target})  # each cell has one, and all of the budget for it
    for budget in config.budgets:
        for method in (RANDOM, *config.methods):
            settings = config.selection_of(method, budget, 0)
            found = plan_for(settings, of_cell).budget  # which may refuse
            if selector_kind(settings.selector).takes_all:
                continue  # whatever the budget
            same = seen.setdefault((found.amount, found.unit), budget)
            if same != budget:
                raise SelectionError(
                    f"budgets: expected different ones, found {same} and {budget}, which both are {found.amount}"
                    f" {found.unit} of this pool; leave one out"
                )


def seconds_by_stage(run: Path) -> dict[str, float]:
    """What the stages of a run took, by id, over all of its sittings."""
    total: dict[str, float] = {}
    for sitting in part(read_json(run / "summary.json"), "sittings", list, run / "summary.json"):
        for name, seconds in sitting["seconds"].items():
            stage = stage_id(name)
            total[stage] = total.get(stage, 0.0) + seconds
    return total


def cost_of(rows: Represented) -> str:
    """What the cost of `rows` is called in the costs.json of their store."""
    _, representation, target = rows
    return representation if target is None else f"{representation}{FOR}{target}"


def store_name(settings: SelectionConfig, seed: int) -> str:
    """The store of a comparison in which a selection with `settings` finds its rows: gradients are a seed's own.

    Those of several warm-ups have a store of their own, whose first warm-up is the seed's.
    """
    if settings.representation != GRADIENT:
        return "seed-0"
    return f"seed-{seed}" + ("" if settings.warmup_seeds == 1 else f"-warmups-{settings.warmup_seeds}")


def run_config(config: CompareConfig, key: Key, targets: Sequence[str]) -> Config:
    """The run that selects for `targets` as the cell `key`, which has a budget and a seed, does for its own."""
    assert key.budget is not None
    assert key.seed is not None
    settings, seed = config.selection_of(key.method, key.budget, key.seed), key.seed
    store = config.out / "store" / store_name(settings, seed)
    kept = stored_forms(store)
    forms = kept or config.gradients.forms
    if settings.representation == GRADIENT and settings.form is not None and settings.form not in forms:
        holds, do = (f"the store {store}", "name another --out") if kept else ("gradients.forms", "add it there")
        raise ConfigError(
            f"method {key.method}: expected Γ {settings.form}, which it looks at, in {holds}, found"
            f" {', '.join(forms)}; {do}, or give another selection.form"
        )
    values = {
        "pool": list(config.pool),
        "targets": {name: list(config.targets[name]) for name in targets},
        "out": str(key.place(config.out / SELECTIONS)),
        "store": str(store),
        "model": config.model.model_dump(mode="json"),
        "examples": config.examples.model_dump(mode="json"),
        "representation": read_by(config.representation, settings.representation),
        "warmup": {**config.warmup.model_dump(mode="json"), "seed": seed},
        "gradients": {
            **config.gradients.model_dump(mode="json"),
            # a store that was begun for other methods keeps their Γ forms
            "forms": list(forms),
            "projection": {**config.gradients.projection.model_dump(mode="json"), "seed": seed},
        },
        "selection": settings.model_dump(mode="json"),
        "execution": config.execution.model_dump(mode="json"),
    }
    run: Config = parse(Config, values, f"cell {key}")
    return run


def represented(run: Config, key: Key) -> Represented:
    """The rows that the cell `key` looks at: their store, the representation, and the target whose they are alone."""
    name = run.selection.representation
    of_target = name in REPRESENTATIONS and bool(representation_kind(name).tunings(run.representation))
    return run.store_folder, name, key.target if of_target else None
