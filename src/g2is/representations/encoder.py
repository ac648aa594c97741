"""A sentence encoder's folder: found, checked, loaded."""

from pathlib import Path
from typing import Any

import torch

from g2is.config.strict import parse_json, read_text_file
from g2is.errors import ModelError, first_line, pass_on_too_little_memory
from g2is.model.hub import fetch
from g2is.model.weights import check_complete, check_whole

_READ = (".json", ".safetensors", ".txt", ".model")  # files that may decide an embedding
_OURS = "sentence_transformers."


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
        kinds = [str(module["type"]) for module in parse_json(read_text_file(listed))]
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
        if (folder / "config.json").is_file():
            check_complete(folder)
        check_whole(sorted(folder.glob("*.safetensors")))
        safe = any(folder.glob("*.safetensors"))
        has_weights |= safe
        if not safe and (pickled := sorted(folder.glob("pytorch_model*.bin"))):
            raise ModelError(
                f"{pickled[0]}: expected weights in *.safetensors, found pickled ones only. g2is loads none: save the"
                " model again with sentence-transformers' save_pretrained(…), which writes safetensors"
            )
    if not has_weights:
        raise ModelError(f"{path}: expected weights in *.safetensors, found none; name another embedding model")


def deciding_files(path: Path) -> list[Path]:
    """The files of the model in the folder `path` that may decide an embedding, in the order of their names."""
    inner = ((file.relative_to(path), file) for file in path.rglob("*") if file.suffix in _READ and file.is_file())
    return [file for name, file in sorted(inner) if not any(part.startswith(".") for part in name.parts)]


def load_encoder(package: Any, path: Path, device: torch.device) -> Any:
    """The model in the folder `path`, by the package sentence-transformers. Raises ModelError if it cannot be used."""
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
        pass_on_too_little_memory(error)
        raise ModelError(
            f"{path}: expected a model that sentence-transformers loads, but: {first_line(error)}"
        ) from None
