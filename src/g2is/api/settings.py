"""The settings as types, so that a type checker refuses a wrong name: `warmup={"epoch": 3}`, `wramup=…`.

A dictionary that is made beforehand says its type: `selection: SelectionSettings = {"budget": "5%"}`. What each setting
means: docs/settings.md. Made by `scripts/write_types.py`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from g2is.config import SelectionConfig

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Template = Literal["auto", "chat", "plain", "less"]
Layout = Literal["messages", "sharegpt", "prompt/completion", "alpaca", "inputs/targets", "question/answer"]
Forms = Literal["less", "adam", "sgd", "normalized", "momentum-free"]
TargetForm = Literal["less", "adam", "sgd", "normalized", "momentum-free"]
Kind = Literal["sparse", "rademacher", "two-sided", "none"]
Form = Literal["less", "adam", "sgd", "normalized", "momentum-free"]
Metrics = Literal["loss", "exact_match", "rouge_l", "numeric_match"]


class ModelSettings(TypedDict, total=False):
    """The causal language model to measure gradients on."""

    name: str | Path
    revision: str | None
    dtype: Dtype
    quantization: Literal["nf4", "int8"] | None
    device_map: Literal["auto"] | None
    activation_checkpointing: bool
    trust_remote_code: bool


class ExamplesSettings(TypedDict, total=False):
    """How rows are read, become tokens, and which tokens are learned (method.md step 2)."""

    template: Template
    chat_template: str | Path | None
    system: Literal["keep", "merge"]
    dropped_text: Literal["refuse", "allow"]
    append_eos: bool
    learn_end_of_turn: Literal["all", "pool", "none"]
    max_length: int
    truncation: Literal["prompt-start", "answer-end"]
    date: str
    layout: Layout | None
    columns: Mapping[str, str]
    max_row_bytes: int
    on_bad_row: Literal["stop", "skip"]


class LoraSettings(TypedDict, total=False):
    """The adapter whose gradients are measured (method.md step 1)."""

    rank: int
    alpha: float
    dropout: float
    target_modules: Sequence[str] | Literal["attention"]


class WarmupSettings(TypedDict, total=False):
    """The short training that gives adapter and Adam moments (method.md step 1; defaults are LESS's)."""

    adapter: str | Path | None
    lora: LoraSettings
    fraction: float
    epochs: int
    learning_rate: float
    lr_warmup_fraction: float
    batch_size: int
    device_batch_size: int
    weight_decay: float
    max_grad_norm: float
    beta1: float
    beta2: float
    checkpoints: Literal["last", "each"]
    seed: int


class RepresentationSettings(TypedDict, total=False):
    """Representations other than gradients; `selection.representation` says which one is used."""

    embedding_model: str
    max_terms: int
    path_epochs: int
    path_reference_epochs: int
    path_batch_size: int
    path_learning_rate: float


class ProjectionSettings(TypedDict, total=False):
    """How a gradient of D coordinates becomes a row of k (method.md step 4)."""

    kind: Kind
    dim: int
    seed: int


class GradientsSettings(TypedDict, total=False):
    """Which gradients are stored for each example (method.md steps 2-5)."""

    parameters: Literal["lora", "all"]
    second_moments: Literal["factored", "adam"] | None
    forms: Forms | Sequence[Forms]
    target_form: TargetForm
    projection: ProjectionSettings
    storage: Literal["float16", "int8", "sign"]


class SelectionSettings(TypedDict, total=False):
    """Representation, selector and its rules (method.md steps 6-7). The method fills whatever is not given."""

    method: str
    representation: str
    selector: str
    budget: str | int
    shares: Mapping[str, float] | None
    include: str | Path | Sequence[str | Path]
    exclude: str | Path | Sequence[str | Path]
    exclude_overlap: str | Path | Sequence[str | Path]
    quotas: Mapping[str, str | int]
    form: Form | None
    duplicate_threshold: float | None
    precondition: Literal["pool"] | None
    precondition_damping: float
    precondition_mix: float
    warmup_seeds: int
    noise: float | Literal["proportional"]
    rounds: int
    take_opposed: bool
    candidates: int | None
    exact_budget: bool
    delta: float
    conflict_tolerance: float | Literal["noise"]
    consistency_sign: Literal["absolute", "signed"]
    consistency_reference: Literal["previous", "anchor", "best"]
    cross_component_conflicts: bool
    keep_zero_rows: bool
    core: Literal["pca", "svd", "mean"]
    core_mode: Literal["variance", "count_ratio"]
    core_fraction: float
    orient: bool
    normalize_targets: bool
    score: Literal["target", "core"]
    if_taken: Literal["next-row", "lose-turn"]
    curvature: float
    fisher_scale: float
    conflict_penalty: float
    balance: Literal["example", "target"]
    spread: float
    kernel_width: float
    neighbor_distance: Literal["euclidean", "cosine"]
    most_neighbors: int
    take_by: Literal["draw", "largest"]
    seed: int
    transport_entropy: float
    transport_balance: float
    subspace_variance: float
    redundant_neighbours: int
    redundant_cosine: float
    redundant_scale: float


class ExecutionSettings(TypedDict, total=False):
    """How the work is done. None of it changes what is computed, beyond float rounding."""

    device: str
    engine: Literal["local", "ray"]
    workers: int | None
    address: str | None
    worker_resources: Mapping[str, float] | None
    batch_tokens: int | Literal["auto"]
    gradient_bytes: int | Literal["auto"]
    shard_rows: int
    resume_steps: int
    report: bool
    report_to: Literal["tensorboard", "wandb"] | Sequence[Literal["tensorboard", "wandb"]]


class TuningSettings(TypedDict, total=False):
    """Fine-tuning on a selection (`g2is train`; method.md step 8; defaults are the paper's where it gives any)."""

    lora: LoraSettings
    epochs: int
    learning_rate: float
    schedule: Literal["cosine", "linear", "constant"]
    lr_warmup_fraction: float
    batch_size: int
    device_batch_size: int
    weight_decay: float
    max_grad_norm: float
    beta1: float
    beta2: float
    bf16: bool
    seed: int


class EvaluationSettings(TypedDict, total=False):
    """What is measured of a model on test rows and tasks (`g2is evaluate`; docs/evaluation.md)."""

    metrics: Metrics | Sequence[Metrics]
    generate: bool
    max_new_tokens: int | None
    numeric: Literal["exact", "math-verify"]
    tasks: str | Sequence[str]
    task_chat_template: bool


class SelectSettings(TypedDict, total=False):
    """The keywords of `select`."""

    examples: ExamplesSettings
    warmup: WarmupSettings
    gradients: GradientsSettings
    selection: "SelectionSettings | SelectionConfig"
    execution: ExecutionSettings


class StageSettings(TypedDict, total=False):
    """The keywords of `warm_up` and `extract_gradients`."""

    examples: ExamplesSettings
    warmup: WarmupSettings
    representation: RepresentationSettings
    gradients: GradientsSettings
    selection: "SelectionSettings | SelectionConfig"
    execution: ExecutionSettings


class MatrixSettings(TypedDict, total=False):
    """The keyword of `walk_matrices`."""

    selection: "SelectionSettings | SelectionConfig"


class TrainSettings(TypedDict, total=False):
    """The keywords of `train`."""

    examples: ExamplesSettings
    tuning: TuningSettings
    execution: ExecutionSettings


class EvaluateSettings(TypedDict, total=False):
    """The keywords of `evaluate`."""

    examples: ExamplesSettings
    evaluation: EvaluationSettings
    execution: ExecutionSettings


class CompareSettings(TypedDict, total=False):
    """The keywords of `compare`."""

    keep_adapters: bool
    selection: SelectionSettings
    examples: ExamplesSettings
    warmup: WarmupSettings
    gradients: GradientsSettings
    tuning: TuningSettings
    evaluation: EvaluationSettings
    execution: ExecutionSettings


class InspectSettings(TypedDict, total=False):
    """The keyword of `inspect`."""

    examples: ExamplesSettings
