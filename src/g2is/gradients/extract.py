"""From tokenised examples to a shard of unit gradient rows: all Γ forms from one backward pass per checkpoint."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from g2is.config import ExecutionConfig, GammaForm, ProjectionConfig
from g2is.errors import ModelError, first_line, tells_of_memory
from g2is.gradients.gamma import Gamma
from g2is.gradients.per_example import UnbatchableError, per_example_gradients, single_example_gradients
from g2is.gradients.pieces import Piece, cut
from g2is.gradients.projection import Projection
from g2is.gradients.two_sided import TwoSided
from g2is.model.adapter import load_adapter, saved_parameters
from g2is.model.all_linear import SavedWeights, load_all_linear
from g2is.model.angles import length_of_other_angles
from g2is.model.batches import Batch, Row, pad_batch, plan_batches
from g2is.model.devices import frozen_dtype
from g2is.model.folder import ModelFolder, resolve_device
from g2is.model.parameters import trainable_parameters
from g2is.store.matrix import Shard
from g2is.store.moments import LINEAR_WEIGHTS, Moments, load_moments
from g2is.store.rows import unit_rows

# Computed in a batch and alone before extraction begins. The shortest rows are cheap, and as they differ in length they
# show padding that leaks as well as examples that mix.
_CHECKED_ROWS = 3
# Cosine that a row in a batch must reach with the row alone: what float32 rounding allows; in half precision rounding
# alone costs up to about 1e-3, while examples that mix come out far below 0.98.
_AGREEMENT = {torch.float32: 1 - 1e-5, torch.bfloat16: 0.98, torch.float16: 0.98}


@dataclass(frozen=True)
class AdapterState:
    """One checkpoint: the trained parameters (canonical name -> tensor), an adapter's or all, and their moments."""

    parameters: Mapping[str, torch.Tensor]
    moments: Moments


