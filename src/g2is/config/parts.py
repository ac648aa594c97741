"""The parts of a run's settings, but for the selection and gradients: examples, warm-up, tuning, execution."""

import datetime
import difflib
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from g2is.config.section import AbsolutePath, Section, each_once, one_may_stand_alone

Layout = Literal["messages", "sharegpt", "prompt/completion", "alpaca", "inputs/targets", "question/answer"]

# The names that `examples.columns` may give a file's columns: `examples/schemas.py` says which layout has which.
STANDARD_COLUMNS = (
    *("id", "source", "group", "messages", "conversations", "system", "system_prompt", "tools", "loss_mask"),
    *("prompt", "completion", "instruction", "input", "output", "history", "inputs", "targets", "question", "answer"),
)


class ExamplesConfig(Section):
    """How rows are read, become tokens, and which tokens are learned (method.md step 2)."""

    template: Literal["auto", "chat", "plain", "less"] = Field(
        "auto",
        description="chat: the model's own template; plain: ours for base models; auto: chat where there is one, else"
        " plain; less: LESS's encoding, token for token",
    )
    chat_template: AbsolutePath | None = Field(
        None,
        description="file of a chat template that takes the place of the model's own: Jinja, or JSON that holds it",
    )
    system: Literal["keep", "merge"] = Field(
        "keep", description="merge: put system texts in front of the next user turn, where the template takes none"
    )
    dropped_text: Literal["refuse", "allow"] = Field(
        "refuse",
        description="rows of which the template leaves out text; allow: learn what it writes of them, and count",
    )
    append_eos: bool = Field(
        True, description="add an end of turn after the last answer where the chat template writes none, and say so"
    )
    learn_end_of_turn: Literal["all", "pool", "none"] = Field(
        "all",
        description="where the end of turn after an answer is learned: everywhere; in the pool and in training data,"
        " but not in targets, as in LESS; or nowhere. Test rows always have it in their loss",
    )
    max_length: int = Field(
        2048,
        ge=8,
        description="tokens, and never more than the model's context; longer examples are shortened (and counted)",
    )
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
    max_row_bytes: int = Field(
        64_000_000, ge=1024, description="of a row once unpacked; a longer one cannot be used, and is never held whole"
    )
    on_bad_row: Literal["stop", "skip"] = Field(
        "stop", description="stop: report the rows that cannot be used; skip: list them in bad_rows.jsonl and go on"
    )

    @model_validator(mode="after")
    def _one_template(self) -> Self:
        if self.chat_template is not None and self.template in ("plain", "less"):
            raise ValueError(
                f"chat_template: expected template: chat or auto with it, found {self.template}, which is another"
                " template; leave one of the two out"
            )
        return self

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


class LoraConfig(Section):
    """The adapter whose gradients are measured (method.md step 1)."""

    rank: int = Field(128, ge=1, description="r")
    alpha: float = Field(
        512.0, gt=0, description="α; the adapter's output is scaled by α/r; default: 4 r, as the paper's 512 at r 128"
    )
    dropout: float = Field(0.1, ge=0, lt=1, description="while the adapter is trained; off when gradients are taken")
    target_modules: tuple[str, ...] | Literal["attention"] = Field(
        "attention",
        description="names of linear layers; attention: the token-mixing layers of every block (docs/models.md)",
    )

    @model_validator(mode="before")
    @classmethod
    def _alpha_follows_rank(cls, given: Any) -> Any:
        # else a smaller rank alone scales the adapter up, and a training at the same learning rate diverges
        rank = given.get("rank") if isinstance(given, Mapping) else None
        if rank is None or given.get("alpha") is not None:
            return given
        try:
            alpha = 4.0 * float(rank)
        except (TypeError, ValueError):
            return given  # reported below
        return {**given, "alpha": alpha} if alpha > 0 else given


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
    seed: int = Field(0, ge=0, lt=2**32, description="of the draw, the adapter, the order and dropout")


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
    bf16: bool = Field(False, description="multiply matrices in bfloat16; the adapter stays in float32")
    seed: int = Field(0, ge=0, lt=2**32, description="of the adapter, the order and dropout")


class ExecutionConfig(Section):
    """How the work is done. None of it changes what is computed, beyond float rounding.

    One thing follows the device: model.dtype "auto" is bfloat16 on CUDA and float32 elsewhere.
    """

    device: str = Field("auto", description="auto, cpu or cuda")
    engine: Literal["local", "ray"] = Field(
        "local",
        description="who makes the rows of pool and targets, and tunes and tests for a comparison: processes of this"
        " machine, or a Ray cluster",
    )
    workers: int | None = Field(
        None,
        ge=1,
        description="how many processes do that, a model each; default: one for each visible CUDA device; on a CPU one,"
        " which is the command's own",
    )
    address: str | None = Field(
        None, description="host:port of the Ray cluster's head; default: auto (RAY_ADDRESS, or this machine's cluster)"
    )
    worker_resources: dict[str, Annotated[float, Field(gt=0)]] | None = Field(
        None,
        description="what a Ray worker takes of its node, such as {GPU: 1, CPU: 4}, memory in bytes; default: {GPU: 1}"
        " where the cluster has any and device is not cpu, else {CPU: 1}",
    )
    batch_tokens: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto",
        description="padded tokens a batch holds at most; auto: 1024 on a CPU, whose cache they fit, 8192 on a GPU and"
        " where answers are generated",
    )
    gradient_bytes: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        "auto",
        description="of memory, that gradients of one layer, for one example or several, and what is made of them take"
        " at most; auto: 64 MiB on a CPU, 1 GiB on a GPU",
    )
    shard_rows: int = Field(
        1024, ge=1, description="rows a shard, of a new store: the unit of work, of storage and of loss at a crash"
    )
    resume_steps: int = Field(50, ge=1, description="optimizer steps between points a killed warm-up goes on from")
    report: bool = Field(
        True, description="whether `g2is select` and `g2is compare` end by writing report.html (`--no-report`)"
    )
    report_to: Annotated[tuple[Literal["tensorboard", "wandb"], ...], one_may_stand_alone, each_once] = Field(
        (), description="also log trainings there: of `g2is train` below OUT/logs, of a warm-up below STORE/warmup/logs"
    )

    @model_validator(mode="after")
    def _only_ray_has_a_cluster(self) -> Self:
        found = [name for name in ("address", "worker_resources") if getattr(self, name) is not None]
        if found and self.engine != "ray":
            raise ValueError(
                f"{found[0]}: expected engine: ray beside it, found {self.engine}; add --engine ray, or leave it out"
            )
        return self

    def tokens_a_batch(self, device_type: str, *, generates: bool = False) -> int:
        """The number that `batch_tokens` means on a device ("cpu", "cuda") for passes over examples, or for answers."""
        if self.batch_tokens == "auto":
            return 1024 if device_type == "cpu" and not generates else 8192
        return self.batch_tokens

    def bytes_of_gradients(self, device_type: str) -> int:
        """The number that `gradient_bytes` means on a device ("cpu", "cuda")."""
        if self.gradient_bytes == "auto":
            return 1 << (26 if device_type == "cpu" else 30)
        return self.gradient_bytes
