"""`g2is export RUN --push-to-hub ORG/NAME`: a selection as a dataset of the Hugging Face hub, with its card."""

import json
import re
import shutil
import tempfile
from pathlib import Path

from g2is.config import Config
from g2is.errors import ConfigError, InputError, StoreError, first_line
from g2is.jobs.export import selection_in
from g2is.jobs.run_folder import SUMMARY, settings_of
from g2is.jobs.train import selected_examples
from g2is.machine.environment import own_version
from g2is.methods import described
from g2is.outputs.card import CARD, ROWS, TABLE, dataset_card
from g2is.outputs.examples import ORIGINAL
from g2is.outputs.tables import SELECTION
from g2is.progress import Reporter, Silent
from g2is.store.digests import damaged_files

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def publish(run: Path, name: str, reporter: Reporter | None = None) -> str:
    """Upload the selection of `run` as the dataset `name`, ORG/NAME; returns its address.

    A dataset that is new is private. Raises ConfigError for another name, or where there is no token of the hub;
    InputError or StoreError if the run has no selection, or not as it was written; StoreError if the hub refuses, or
    cannot be reached.
    """
    import huggingface_hub  # takes a second
    from huggingface_hub.errors import HfHubHTTPError

    reporter = reporter or Silent()
    if not _NAME.fullmatch(name):
        raise ConfigError(f"--push-to-hub: expected ORG/NAME, found {name!r}")
    messages = selected_examples(str(run))
    if messages == str(run):
        raise ConfigError(f"{run}: expected the folder of a run of `g2is select`, found another folder, or none")
    token = huggingface_hub.get_token()
    if token is None:
        raise ConfigError(
            "--push-to-hub: expected a token of the Hugging Face hub that may write, found none: log in with `hf auth"
            " login`, or set HF_TOKEN"
        )
    config, selection = settings_of(run), selection_in(run)
    if not (run / ORIGINAL).is_file() or damaged_files(run, [ORIGINAL]):
        raise InputError(
            f"{run / ORIGINAL}: expected the selection as it was written, which says sources and licences, found"
            f" {'another content' if (run / ORIGINAL).is_file() else 'none'}. Write it again with `g2is export {run}`"
        )
    with (run / ORIGINAL).open("rb") as lines:
        card = dataset_card(name, config, _method(config), own_version(), lines, selection.targets, _rows_read(run))
    api = huggingface_hub.HfApi(token=token)
    # the errors of the HTTP library, another by the client's version; a ValueError: a name or card that is refused
    refusals: tuple[type[Exception], ...] = (*HfHubHTTPError.__bases__, ValueError)
    with tempfile.TemporaryDirectory() as made, reporter.stage("upload", "files") as progress:
        folder = Path(made)
        (folder / CARD).write_text(card, encoding="utf-8")
        shutil.copyfile(messages, folder / ROWS)
        shutil.copyfile(run / SELECTION, folder / TABLE)
        try:
            api.create_repo(name, repo_type="dataset", private=True, exist_ok=True)
            api.upload_folder(
                repo_id=name,
                repo_type="dataset",
                folder_path=folder,
                commit_message=f"Selection of {len(selection.ids)} rows by g2is {own_version()}",
            )
        except refusals as error:
            told = first_line(error).replace(token, "(the token)")  # which a malformed header would quote
            raise StoreError(
                f"--push-to-hub: expected to write to the dataset {name}, but the hub at {api.endpoint} refused or did"
                f" not answer: {told}. See that the token may write there, and give the command again"
            ) from None
        progress(3, 3)
    reporter.notice(
        "a new dataset of the hub is private: make it public on its page, if its sources' licences allow it"
    )
    return f"{api.endpoint}/datasets/{name}"


def _method(config: Config) -> str:
    """The method by its name, what it does and its source, as Markdown."""
    of = config.selection
    line, source = described(of.method, of.selector, of.representation)
    return f"`{of.method}`: {line}" + (f" ({source})" if source else "")


def _rows_read(run: Path) -> int | None:
    """How many rows the pool had."""
    try:
        return int(json.loads((run / SUMMARY).read_text(encoding="utf-8"))["pool"]["read"])
    except (OSError, ValueError, LookupError, TypeError):
        return None
