"""Every setting of a run: frozen, validated together, unknown keys refused (`config_io.py` says how).

A run's resolved `Config` is written to RUN/config.yaml and `g2is run` replays it. Settings that change results go into
the store's fingerprint (`store/fingerprint.py`) or the walk's record; `ExecutionConfig` holds those that do not.
"""

import datetime
import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from g2is.targets import check_shares, files_by_name

GammaForm = Literal["less", "adam", "sgd", "normalized", "momentum-free"]


Layout = Literal["messages", "sharegpt", "prompt/completion", "alpaca", "inputs/targets", "question/answer"]

# The names that `examples.columns` may give a file's columns: `examples/schemas.py` says which layout has which.
STANDARD_COLUMNS = (
    *("id", "source", "group", "messages", "conversations", "system", "prompt", "completion", "instruction", "input"),
    *("output", "history", "inputs", "targets", "question", "answer"),
)

HUB = "hf:"  # begins the location of a hub dataset

# config.yaml is replayed from any folder
AbsolutePath = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]


def _located(location: str) -> str:
    if not location.removeprefix(HUB):
        raise ValueError("expected a file, glob, folder or hf:org/name:split, found nothing")
    folder, colon, split = location.removeprefix(HUB).partition(":")
    if not location.startswith(HUB):
        return str(Path(location).expanduser().absolute())
    return f"{HUB}{Path(folder).absolute()}{colon}{split}" if Path(folder).is_dir() else location


# A file, a glob, a folder of `save_to_disk` (`folder:split`), or `hf:org/name:split`: `examples/sources.py` finds them.
Location = Annotated[
    str, BeforeValidator(lambda value: str(value) if isinstance(value, Path) else value), AfterValidator(_located)
]
OptionalLocations = Annotated[
    tuple[Location, ...], BeforeValidator(lambda value: (value,) if isinstance(value, str | Path) else value)
]
Locations = Annotated[OptionalLocations, Field(min_length=1)]


