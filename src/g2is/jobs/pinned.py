"""Models and datasets of a hub, by the commit they have now: what is replayed later is then the same.

A name such as org/name means something else whenever its owner pushes. A run therefore says in its config.yaml which
commit it took: `model.revision`, and `hf:org/name@COMMIT:split` for data.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from g2is.config import HUB, ModelConfig, Section
from g2is.model.hub import check_there
from g2is.progress import Reporter

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SECONDS = 10.0  # for the hub's answer
Settings = TypeVar("Settings", bound=Section)


def pin(config: Settings, reporter: Reporter) -> Settings:
    """The settings with a commit for every model and dataset that lies on a hub.

    What the hub does not tell, and no earlier fetch has left word of, stays as it was: a notice says so. Raises
    ModelError for a model that is not to be had at all.
    """
    pinned: Settings = _pinned(config, reporter)
    return pinned


def check_model(config: ModelConfig) -> None:
    """Raise ModelError where the model is neither a folder nor to be had from the hub. Nothing is fetched."""
    check_there(config.name, config.revision)


def _pinned(value: Any, reporter: Reporter) -> Any:
    if isinstance(value, ModelConfig):
        if Path(value.name).exists() or not _may_be_of_hub(value.name):
            return value
        check_model(value)
        return value.model_copy(update={"revision": _commit(value.name, value.revision, "model", reporter)})
    if isinstance(value, Section):
        now = {name: getattr(value, name) for name in type(value).model_fields}
        then = {name: _pinned(of, reporter) for name, of in now.items()}
        changed = {name: of for name, of in then.items() if of is not now[name] and of != now[name]}
        return value.model_copy(update=changed) if changed else value
    if isinstance(value, Mapping):
        return {name: _pinned(of, reporter) for name, of in value.items()}
    if isinstance(value, tuple):
        return tuple(_pinned(of, reporter) for of in value)
    if isinstance(value, str) and value.startswith(HUB):
        return _pinned_location(value, reporter)
    return value


def _pinned_location(location: str, reporter: Reporter) -> str:
    place, colon, split = location.removeprefix(HUB).partition(":")
    name, _, revision = place.partition("@")
    repository = "/".join(name.split("/")[:2])
    if Path(place).is_dir() or not _may_be_of_hub(repository):
        return location
    commit = _commit(repository, revision or None, "dataset", reporter)
    return location if commit is None else f"{HUB}{name}@{commit}{colon}{split}"


def _may_be_of_hub(name: str) -> bool:
    return not name.startswith((".", "/", "~")) and name.count("/") <= 1


def _commit(name: str, revision: str | None, kind: str, reporter: Reporter) -> str | None:
    """The commit that `revision` (default: the hub's main) of a repository is at; `revision` where nobody tells."""
    if revision is not None and _COMMIT.fullmatch(revision):
        return revision
    from huggingface_hub import HfApi
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.errors import HFValidationError

    try:
        told = HfApi().repo_info(name, revision=revision, repo_type=kind, timeout=_SECONDS).sha
    except HFValidationError:
        return revision  # no name of a hub: what opens it says so
    except Exception:  # no network, no such repository, no permission …
        told = None
    folder = f"{kind}s--{name.replace('/', '--')}"
    kept = Path(HF_HUB_CACHE) / folder / "refs" / (revision or "main")
    if told is None and kept.is_file():
        told = kept.read_text(encoding="utf-8").strip()
    if told is None or not _COMMIT.fullmatch(told):
        if kind == "dataset":  # an earlier fetch of it may serve; a model without its commit is not found at all
            reporter.notice(f"{HUB}{name}: the hub does not tell its commit, so that config.yaml names none")
        return revision
    return told
