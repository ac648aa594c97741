"""Every setting of a run: frozen, validated together, unknown keys refused with the nearest known name.

A run's resolved `Config` is written to RUN/config.yaml and `g2is run` replays it. Settings that change results go into
the store's fingerprint (`store/fingerprint.py`) or the walk's record; `ExecutionConfig` holds those that do not.
"""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from g2is.errors import ConfigError

GammaForm = Literal["less", "adam", "sgd", "normalized", "momentum-free"]


class Section(BaseModel):
    """A part of the configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ExamplesConfig(Section):
    """How examples become tokens and which tokens are learned (method.md step 2)."""

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


class ModelConfig(Section):
    """The causal language model to measure gradients on."""

    name: str = Field(description="local folder or hub name")
    revision: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="of the frozen weights; auto: bfloat16 on CUDA, else float32. Gradients are float32 always"
    )
    trust_remote_code: bool = False


class LoraConfig(Section):
    """The adapter whose gradients are measured (method.md step 1)."""

    rank: int = Field(128, ge=1)
    alpha: float = Field(512, gt=0)
    dropout: float = Field(0.1, ge=0, lt=1)
    target_modules: tuple[str, ...] | Literal["attention"] = Field(
        "attention", description="names of linear layers; attention: every attention projection of the architecture"
    )


class WarmupConfig(Section):
    """The short training that gives adapter and Adam moments (method.md step 1; defaults are LESS's)."""

    lora: LoraConfig = LoraConfig()
    fraction: float = Field(0.05, gt=0, le=1, description="of all pool rows, drawn at random")
    epochs: int = Field(4, ge=1)
    learning_rate: float = Field(2e-5, gt=0, description="a few-million-parameter model needs about 1e-3")
    lr_warmup_fraction: float = Field(0.03, ge=0, lt=1, description="of the steps, linear; then linear decay to 0")
    batch_size: int = Field(32, ge=1, description="examples an optimizer step")
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    checkpoints: Literal["last", "each"] = Field("last", description="epochs whose adapter and moments are kept")
    seed: int = Field(0, ge=0)


class ProjectionConfig(Section):
    """How a gradient of D coordinates becomes a row of k (method.md step 4)."""

    kind: Literal["sparse", "rademacher", "none"] = "sparse"
    dim: int = Field(8192, ge=1, description="k; no projection where the adapter has no more coordinates than this")
    seed: int = Field(0, ge=0, lt=2**63)


class GradientsConfig(Section):
    """Which gradients are stored for each example (method.md steps 2-5)."""

    forms: tuple[GammaForm, ...] = Field(("less",), min_length=1, description="Γ forms of pool gradients, one pass")
    target_form: GammaForm = "sgd"
    projection: ProjectionConfig = ProjectionConfig()
    shard_rows: int = Field(1024, ge=1, description="rows a shard: the unit of work, of storage and of loss at a crash")

    @model_validator(mode="after")
    def _forms_once(self) -> Self:
        if len(set(self.forms)) != len(self.forms):
            raise ValueError(f"each Γ form once, found {list(self.forms)}")
        return self


PRESETS: dict[str, dict[str, Any]] = {
    "official": {
        "core": "pca",
        "orient": False,
        "normalize_targets": False,
        "exact_budget": False,
        "conflict_tolerance": 0.0,
        "consistency_sign": "absolute",
        "consistency_reference": "previous",
        "duplicate_threshold": None,
        "anchor_candidates": 1000,
    },
    "g2is": {
        "core": "svd",
        "orient": True,
        "normalize_targets": True,
        "exact_budget": True,
        "conflict_tolerance": "noise",
        "consistency_sign": "signed",
        "consistency_reference": "anchor",
        "duplicate_threshold": 0.98,
        "anchor_candidates": None,
    },
}


class SelectionConfig(Section):
    """Core knowledge and walk (method.md steps 6-7). The preset fills whatever is not given."""

    preset: Literal["g2is", "official"] = "g2is"
    budget: Annotated[str, BeforeValidator(str)] = Field(
        "1%", description="a share of the pool's rows (1%) or a number of rows (500)"
    )
    form: GammaForm | None = Field(
        None, description="which stored Γ form to walk; default: the first of gradients.forms"
    )
    core: Literal["pca", "svd", "mean"] = Field("svd", description="svd: uncentred, keeps the mean direction")
    core_mode: Literal["variance", "count_ratio"] = "variance"
    core_fraction: float = Field(0.5, gt=0, le=1, description="share of variance (or of k) the components keep")
    orient: bool = Field(True, description="turn each component so that the mean target gradient agrees with it")
    normalize_targets: bool = Field(True, description="unit target rows before the decomposition")
    exact_budget: bool = Field(True, description="re-deal what dry components leave, then take new anchors")
    delta: float = Field(0.8, ge=0, le=1, description="δ of the consistency rule, eq. 6")
    conflict_tolerance: float | Literal["noise"] = Field(
        "noise", description="τ: a conflict is a cosine below -τ; noise: 2/√k, two standard deviations of the sketch"
    )
    consistency_sign: Literal["absolute", "signed"] = "signed"
    consistency_reference: Literal["previous", "anchor", "best"] = "anchor"
    duplicate_threshold: float | None = Field(
        0.98, gt=0, le=1, description="cosine from which a taken row's copy is skipped"
    )
    cross_component_conflicts: bool = Field(False, description="conflicts with rows of earlier components count too")
    anchor_candidates: int | None = Field(None, ge=1, description="anchor looked for among so many best rows first")

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, given: Any) -> Any:
        if isinstance(given, Mapping):
            return {**PRESETS.get(given.get("preset", "g2is"), {}), **given}
        return given

    @model_validator(mode="after")
    def _tolerance_not_negative(self) -> Self:
        if self.conflict_tolerance != "noise" and not 0 <= self.conflict_tolerance <= 1:
            raise ValueError(f"conflict_tolerance: expected 0 to 1 or 'noise', found {self.conflict_tolerance}")
        return self