class Section(BaseModel):
    """A part of the configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ExamplesConfig(Section):
    """How rows are read, become tokens, and which tokens are learned (method.md step 2)."""

    template: Literal["auto", "chat", "plain"] = Field(
        "auto", description="chat: the model's own template; plain: ours for base models; auto: chat where there is one"
    )
    max_length: int = Field(2048, ge=8, description="tokens; longer examples are shortened (and counted)")
    truncation: Literal["prompt-start", "answer-end"] = Field(
        "prompt-start", description="what an over-long example loses: the front of its prompt, or the end of its answer"
    )
    date: str = Field(
        "2025-01-01", pattern=r"^\d{4}-\d{2}-\d{2}$", description="what a template that reads the date gets"
    )
    layout: Layout | None = Field(
        None, description="how to read a row that has the columns of several layouts; default: by the first of them"
    )
    columns: dict[str, str] = Field({}, description="standard name: the file's name for it, such as {answer: Solution}")
    on_bad_row: Literal["stop", "skip"] = Field(
        "stop", description="stop: report the rows that cannot be used; skip: list them in bad_rows.jsonl and go on"
    )

    @field_validator("date")
    @classmethod
    def _day_of_the_calendar(cls, date: str) -> str:
        try:
            datetime.date.fromisoformat(date)
        except ValueError:
            raise ValueError("expected a day of the calendar, such as 2025-01-31") from None
        return date

    @field_validator("columns")
    @classmethod
    def _standard_names(cls, columns: dict[str, str]) -> dict[str, str]:
        for name in columns:
            if name not in STANDARD_COLUMNS:
                near = difflib.get_close_matches(name, STANDARD_COLUMNS, n=1)
                hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(STANDARD_COLUMNS)}"
                raise ValueError(f"unknown standard column {name!r}; {hint}")
        return columns


class ModelConfig(Section):
    """The causal language model to measure gradients on."""

    name: str = Field(description="local folder or hub name")
    revision: str | None = Field(None, description="of a hub model: branch, tag or commit")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="of the frozen weights; auto: bfloat16 on CUDA, else float32. Gradients are float32 always"
    )
    trust_remote_code: bool = Field(False, description="run code that comes with the model")

    @field_validator("name")
    @classmethod
    def _absolute_if_a_folder(cls, name: str) -> str:
        return str(Path(name).absolute()) if Path(name).is_dir() else name


class LoraConfig(Section):
    """The adapter whose gradients are measured (method.md step 1)."""

    rank: int = Field(128, ge=1, description="r")
    alpha: float = Field(512.0, gt=0, description="α; the adapter's output is scaled by α/r")
    dropout: float = Field(0.1, ge=0, lt=1, description="during the warm-up; off when gradients are taken")
    target_modules: tuple[str, ...] | Literal["attention"] = Field(
        "attention", description="names of linear layers; attention: every attention projection of the architecture"
    )


class WarmupConfig(Section):
    """The short training that gives adapter and Adam moments (method.md step 1; defaults are LESS's)."""

    adapter: AbsolutePath | None = Field(
        None,
        description="folder of a LoRA checkpoint with its optimizer, taken in place of the warm-up: all other settings"
        " of this section are then unused (docs/checkpoints.md)",
    )
    lora: LoraConfig = LoraConfig()
    fraction: float = Field(0.05, gt=0, le=1, description="of all pool rows, drawn at random")
    epochs: int = Field(4, ge=1, description="passes over the drawn rows")
    learning_rate: float = Field(2e-5, gt=0, description="a few-million-parameter model needs about 1e-3")
    lr_warmup_fraction: float = Field(0.03, ge=0, lt=1, description="of the steps, linear; then linear decay to 0")
    batch_size: int = Field(32, ge=1, description="examples an optimizer step")
    device_batch_size: int = Field(
        8, ge=1, description="examples a forward pass, at most; here because it changes which values dropout drops"
    )
    weight_decay: float = Field(0.0, ge=0, description="of AdamW")
    max_grad_norm: float = Field(1.0, gt=0, description="gradients of a step are clipped to it")
    beta1: float = Field(0.9, ge=0, lt=1, description="of AdamW, and of Γ")
    beta2: float = Field(0.999, ge=0, lt=1, description="of AdamW, and of Γ")
    checkpoints: Literal["last", "each"] = Field("last", description="epochs whose adapter and moments are kept")
    seed: int = Field(0, ge=0, description="of the draw, the adapter, the order and dropout")


class TuningConfig(Section):
    """Fine-tuning on a selection (`g2is train`; method.md step 8; defaults are the paper's where it gives any)."""

    lora: LoraConfig = LoraConfig()
    epochs: int = Field(3, ge=1, description="passes over the selection")
    learning_rate: float = Field(2e-5, gt=0, description="a few-million-parameter model needs about 2e-3")
    schedule: Literal["cosine", "linear", "constant"] = Field("cosine", description="of the learning rate")
    lr_warmup_fraction: float = Field(0.03, ge=0, lt=1, description="of the steps, linear; then the schedule")
    batch_size: int = Field(32, ge=1, description="examples an optimizer step")
    device_batch_size: int = Field(8, ge=1, description="examples a forward pass, at most")
    weight_decay: float = Field(0.0, ge=0, description="of AdamW")
    max_grad_norm: float = Field(1.0, gt=0, description="gradients of a step are clipped to it")
    beta1: float = Field(0.9, ge=0, lt=1, description="of AdamW")
    beta2: float = Field(0.999, ge=0, lt=1, description="of AdamW")
    seed: int = Field(0, ge=0, description="of the adapter, the order and dropout")


class ProjectionConfig(Section):
    """How a gradient of D coordinates becomes a row of k (method.md step 4)."""

    kind: Literal["sparse", "rademacher", "none"] = Field(
        "sparse", description="sparse: sign sketch; rademacher: dense ±1/√k, slow, for reference"
    )
    dim: int = Field(8192, ge=1, description="k; no projection where the adapter has no more coordinates than this")
    seed: int = Field(0, ge=0, lt=2**63, description="of signs and places")


class GradientsConfig(Section):
    """Which gradients are stored for each example (method.md steps 2-5)."""

    forms: tuple[GammaForm, ...] = Field(("less",), min_length=1, description="Γ forms of pool gradients, one pass")
    target_form: GammaForm = Field("sgd", description="Γ form of target gradients; sgd: the plain gradient")
    projection: ProjectionConfig = ProjectionConfig()

    @field_validator("forms", mode="before")
    @classmethod
    def _one_form_may_stand_alone(cls, given: Any) -> Any:
        return (given,) if isinstance(given, str) else given

    @model_validator(mode="after")
    def _forms_once(self) -> Self:
        if len(set(self.forms)) != len(self.forms):
            raise ValueError(f"each Γ form once, found {list(self.forms)}")
        return self


# What `official` sets otherwise than the defaults below, which are the preset `g2is`.
OFFICIAL: dict[str, Any] = {
    "core": "pca",
    "orient": False,
    "normalize_targets": False,
    "exact_budget": False,
    "conflict_tolerance": 0.0,
    "consistency_sign": "absolute",
    "consistency_reference": "previous",
    "duplicate_threshold": None,
    "keep_zero_rows": True,
}


class SelectionConfig(Section):
    """Core knowledge and walk (method.md steps 6-7). The preset fills whatever is not given."""

    preset: Literal["g2is", "official"] = Field("g2is", description="official: the published script's settings")
    budget: Annotated[str, BeforeValidator(str)] = Field(
        "1%", description="a share of all rows read (1%), a number of rows (500), or of their tokens (2Mtok, 500ktok)"
    )
    shares: dict[str, float] | None = Field(
        None, description="of the budget, by target, such as {math: 2, med: 1}; default: equal"
    )
    include: tuple[AbsolutePath, ...] = Field(
        (), description="files of ids, one a line, of rows to select whatever the walk says; the budget pays for them"
    )
    exclude: tuple[AbsolutePath, ...] = Field(
        (), description="files of ids, one a line, of rows to leave out of everything"
    )
    exclude_overlap: OptionalLocations = Field(
        (), description="test files: rows that share 13 words in a row with one of their examples are left out"
    )
    quotas: dict[str, Annotated[str, BeforeValidator(str)]] = Field(
        {}, description="the most of the selection that comes from a source: a share of the budget (50%) or rows (100)"
    )
    form: GammaForm | None = Field(
        None, description="which stored Γ form to walk; default: the first of gradients.forms"
    )
    core: Literal["pca", "svd", "mean"] = Field("svd", description="svd: uncentred, keeps the mean direction")
    core_mode: Literal["variance", "count_ratio"] = Field(
        "variance", description="core_fraction is a share of the variance, or of k components"
    )
    core_fraction: float = Field(0.5, gt=0, le=1, description="share of variance (or of k) the components keep")
    orient: bool = Field(True, description="turn each component so that the mean target gradient agrees with it")
    normalize_targets: bool = Field(True, description="unit target rows before the decomposition")
    exact_budget: bool = Field(True, description="re-deal what dry components leave, then take new anchors")
    delta: float = Field(0.8, ge=0, le=1, description="δ of the consistency rule, eq. 6")
    conflict_tolerance: float | Literal["noise"] = Field(
        "noise", description="τ: a conflict is a cosine below -τ; noise: 2/√k, two standard deviations of the sketch"
    )
    consistency_sign: Literal["absolute", "signed"] = Field(
        "signed", description="of cos(S', K): the absolute value lets the sum turn to -K"
    )
    consistency_reference: Literal["previous", "anchor", "best"] = Field(
        "anchor", description="what δ is relative to: the step before, the trail's anchor, or its best value so far"
    )
    duplicate_threshold: float | None = Field(
        0.98, gt=0, le=1, description="cosine from which a taken row's copy is skipped"
    )
    cross_component_conflicts: bool = Field(False, description="conflicts with rows of earlier components count too")
    keep_zero_rows: bool = Field(False, description="zero rows of a matrix given by hand are nodes without conflict")

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and given.get("preset") == "official":
            return {**OFFICIAL, **given}
        return given

    @model_validator(mode="after")
    def _tolerance_not_negative(self) -> Self:
        if self.conflict_tolerance != "noise" and not 0 <= self.conflict_tolerance <= 1:
            raise ValueError(f"conflict_tolerance: expected 0 to 1 or 'noise', found {self.conflict_tolerance}")
        return self


class ExecutionConfig(Section):
    """How the work is done. None of it changes what is computed, beyond float rounding.

    One thing follows the device: model.dtype "auto" is bfloat16 on CUDA and float32 elsewhere.
    """

    device: str = Field("auto", description="auto, cpu or cuda")
    batch_tokens: int = Field(8192, ge=1, description="padded tokens an extraction batch holds at most")
    shard_rows: int = Field(
        1024, ge=1, description="rows a shard, of a new store: the unit of work, of storage and of loss at a crash"
    )
    resume_steps: int = Field(50, ge=1, description="optimizer steps between points a killed warm-up goes on from")


class Config(Section):
    """A whole run of `g2is select`."""

    pool: Locations
    targets: dict[str, Locations]  # by name, walked in this order
    out: AbsolutePath
    store: AbsolutePath
    model: ModelConfig
    examples: ExamplesConfig = ExamplesConfig()
    warmup: WarmupConfig = WarmupConfig()
    gradients: GradientsConfig = GradientsConfig()
    selection: SelectionConfig = SelectionConfig()
    execution: ExecutionConfig = ExecutionConfig()

    @model_validator(mode="before")
    @classmethod
    def _store_is_in_the_run_folder_unless_told(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and given.get("store") is None and given.get("out") is not None:
            return {**given, "store": str(Path(given["out"]) / "store")}
        return given

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
    def _form_is_stored(self) -> Self:
        form = self.selection.form
        if form is not None and form not in self.gradients.forms:
            raise ValueError(
                f"selection.form: expected one of gradients.forms, which stores only {list(self.gradients.forms)},"
                f" found {form!r}"
            )
        return self

    @property
    def walked_form(self) -> GammaForm:
        """The Γ form of the pool gradients that the walk reads."""
        return self.selection.form or self.gradients.forms[0]


class MatrixWalkConfig(Section):
    """A walk on matrices that were computed elsewhere (`g2is walk --pool-gradients …`)."""

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
        return self


class TrainConfig(Section):
    """Fine-tuning an adapter on a selection (`g2is train`). The model may be another than the one that selected."""

    data: Locations
    out: AbsolutePath
    model: ModelConfig
    examples: ExamplesConfig = ExamplesConfig()
    tuning: TuningConfig = TuningConfig()
    execution: ExecutionConfig = ExecutionConfig()
