"""Keeps what is trained, and its moments, while the warm-up trains (`train.py`).

Apart, for the Trainer takes seconds to import.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from g2is.model.parameters import trainable_parameters
from g2is.model.trainer import save_adapter
from g2is.store.digests import record_digests
from g2is.store.files import write_atomically
from g2is.store.moments import save_moments
from g2is.warmup.moments import moments_of


class Keeper(TrainerCallback):
    """Keeps adapter and moments in `folder` at the end of the last epoch, or of each, and what `keep_beside` writes.

    `save` writes what of the model is trained into a folder: an adapter, or the weights of all linear layers.
    """

    def __init__(
        self,
        folder: Path,
        model: nn.Module,
        keep_each: bool,
        keep_beside: Callable[[Path], None] | None,
        save: Callable[[Any, Path], None] = save_adapter,
    ) -> None:
        self._folder = folder
        self._parameters = trainable_parameters(model)
        self._keep_each = keep_each
        self._keep_beside = keep_beside
        self._save = save

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **objects: Any
    ) -> None:
        """Keep an epoch that ends with this step."""
        # Here and not at the epoch's end: the Trainer saves its checkpoint between the two, and a run resumed from it
        # would never come to this epoch's end again.
        epoch, rest = divmod(state.global_step * int(args.num_train_epochs), state.max_steps)
        if rest == 0 and (self._keep_each or epoch == args.num_train_epochs):
            betas = (args.adam_beta1, args.adam_beta2)
            self._keep(epoch, objects["model"], objects["optimizer"], betas)

    def _keep(self, epoch: int, model: nn.Module, optimizer: Any, betas: tuple[float, float]) -> None:
        target = self._folder / f"epoch-{epoch}"
        if target.exists():
            return

        def write(temporary: Path) -> None:
            self._save(model, temporary)
            inner = getattr(optimizer, "optimizer", optimizer)  # Accelerate wraps it
            save_moments(moments_of(inner, self._parameters, betas), temporary / "moments.safetensors")
            if self._keep_beside is not None:
                self._keep_beside(temporary)
            record_digests(temporary, sorted(path.name for path in temporary.iterdir()))

        write_atomically(target, write)