class ExecutionConfig(Section):
    """How the work is done. None of it changes what is computed, beyond float rounding."""

    device: str = Field("auto", description="auto, cpu, cuda, cuda:1 …")
    batch_tokens: int = Field(8192, ge=1, description="padded tokens an extraction batch holds at most")
    warmup_device_batch_size: int = Field(8, ge=1, description="examples a warm-up forward pass")
    checkpoint_steps: int = Field(50, ge=1, description="optimizer steps between warm-up checkpoints to resume from")


class Config(Section):
    """A whole run of `g2is select`."""

    pool: Path
    target: Path
    out: Path
    store: Path
    model: ModelConfig
    examples: ExamplesConfig = ExamplesConfig()
    warmup: WarmupConfig = WarmupConfig()
    gradients: GradientsConfig = GradientsConfig()
    selection: SelectionConfig = SelectionConfig()
    execution: ExecutionConfig = ExecutionConfig()

    @model_validator(mode="after")
    def _form_is_stored(self) -> Self:
        form = self.selection.form
        if form is not None and form not in self.gradients.forms:
            raise ValueError(
                f"selection.form is {form!r}, but gradients.forms stores only {list(self.gradients.forms)}"
            )
        return self

    @property
    def walked_form(self) -> GammaForm:
        """The Γ form of the pool gradients that the walk reads."""
        return self.selection.form or self.gradients.forms[0]


class MatrixWalkConfig(Section):
    """A walk on matrices that were computed elsewhere (`g2is walk --pool-gradients …`)."""

    pool_gradients: Path
    target_gradients: Path
    graph: Path | None = None
    out: Path
    selection: SelectionConfig = SelectionConfig()


def parse(model: type[Section], values: Mapping[str, Any], origin: str) -> Any:
    """Validate `values` as `model`; all problems are reported together.

    Raises ConfigError naming `origin` (a file, or "the command line") and each offending key.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = [_describe(model, problem) for problem in error.errors()]
        raise ConfigError(f"{origin}: {len(problems)} setting(s) cannot be used:\n  " + "\n  ".join(problems)) from None


def load(path: Path) -> dict[str, Any]:
    """Read a config file's mapping. Raises ConfigError if it is not a YAML mapping."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: expected a YAML config as g2is writes it, but it cannot be read: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a YAML mapping of settings, found {type(values).__name__}")
    return values


def dump(config: Section) -> str:
    """The config as YAML, every default spelled out."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _describe(model: type[Section], problem: Any) -> str:
    place = [str(part) for part in problem["loc"] if not str(part).startswith(("literal[", "function-"))]
    key = ".".join(place)
    if problem["type"] == "extra_forbidden":
        known = _keys(model)
        near = difflib.get_close_matches(key, known, n=1) or difflib.get_close_matches(place[-1], known, n=1)
        return f"{key}: unknown" + (f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}")
    if problem["type"] == "missing":
        return f"{key}: required, but not given"
    found = problem.get("input")
    suffix = "" if isinstance(found, Mapping) else f", found {found!r}"
    return f"{key or 'config'}: {problem['msg'].removeprefix('Value error, ')}{suffix}"


def _keys(model: type[Section], prefix: str = "") -> list[str]:
    keys = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            keys += _keys(kind, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys
