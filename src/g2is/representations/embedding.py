"""Sentence embeddings by sentence-transformers: any model in a local folder or on the hub, as safetensors only."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from g2is.errors import ModelError, first_line
from g2is.model.batches import Row, plan_batches
from g2is.model.folder import check_weights, fetch, files_digest, resolve_device
from g2is.representations.maker import ArraysOf, Maker, Materials, import_package
from g2is.store.rows import unit_rows

VERSION = 1  # to be raised with every change of ours that changes rows
_READ = (".json", ".safetensors", ".txt", ".model")  # files that may decide an embedding
_OURS = "sentence_transformers."


def embedding(materials: Materials) -> Maker:
    """Embeddings of examples as text.

    Raises ConfigError where sentence-transformers is not installed, ModelError where the model cannot be used.
    """
    package = import_package("sentence_transformers", extra="embedding")
    folder = find_embedding_model(materials.settings.embedding_model)
    with materials.reporter.stage("check embedding model", "bytes") as progress:
        weights = files_digest(_files(folder), progress)

    def open_model() -> ArraysOf:
        device = resolve_device(materials.execution.device)
        model = _load(package, folder, device)
        if model.max_seq_length is not None:
            materials.reporter.notice(
                f"embeddings are made of each example's first {model.max_seq_length} tokens, as"
                f" {materials.settings.embedding_model} counts them"
            )

        def arrays_of(rows: Sequence[Row], progress: Callable[[int], None]) -> Mapping[str, np.ndarray]:
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


def find_embedding_model(name: str) -> Path:
    """The folder of the embedding model `name`, fetched from the hub if it is no local folder.

    Raises ModelError if it is not there, would run code of its own, or has weights that are no whole safetensors.
    """
    path = Path(name)
    if not path.is_dir():
        path = fetch(name)
    if not (path / "modules.json").is_file() and not (path / "config.json").is_file():
        raise ModelError(
            f"{path}: expected a sentence-transformers model with modules.json, found none there; name the folder that"
            " its save_pretrained(…) wrote"
        )
    _refuse_foreign_code(path)
    _refuse_pickles(path)
    return path


def _refuse_foreign_code(path: Path) -> None:
    listed = path / "modules.json"
    if not listed.is_file():
        return
    try:
        kinds = [str(module["type"]) for module in json.loads(listed.read_text(encoding="utf-8"))]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ModelError(
            f"{listed}: expected the list of a sentence-transformers model's modules, found a damaged one"
            f" ({first_line(error)}); copy or download the model again"
        ) from None
    # sentence-transformers before 6 runs such code from a local folder without being asked to
    if foreign := [kind for kind in kinds if not kind.startswith(_OURS)]:
        raise ModelError(
            f"{listed}: expected modules of sentence-transformers, found {', '.join(foreign)}, code that comes with the"
            " model. g2is runs none for embeddings; name another model"
        )


def _refuse_pickles(path: Path) -> None:
    folders = [path, *(child for child in sorted(path.iterdir()) if child.is_dir() and not child.name.startswith("."))]
    has_weights = False
    for folder in folders:
        check_weights(folder)
        safe = any(folder.glob("*.safetensors"))
        has_weights |= safe
        if not safe and (pickled := sorted(folder.glob("pytorch_model*.bin"))):
            raise ModelError(
                f"{pickled[0]}: expected weights in *.safetensors, found pickled ones only. g2is loads none: save the"
                " model again with sentence-transformers' save_pretrained(…), which writes safetensors"
            )
    if not has_weights:
        raise ModelError(f"{path}: expected weights in *.safetensors, found none; name another embedding model")


def _files(path: Path) -> list[Path]:
    inner = ((file.relative_to(path), file) for file in path.rglob("*") if file.suffix in _READ and file.is_file())
    return [file for name, file in sorted(inner) if not any(part.startswith(".") for part in name.parts)]


def _load(package: Any, path: Path, device: torch.device) -> Any:
    try:
        return package.SentenceTransformer(
            str(path),
            device=str(device),
            local_files_only=True,
            trust_remote_code=False,
            # whatever the device and the file's dtype: rows are the same on all
            model_kwargs={"dtype": torch.float32, "use_safetensors": True},
        ).eval()
    except Exception as error:  # whatever a damaged or foreign folder gives rise to
        raise ModelError(
            f"{path}: expected a model that sentence-transformers loads, but: {first_line(error)}"
        ) from None
