"""All settings of a run: of a selection, of a walk on matrices, of a training, of an evaluation, of a look at files.

`command` is no setting: it comes first in config.yaml and tells which command a file is of (`commands.py`).
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import field_validator, model_validator

from g2is.config.evaluation import EvaluationConfig
from g2is.config.gradients import GammaForm, GradientsConfig
from g2is.config.model import ModelConfig
from g2is.config.parameters import check_parameters
from g2is.config.parts import (
    ExamplesConfig,
    ExecutionConfig,
    TuningConfig,
    WarmupConfig,
)
from g2is.config.representation import RepresentationConfig, check_read
from g2is.config.section import AbsolutePath, Locations, OptionalLocations, Section, StorePlace
from g2is.config.selection import SelectionConfig
from g2is.config.targets import check_shares, files_by_name
from g2is.methods import GRADIENT, METHODS, NONE, SELECTORS, asked_form, selector_kind

STORE_VARIABLE = "G2IS_STORE"  # of the environment: the store of runs that name none


class Config(Section):
    """A whole run of `g2is select`."""

    command: Literal["select"] = "select"
    pool: Locations
    targets: dict[str, Locations]  # by name, walked in this order
    out: AbsolutePath
    store: StorePlace
    model: ModelConfig
    examples: ExamplesConfig = ExamplesConfig()
    warmup: WarmupConfig = WarmupConfig()
    representation: RepresentationConfig = RepresentationConfig()
    gradients: GradientsConfig = GradientsConfig()
    selection: SelectionConfig = SelectionConfig()
    execution: ExecutionConfig = ExecutionConfig()

    @model_validator(mode="before")
    @classmethod
    def _store_is_in_the_run_folder_unless_told(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and given.get("store") is None and given.get("out") is not None:
            if not isinstance(given["out"], str | Path):
                raise ValueError(f"out: expected a path, found {given['out']!r}")
            return {**given, "store": os.environ.get(STORE_VARIABLE) or str(Path(given["out"]) / "store")}
        return given

    @model_validator(mode="before")
    @classmethod
    def _a_form_that_is_asked_for_is_stored(cls, given: Any) -> Any:
        selection = (given.get("selection") or {}) if isinstance(given, Mapping) else None
        form = asked_form(selection) if isinstance(selection, Mapping) else getattr(selection, "form", None)
        gradients = given.get("gradients") or {} if isinstance(given, Mapping) else None
        stored = GradientsConfig().forms
        if form is None or form in stored or not isinstance(gradients, Mapping) or "forms" in gradients:
            return given
        return {**given, "gradients": {**gradients, "forms": [form]}}

    @model_validator(mode="before")
    @classmethod
    def _one_target_may_be_called_target(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and "target" in given and "targets" not in given:
            return {"targets" if key == "target" else key: value for key, value in given.items()}
        return given

    @field_validator("targets", mode="before")
    @classmethod
    def _files_by_name(cls, given: Any) -> Any:
        return files_by_name(given)

    @model_validator(mode="after")
    def _a_share_for_each_target(self) -> Self:
        check_shares(self.selection.shares, self.targets)
        return self

    @model_validator(mode="after")
    def _representation_reads_its_settings(self) -> Self:
        check_read(self.representation, self.selection.representation)
        return self

    @model_validator(mode="after")
    def _form_is_stored(self) -> Self:
        form = self.selection.form
        if form is not None and form not in self.gradients.forms:
            raise ValueError(
                f"selection.form: expected one of gradients.forms, which stores only {list(self.gradients.forms)},"
                f" found {form!r} (given, or the method's own); add it there, or give another selection.form"
            )
        return self

    @model_validator(mode="after")
    def _several_warm_ups_are_trained(self) -> Self:
        if self.warmup.adapter is not None and self.selection.warmup_seeds > 1:
            raise ValueError(
                "selection.warmup_seeds: expected 1 beside warmup.adapter, which is one adapter in place of the"
                f" warm-up, found {self.selection.warmup_seeds}; leave one of the two out"
            )
        return self

    @model_validator(mode="after")
    def _all_parameters_beside_what_they_are_taken_with(self) -> Self:
        check_parameters(self.gradients, self.warmup, self.model, [self.selection])
        return self

    @property
    def store_folder(self) -> Path:
        """The store's folder; that of a URL is here once it is reached (`store/reach.py`)."""
        assert isinstance(self.store, Path), f"{self.store} is not reached yet"
        return self.store

    @property
    def pool_form(self) -> GammaForm:
        """The Γ form of the pool gradients that the selector looks at."""
        return self.selection.form or self.gradients.forms[0]

    @property
    def num_checkpoints(self) -> int:
        """Under how many adapters a gradient is taken."""
        if self.warmup.adapter is not None or self.selection.representation != GRADIENT:
            return 1
        return self.selection.warmup_seeds * (self.warmup.epochs if self.warmup.checkpoints == "each" else 1)

    @property
    def passes_between_rounds(self) -> float:
        """How often a whole selection would be gone through by the tunings before its later rounds, each on what was
        taken so far; 0 without rounds.
        """
        return (self.selection.rounds - 1) / 2 * self.warmup.epochs * self.num_checkpoints


