"""All settings of a comparison (`g2is compare`)."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from g2is.config.evaluation import EvaluationConfig
from g2is.config.gradients import GammaForm, GradientsConfig
from g2is.config.io import describe
from g2is.config.model import ModelConfig
from g2is.config.parameters import check_parameters
from g2is.config.parts import (
    ExamplesConfig,
    ExecutionConfig,
    TuningConfig,
    WarmupConfig,
)
from g2is.config.passed_over import not_read, passed_over
from g2is.config.representation import RepresentationConfig
from g2is.config.section import AbsolutePath, Locations, Section
from g2is.config.selection import SelectionConfig
from g2is.config.targets import files_by_name
from g2is.methods import ALWAYS, FULL, FULL_CUT, GRADIENT, METHODS, RANDOM, UNTUNED
from g2is.methods import COMPARED as COMPARED

_NAME = re.compile(r"\w[\w ,.+=-]*")  # a cell's files lie in a folder of that name
# What a comparison says elsewhere, and where; `shares` would be of a run for several targets.
_SAID_BY = {"budget": "budgets", "seed": "num_seeds", "shares": "targets, each of which has a run of its own"}
_SAID_BY_METHODS = dict.fromkeys(("method", "representation", "selector"), "methods")
_LISTS = ("include", "exclude", "exclude_overlap")
_SAID_FOR_ALL = dict.fromkeys(_LISTS, "selection, one pool for all methods")


class CompareConfig(Section):
    """Several methods on one pool: select, tune and test for every target, budget and seed."""

    command: Literal["compare"] = "compare"
    pool: Locations
    targets: dict[str, Locations]
    tests: dict[str, Locations]  # by the target's name
    out: AbsolutePath
    model: ModelConfig
    # What a row of the table is called: settings of `selection`. A list of names stands for methods as they are.
    methods: dict[str, dict[str, Any]]
    budgets: tuple[str, ...] = ("1%",)
    num_seeds: int = 3  # seed s is that of warm-up, projection, random draw and tuning
    keep_adapters: bool = False
    selection: dict[str, Any] = Field(default_factory=dict)  # for all methods; what a baseline is stays its own
    examples: ExamplesConfig = ExamplesConfig()
    representation: RepresentationConfig = RepresentationConfig()
    warmup: WarmupConfig = WarmupConfig()
    gradients: GradientsConfig = GradientsConfig()
    tuning: TuningConfig = TuningConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    execution: ExecutionConfig = ExecutionConfig()

    @model_validator(mode="before")
    @classmethod
    def _every_form_that_is_looked_at_is_stored(cls, given: Any) -> Any:
        methods = _by_name(given.get("methods")) if isinstance(given, Mapping) else None
        if not methods or "forms" in (given.get("gradients") or {}):
            return given
        shared = given.get("selection") or {}
        forms: dict[GammaForm, None] = {}
        for settings in methods.values():
            try:
                found = _read_by(shared, settings)
            except (ValidationError, TypeError):
                continue  # reported below
            if found.representation == GRADIENT:
                forms[found.form or GradientsConfig().forms[0]] = None
        if forms.keys() <= set(GradientsConfig().forms):
            return given
        return {**given, "gradients": {**(given.get("gradients") or {}), "forms": list(forms)}}

    @field_validator("targets", "tests", mode="before")
    @classmethod
    def _files_by_name(cls, given: Any) -> Any:
        return files_by_name(given)

    @field_validator("methods", mode="before")
    @classmethod
    def _methods_by_name(cls, given: Any) -> Any:
        found = _by_name(given)
        if found is None:
            raise ValueError("expected names of methods, or settings of selections by name")
        if bad := [name for name in found if not _NAME.fullmatch(name)]:
            raise ValueError(f"expected names that can be names of folders, found {', '.join(map(repr, bad))}")
        if taken := [name for name in ALWAYS if found.get(name, {"method": name}) != {"method": name}]:
            raise ValueError(
                f"expected no settings for {', '.join(taken)}, which every comparison has as it is; give yours another"
                " name"
            )
        return {name: settings for name, settings in found.items() if name not in ALWAYS}

    @field_validator("selection")
    @classmethod
    def _nothing_that_is_said_elsewhere(cls, given: dict[str, Any]) -> dict[str, Any]:
        lists = {name: value for name, value in given.items() if name in _LISTS}
        found = SelectionConfig(**lists).model_dump(mode="json", include=set(lists))  # config.yaml has whole paths
        return {**_checked(given, _SAID_BY_METHODS | _SAID_BY, ""), **found}

    @field_validator("methods")
    @classmethod
    def _nothing_of_theirs_either(cls, methods: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        return {name: _checked(settings, _SAID_BY | _SAID_FOR_ALL, f"{name}: ") for name, settings in methods.items()}

    @field_validator("budgets", mode="before")
    @classmethod
    def _budgets_as_text(cls, given: Any) -> Any:
        if isinstance(given, str):
            return tuple(budget.strip() for budget in given.split(","))
        one = isinstance(given, int)
        return tuple(map(str, (given,) if one else given)) if one or isinstance(given, list | tuple) else given

    @field_validator("budgets")
    @classmethod
    def _different_budgets(cls, budgets: tuple[str, ...]) -> tuple[str, ...]:
        if not budgets or len(set(budgets)) != len(budgets):
            raise ValueError(f"expected budgets that differ, found {list(budgets)}")
        return budgets

    @field_validator("num_seeds")
    @classmethod
    def _at_least_one(cls, num_seeds: int) -> int:
        if num_seeds < 1:
            raise ValueError(f"expected at least 1, found {num_seeds}")
        return num_seeds

    @model_validator(mode="after")
    def _a_test_for_each_target(self) -> Self:
        if self.targets.keys() != self.tests.keys():
            raise ValueError(
                f"tests: expected one for each target ({', '.join(self.targets)}), found {', '.join(self.tests)}"
            )
        return self

    @model_validator(mode="after")
    def _methods_can_be_used(self) -> Self:
        for name in self.methods:
            for budget in self.budgets:
                try:
                    self.selection_of(name, budget, 0)
                except ValidationError as error:
                    key, text = describe(SelectionConfig, error.errors()[0])
                    of = "selection" if key.partition(".")[0] in self.selection else f"methods: {name}"
                    raise ValueError(f"{of}: {key}{': ' * bool(key)}{text}") from None
        return self

    @model_validator(mode="after")
    def _all_parameters_beside_what_they_are_taken_with(self) -> Self:
        selections = [self.selection_of(name, self.budgets[0], 0) for name in self.methods]
        check_parameters(self.gradients, self.warmup, self.model, selections)
        return self

    @model_validator(mode="after")
    def _some_method_reads_each_setting(self) -> Self:
        """Of `selection`. Those of `representation` may be for methods that were compared before or will be."""
        selections = [self.selection_of(name, self.budgets[0], 0).model_dump() for name in (RANDOM, *self.methods)]
        unread = set(self.selection).intersection(*(passed_over({**of, **self.selection}) for of in selections))
        if unread:
            raise ValueError(not_read(selections[-1], {name: f"selection.{name}" for name in sorted(unread)}))
        return self

    @model_validator(mode="after")
    def _nothing_is_passed_over(self) -> Self:
        seeds = {
            "warmup.seed": self.warmup.seed,
            "gradients.projection.seed": self.gradients.projection.seed,
            "tuning.seed": self.tuning.seed,
        }
        if given := [name for name, seed in seeds.items() if seed]:
            raise ValueError(f"{', '.join(given)}: a comparison's seeds are 0, 1, … of num_seeds; leave it out")
        if "loss" not in self.evaluation.metrics:
            raise ValueError(
                "evaluation.metrics: expected loss among them, by which methods are compared, found"
                f" {', '.join(self.evaluation.metrics)}"
            )
        if self.evaluation.tasks:
            raise ValueError(
                "evaluation.tasks: a comparison tests on rows alone; leave it out, and give --task to `g2is evaluate`"
                " with an adapter (keep_adapters keeps them)"
            )
        return self

    @property
    def all_methods(self) -> list[str]:
        """What is compared: the methods asked for, and what they are always compared with."""
        return [UNTUNED, RANDOM, *self.methods, FULL_CUT, FULL]

    def selection_of(self, method: str, budget: str, seed: int) -> SelectionConfig:
        """The selection of a method at a budget. Raises ValidationError if its settings cannot be used.

        Of the settings for all methods, and of the seed, it has those that its selector reads.
        """
        own = {"method": method, **METHODS[method].settings} if method in ALWAYS else self.methods[method]
        return _read_by({**self.selection, "seed": seed}, {**own, "budget": budget})


def _read_by(shared: Mapping[str, Any], own: Mapping[str, Any]) -> SelectionConfig:
    """The selection of a method's `own` settings, and of those `shared` by all methods that its selector reads."""
    unread = set(passed_over({**shared, **own})) - own.keys()
    return SelectionConfig(**{**{name: value for name, value in shared.items() if name not in unread}, **own})


def _checked(settings: dict[str, Any], said_by: Mapping[str, str], where: str) -> dict[str, Any]:
    if found := [name for name in said_by if name in settings]:
        told = ", ".join(f"{name} (a comparison has it from its {said_by[name]})" for name in found)
        raise ValueError(f"{where}expected settings that a comparison does not say elsewhere, found {told}; leave out")
    return settings


def _by_name(methods: Any) -> dict[str, dict[str, Any]] | None:
    if isinstance(methods, str):
        methods = [name.strip() for name in methods.split(",")]
    if isinstance(methods, Mapping) and all(isinstance(settings, Mapping) for settings in methods.values()):
        # what is called as a method, and names none, is that method with these settings
        return {
            str(name): {**({"method": name} if name in METHODS else {}), **settings}
            for name, settings in methods.items()
        }
    if isinstance(methods, Sequence) and all(isinstance(name, str) for name in methods):
        if twice := sorted({name for name in methods if methods.count(name) > 1}):
            raise ValueError(f"methods: expected different ones, found {', '.join(twice)} twice")
        return {name: {"method": name} for name in methods}
    return None
