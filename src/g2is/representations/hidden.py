"""RDS+ (arXiv 2503.01807): the position-weighted mean of the base model's last hidden states (`states.py`)."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from g2is.methods import RepresentationKind
from g2is.representations.maker import ArraysOf, Maker, Materials

if TYPE_CHECKING:
    from g2is.model.batches import Row

VERSION = 1  # to be raised with every change of ours that changes rows


def hidden(materials: Materials) -> Maker:
    """Hidden states of the run's own model, without an adapter."""

    def open_model() -> ArraysOf:
        from g2is.model.folder import resolve_device
        from g2is.representations.states import inner_model, weighted_states
        from g2is.store.rows import unit_rows

        device = resolve_device(materials.execution.device)
        inner = inner_model(materials.model.load(device))
        batch_tokens = materials.execution.tokens_a_batch(device.type)

        def arrays_of(rows: "Sequence[Row]", progress: Callable[[int], None]) -> Mapping[str, np.ndarray]:
            return unit_rows(weighted_states(inner, rows, batch_tokens, progress)).arrays()

        return arrays_of

    return Maker("hidden", "hidden state", {"hidden.version": VERSION, **materials.model_fingerprint}, open_model)


HIDDEN = RepresentationKind(
    line="the position-weighted mean of the base model's last hidden states",
    source="Ivison et al., arXiv 2503.01807",
    gives="vectors",
    make=hidden,
)