class MatrixWalkConfig(Section):
    """A walk on matrices that were computed elsewhere (`g2is walk --pool-gradients …`)."""

    command: Literal["walk"] = "walk"
    pool_gradients: AbsolutePath
    target_gradients: AbsolutePath
    graph: AbsolutePath | None = None
    out: AbsolutePath
    selection: SelectionConfig = SelectionConfig()

    @model_validator(mode="after")
    def _only_what_rows_of_numbers_have(self) -> Self:
        needs_examples = ("shares", "include", "exclude", "exclude_overlap", "quotas")
        if found := [f"selection.{name}" for name in needs_examples if getattr(self.selection, name)]:
            raise ValueError(
                f"{', '.join(found)}: matrices have one target and rows without ids or sources; leave it out, or walk"
                " POOL and TARGET"
            )
        for name in ("warmup_seeds", "rounds"):
            if (found := getattr(self.selection, name)) > 1:
                raise ValueError(
                    f"selection.{name}: matrices are gradients that were taken already, found {found}; leave it out"
                )
        if self.selection.representation not in (GRADIENT, NONE):
            raise ValueError(
                "selection.representation: matrices are what stands for the rows, found"
                f" {self.selection.representation}; give its rows as the matrices, with"
                " --set selection.representation=gradient"
            )
        if self.graph is not None and not selector_kind(self.selection.selector).follows_graph:
            follow = [name for name in SELECTORS if selector_kind(name).follows_graph]
            method = next(name for name, of in METHODS.items() if of.settings["selector"] in follow)
            raise ValueError(
                f"graph: only the {' and the '.join(follow)} follows one, found the selector {self.selection.selector};"
                f" add method {method}"
            )
        if self.graph is not None and self.selection.candidates is not None:
            raise ValueError(
                "graph: expected no selection.candidates beside it, for its lists name rows of the whole pool, found"
                f" {self.selection.candidates}; leave one of the two out"
            )
        if self.graph is not None and self.selection.precondition is not None:
            raise ValueError(
                "graph: expected no selection.precondition beside it, for its lists are of rows as they are, found"
                f" {self.selection.precondition}; leave one of the two out"
            )
        return self


class TrainConfig(Section):
    """Fine-tuning an adapter on a selection (`g2is train`). The model may be another than the one that selected."""

    command: Literal["train"] = "train"
    data: Locations
    out: AbsolutePath
    model: ModelConfig
    examples: ExamplesConfig = ExamplesConfig()
    tuning: TuningConfig = TuningConfig()
    execution: ExecutionConfig = ExecutionConfig()


class InspectConfig(Section):
    """Looking at files of examples (`g2is inspect`), as the model sees them if one is named. It is kept nowhere."""

    files: Locations
    model: ModelConfig | None = None
    examples: ExamplesConfig = ExamplesConfig()


class EvaluateConfig(Section):
    """Testing a model, with an adapter or untuned (`g2is evaluate`)."""

    command: Literal["evaluate"] = "evaluate"
    test: OptionalLocations = ()
    out: AbsolutePath
    model: ModelConfig
    adapter: AbsolutePath | None = None
    examples: ExamplesConfig = ExamplesConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    execution: ExecutionConfig = ExecutionConfig()

    @model_validator(mode="after")
    def _something_to_do(self) -> Self:
        if not self.test and not self.evaluation.tasks:
            raise ValueError("test: expected files of test rows, or tasks of lm-eval (--task NAME), found neither")
        return self
