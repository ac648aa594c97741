"""Models of a hub: fetched, or found where an earlier fetch left them."""

from pathlib import Path

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from g2is.errors import ModelError, first_line

_WANTED_FILES = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "*.py"]


def fetch(name: str, revision: str | None = None) -> Path:
    """Fetch a hub model, or find what was fetched before. Raises ModelError if the hub does not give it."""
    advice = "name a local folder, or a hub model that this machine can reach"
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError(f"{name}: expected a model folder, found no folder there; {advice}")
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=_WANTED_FILES))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ModelError(
            f"{name}: expected a model, found no folder of that name, and the hub does not give"
            f" {f'its revision {revision}' if revision else 'it'}"
            f" ({first_line(error)}); {advice}"
        ) from None
