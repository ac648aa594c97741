"""Models of a hub: fetched, or found where an earlier fetch left them. One that is not to be had is told in seconds."""

from pathlib import Path

from g2is.errors import ModelError, first_line
from g2is.store.network import why_unreachable

_SETTINGS_FILES = ["*.json", "*.model", "*.txt", "*.jinja", "*.py"]
_WANTED_FILES = [*_SETTINGS_FILES, "*.safetensors"]
_SECONDS_TO_ANSWER = 10.0
_ADVICE = "name a local folder, or a hub model that this machine can reach"


def fetch(name: str, revision: str | None = None, weights: bool = True) -> Path:
    """Fetch a hub model, or find what was fetched before; without `weights` its settings and tokenizer alone.

    Raises ModelError if the hub does not give it.
    """
    check_there(name, revision)
    wanted = _WANTED_FILES if weights else _SETTINGS_FILES
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=wanted))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise _not_given(name, revision, first_line(error), _ADVICE) from None


def check_there(name: str, revision: str | None = None) -> None:
    """Raise ModelError where `name` is no folder, and no model that the hub gives or an earlier fetch has left.

    Where nobody can be reached this takes two seconds. Nothing is fetched.
    """
    if Path(name).exists():
        return
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError(f"{name}: expected a model folder, found no folder there; {_ADVICE}")
    from huggingface_hub import constants, try_to_load_from_cache
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        if isinstance(try_to_load_from_cache(name, "config.json", revision=revision), str):
            return
    except HFValidationError as error:
        raise _not_given(name, revision, first_line(error), _ADVICE) from None
    not_kept = f"and no earlier fetch left it in {constants.HF_HUB_CACHE}"
    if constants.HF_HUB_OFFLINE:
        raise _not_given(
            *(name, revision, f"HF_HUB_OFFLINE is set, {not_kept}"),
            f"unset it, set HF_HOME to where the model was fetched, or {_ADVICE}",
        )
    if why := why_unreachable(constants.ENDPOINT):
        raise _not_given(name, revision, f"{constants.ENDPOINT}: {why}, {not_kept}", _ADVICE)
    from huggingface_hub import HfApi  # which takes longer to import

    hub = HfApi()
    try:
        if hub.model_info(name, revision=revision, timeout=_SECONDS_TO_ANSWER).gated:
            hub.auth_check(name)
    except GatedRepoError:
        raise _not_given(
            *(name, revision, "only those get it who were granted access"),
            f"ask for that at {constants.ENDPOINT}/{name} and give your token (`hf auth login`), or {_ADVICE}",
        ) from None
    except RevisionNotFoundError:
        raise _not_given(name, revision, "it has the model, and no such revision", "name another") from None
    except RepositoryNotFoundError:
        raise _not_given(
            *(name, revision, "it has none of that name, or shows it to others alone"),
            f"check the name, give your token (`hf auth login`), or {_ADVICE}",
        ) from None
    except Exception as error:  # no HTTP after all, an error of the hub's own …: each version of its client has others
        raise _not_given(name, revision, f"{first_line(error)}, {not_kept}", _ADVICE) from None


def _not_given(name: str, revision: str | None, reason: str, remedy: str) -> ModelError:
    what = f"its revision {revision}" if revision else "it"
    return ModelError(
        f"{name}: expected a model, found no folder of that name, and the hub does not give {what} ({reason}); {remedy}"
    )
