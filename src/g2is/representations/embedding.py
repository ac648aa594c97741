"""Sentence embeddings by sentence-transformers: any model in a local folder or on the hub, as safetensors only."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import AfterValidator, Field

from g2is.methods import RepresentationKind, Section
from g2is.representations.maker import ArraysOf, Maker, Materials, import_package

if TYPE_CHECKING:
    from g2is.model.batches import Row

VERSION = 1  # to be raised with every change of ours that changes rows


def _absolute_if_a_folder(name: str) -> str:
    return str(Path(name).absolute()) if Path(name).is_dir() else name


class EmbeddingSettings(Section):
    """The sentence encoder."""

    embedding_model: Annotated[str, AfterValidator(_absolute_if_a_folder)] = Field(
        "sentence-transformers/all-MiniLM-L6-v2", min_length=1, description="local folder or hub name"
    )


def embedding(materials: Materials) -> Maker:
    """Embeddings of examples as text.

    Raises ConfigError where sentence-transformers is not installed, ModelError where the model cannot be used.
    """
    from g2is.model.batches import plan_batches
    from g2is.model.folder import resolve_device
    from g2is.model.weights import files_digest
    from g2is.representations.encoder import deciding_files, find_embedding_model, load_encoder
    from g2is.store.rows import unit_rows

    package = import_package("sentence_transformers", extra="embedding")
    name = materials.settings.part(EmbeddingSettings).embedding_model
    folder = find_embedding_model(name)
    with materials.reporter.stage("check embedding model", "bytes") as progress:
        weights = files_digest(deciding_files(folder), progress)

    def open_model() -> ArraysOf:
        device = resolve_device(materials.execution.device)
        model = load_encoder(package, folder, device)
        if model.max_seq_length is not None:
            materials.reporter.notice(
                f"embeddings are made of each example's first {model.max_seq_length} tokens, as {name} counts them"
            )

        def arrays_of(rows: "Sequence[Row]", progress: Callable[[int], None]) -> Mapping[str, np.ndarray]:
            texts = materials.texts(rows)
            lengths = np.array([len(ids) for ids, _ in rows])
            batches = plan_batches(lengths, materials.execution.tokens_a_batch(device.type))
            vectors = []
            for chosen in batches:
                of_batch = [texts[i] for i in chosen]
                vectors.append(model.encode(of_batch, batch_size=len(chosen), show_progress_bar=False))
                progress(int(lengths[chosen].sum()))
            back = np.argsort(np.concatenate(batches))
            return unit_rows(np.concatenate(vectors)[back]).arrays()

        return arrays_of

    fingerprint = {"embedding.version": VERSION, "embedding.model": weights, **materials.text_fingerprint}
    return Maker("embedding", "embedding", fingerprint, open_model)


EMBEDDING = RepresentationKind(
    line="sentence embeddings of the text that the model sees",
    source="sentence-transformers",
    gives="vectors",
    settings=EmbeddingSettings,
    make=embedding,
)