class Extractor:
    """A model ready to turn examples into gradient rows; one per device."""

    def __init__(
        self,
        model: nn.Module,
        checkpoints: Mapping[str, AdapterState],
        projection: Projection | TwoSided,
        batch_tokens: int,
        notice: Callable[[str], None],
        most_bytes: int | None = None,
    ) -> None:
        """`model`, this extractor's alone, is trainable in the parameters that `checkpoints` fill in.

        `notice` is told of any fallback.

        Gradients of a layer are taken by pieces of which no more than `most_bytes` are in memory (`pieces.py`).
        """
        self._model = model.eval()
        self._parameters = trainable_parameters(model)
        self._checkpoints = checkpoints
        self._projection = projection
        self._batch_tokens = batch_tokens
        self._notice = notice
        self._most_bytes = most_bytes
        self._loaded: AdapterState | None = None
        self._device = next(model.parameters()).device  # that of the input, where rows are summed
        self._gamma = Gamma(self._device.type == "cuda", notice)
        self._shared: tuple[Moments, torch.Tensor] | None = None  # of the moments in use
        self._batched, self._is_checked = True, False  # before rows are seen that show whether they may be
        self._apart = length_of_other_angles(getattr(model, "config", None))
        self._most_tokens: int | None = None  # that a batch may hold, since a larger one did not fit
        self.splits: list[dict[str, int]] = []  # rows and padded tokens of each batch that did not fit in memory

    def extract(
        self,
        rows: Sequence[Row],
        keys: np.ndarray,
        forms: Sequence[GammaForm],
        progress: Callable[[int], None] = lambda _: None,
    ) -> Shard:
        """The gradient rows of `rows` with content keys `keys` (R, 16) uint8, under every checkpoint.

        The batches are a pure function of the rows' lengths and the token budget, as long as they fit in memory: one
        that does not is cut in two, as are all as large from then on. `progress` is told of tokens done. Rows whose Γ
        is zero or not finite come out as zeros with that norm: whoever reads sets them aside.

        Raises ModelError if a single example does not fit in memory.
        """
        if not self._is_checked:
            self._check_batching(rows)
        lengths = np.array([len(ids) for ids, _ in rows])
        batches = plan_batches(lengths, self._batch_tokens if self._batched else 1, self._apart)
        arrays = {"num_answer_tokens": np.array([int(learned[1:].sum()) for _, learned in rows], np.int32)}
        for name, state in self._checkpoints.items():
            self._load(state)
            projected = {form: torch.zeros(len(rows), self._projection.dim) for form in forms}
            losses = torch.zeros(len(rows))
            waiting = batches[::-1]
            while waiting:
                chosen = waiting.pop()
                found = self._project_if_it_fits([rows[i] for i in chosen], state.moments, forms)
                if found is None:
                    waiting += [chosen[len(chosen) // 2 :], chosen[: len(chosen) // 2]]
                    continue
                of_batch, batch_losses = found
                for form in forms:
                    projected[form][chosen] = of_batch[form].cpu()
                losses[chosen] = batch_losses.cpu()
                progress(int(lengths[chosen].sum()))
            arrays[f"{name}/loss"] = losses.numpy()
            for form in forms:
                arrays |= unit_rows(projected[form].numpy()).arrays(f"{name}/{form}/")
        return Shard(keys, arrays)

    def _project_if_it_fits(
        self, rows: Sequence[Row], moments: Moments, forms: Sequence[GammaForm]
    ) -> tuple[dict[GammaForm, torch.Tensor], torch.Tensor] | None:
        """The projected Γ of `rows` and their losses; None if they are too many for the memory there is."""
        num_tokens = len(rows) * max(len(ids) for ids, _ in rows)
        if len(rows) > 1 and self._most_tokens is not None and num_tokens > self._most_tokens:
            return None
        try:
            return self._project_or_fall_back(pad_batch(rows, self._device), moments, forms)
        except Exception as error:
            if not tells_of_memory(error):
                raise
            if len(rows) == 1:
                raise ModelError(
                    f"expected memory for one example of {num_tokens} tokens, found too little on {self._device}. Lower"
                    " examples.max_length, execution.gradient_bytes or warmup.lora.rank, set"
                    f" model.activation_checkpointing=true, or use a device with more ({first_line(error)})"
                ) from None
        self._tell_of_memory(len(rows), num_tokens)
        return None

    def _tell_of_memory(self, num_rows: int, num_tokens: int) -> None:
        self._most_tokens = num_tokens // 2
        self.splits.append({"rows": num_rows, "tokens": num_tokens})
        self._notice(
            f"a batch of {num_rows} rows, {num_tokens} tokens padded, did not fit in memory: it is cut in two, and so"
            " are all as large that follow. execution.batch_tokens sets how many tokens a batch may hold"
        )

    def _project(
        self, batch: Batch, moments: Moments, forms: Sequence[GammaForm], batched: bool
    ) -> tuple[dict[GammaForm, torch.Tensor], torch.Tensor]:
        shape = (len(batch.input_ids), self._projection.dim)
        # less is momentum-free plus what all examples share, and so are their projections
        shares = {"less", "momentum-free"} <= set(forms)
        sums = {form: torch.zeros(shape, device=self._device) for form in forms if not (shares and form == "less")}

        def sink(name: str, gradient: torch.Tensor, piece: Piece) -> None:
            for form, of_form in sums.items():
                adjusted = self._gamma(form, gradient, name, moments, piece.start)
                self._projection.add_(of_form[piece.examples], name, adjusted, piece.start)

        def products(name: str, left: torch.Tensor, right: torch.Tensor) -> None:
            assert isinstance(self._projection, TwoSided)
            assert list(sums) == ["sgd"], f"the two-sided projection is of plain gradients, found {list(sums)}"
            self._projection.add_product_(sums["sgd"], name, left, right)

        if batched:
            two_sided = products if isinstance(self._projection, TwoSided) else None
            losses = per_example_gradients(self._model, batch, sink, self._most_bytes, two_sided)
        else:
            losses = single_example_gradients(self._model, batch, sink, self._most_bytes)
        if shares:
            sums["less"] = sums["momentum-free"] + self._shared_part(moments)
        return sums, losses

    def _shared_part(self, moments: Moments) -> torch.Tensor:
        """The projection (1, k) of Γ `less` at g = 0: the momentum that all examples share."""
        if self._shared is None or self._shared[0] is not moments:
            total = torch.zeros(1, self._projection.dim, device=self._device)
            for name, parameter in self._parameters.items() if moments.m else ():  # without m there is none
                for piece in cut(1, tuple(parameter.shape), self._most_bytes):
                    nothing = torch.zeros(1, piece.stop - piece.start, device=parameter.device)
                    adjusted = self._gamma("less", nothing, name, moments, piece.start)
                    self._projection.add_(total, name, adjusted, piece.start)
            self._shared = moments, total
        return self._shared[1]

    def _project_or_fall_back(
        self, batch: Batch, moments: Moments, forms: Sequence[GammaForm]
    ) -> tuple[dict[GammaForm, torch.Tensor], torch.Tensor]:
        if self._batched:
            try:
                return self._project(batch, moments, forms, batched=True)
            except UnbatchableError as error:
                self._fall_back(str(error))
        return self._project(batch, moments, forms, batched=False)

    def _fall_back(self, reason: str) -> None:
        self._batched, self._is_checked = False, True
        self._notice(f"gradients are taken one example at a time: {reason}")

    def _check_batching(self, rows: Sequence[Row]) -> None:
        """Try a few rows together and one at a time: a model that lets examples of a batch mix is found out here.

        Where fewer than two share a batch or have a direction, the next few are asked, then those of the next shard.
        """
        learned = sorted((row for row in rows if row[1][1:].any()), key=lambda row: len(row[0]))
        num_shorter = len(learned) if self._apart is None else sum(len(ids) <= self._apart for ids, _ in learned)
        for side in (learned[:num_shorter], learned[num_shorter:]):
            for start in range(0, len(side) - 1, _CHECKED_ROWS - 1):  # neighbours, of which each is asked
                self._compare_what_fits(side[start : start + _CHECKED_ROWS])
                if self._is_checked:
                    return

    def _compare_what_fits(self, rows: Sequence[Row]) -> None:
        """Compare as many of these rows, the shortest first, as share a batch and fit in memory, if that are two."""
        for num in range(len(rows), 1, -1):
            num_tokens = num * len(rows[num - 1][0])
            if num_tokens > min(self._batch_tokens, self._most_tokens or self._batch_tokens):
                continue
            try:
                self._compare(pad_batch(rows[:num], self._device))
                return
            except Exception as error:
                if not tells_of_memory(error):
                    raise
                self._tell_of_memory(num, num_tokens)

    def _compare(self, batch: Batch) -> None:
        state = next(iter(self._checkpoints.values()))
        self._load(state)
        together = self._project_or_fall_back(batch, state.moments, ["sgd"])[0]["sgd"].double()
        if not self._batched:
            return
        alone = self._project(batch, state.moments, ["sgd"], batched=False)[0]["sgd"].double()
        says_nothing = ~alone.isfinite().all(1) | (alone == 0).all(1)  # rows without a direction of their own
        # NaN: a row that is finite alone and not in a batch
        cosines = torch.cosine_similarity(together, alone)[~says_nothing].nan_to_num(-1.0)
        agreement = cosines.min().item() if len(cosines) else 1.0
        self._is_checked = len(cosines) > 1
        if agreement < _AGREEMENT[frozen_dtype(self._model)]:
            self._fall_back(
                "in this model the examples of a batch influence each other"
                f" (cosine {agreement:.6f} between a row computed in a batch and alone)"
            )

    def _load(self, state: AdapterState) -> None:
        if self._loaded is state:
            return
        self._loaded = state
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(state.parameters[name])


def load_extractor(
    model_folder: ModelFolder,
    checkpoints: Mapping[str, Path],
    projection: ProjectionConfig,
    execution: ExecutionConfig,
    notice: Callable[[str], None],
) -> Extractor:
    """Load the model with the adapters and moments in the folders that `checkpoints` name, or with all linear layers.

    Raises ModelError or StoreError where a model, adapter or moments do not fit together.
    """
    device = resolve_device(execution.device)
    first = next(iter(checkpoints.values()))
    of_all = (first / LINEAR_WEIGHTS).exists()
    model: nn.Module = load_all_linear(model_folder, device) if of_all else load_adapter(model_folder, first, device)
    parameters = trainable_parameters(model)
    states = {
        name: AdapterState(
            SavedWeights(folder, parameters) if of_all else saved_parameters(folder),
            load_moments(folder / "moments.safetensors", parameters),
        )
        for name, folder in checkpoints.items()
    }
    for name, folder in checkpoints.items():
        _check_moments(states[name].moments, folder / "moments.safetensors")
    return Extractor(
        *(model, states, projection_of(projection, parameters), execution.tokens_a_batch(device.type), notice),
        most_bytes=execution.bytes_of_gradients(device.type),
    )


def projection_of(config: ProjectionConfig, parameters: Mapping[str, nn.Parameter]) -> Projection | TwoSided:
    """The projection that `config` asks for, of gradients of `parameters`, on whose devices it lies."""
    if config.kind == "two-sided":
        return TwoSided(
            config, {name: tuple(of.shape) for name, of in parameters.items()}, next(iter(parameters.values())).device
        )
    sizes = {name: of.numel() for name, of in parameters.items()}
    return Projection(config, sizes, {name: of.device for name, of in parameters.items()})


def _check_moments(moments: Moments, path: Path) -> None:
    """Raise ModelError where a moment is NaN or infinite, or a second one is below 0: Γ would be NaN, or 0 unseen."""
    factored = {f"{name}, {of}": getattr(v, of) for name, v in moments.factored.items() for of in ("row", "column")}
    for kind, tensors in (("m", moments.m), ("v", {**moments.v, **factored})):
        for name, tensor in tensors.items():
            if not bool(tensor.isfinite().all()) or (kind == "v" and bool((tensor < 0).any())):
                raise ModelError(
                    f"{path}: expected finite moments of Adam, and no second one below 0, found others in {kind} of"
                    f" {name}. The warm-up or its optimizer diverged: lower warmup.learning_rate, or set model.dtype to"
                    " float32 or bfloat16"
                )
