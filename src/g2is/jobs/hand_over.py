"""`g2is export RUN --for TRAINER`: the selected examples as another trainer takes them, with its configuration.

Each row is rendered as the run rendered it, so that what the trainer would learn can be held against it.
"""

from collections.abc import Sequence
from pathlib import Path

from g2is.config import Config, TuningConfig
from g2is.config.home import at_home
from g2is.errors import ConfigError, InputError, ModelError
from g2is.examples.as_trained import render_as_trained
from g2is.examples.read import read_examples
from g2is.examples.sources import find_sources
from g2is.jobs.run_folder import settings_of
from g2is.jobs.train import selected_examples
from g2is.model.adapter import target_modules
from g2is.model.folder import ModelFolder, find_model
from g2is.model.layers import linear_layers
from g2is.outputs.new_folder import check_is_free, write_new_folder
from g2is.outputs.tables import SELECTION, read_table
from g2is.outputs.trainers.handover import HandedOver, HandedRow, Handover
from g2is.outputs.trainers.table import TRAINERS
from g2is.progress import Reporter, Silent

_COUNTS = ("tokens", "answer_tokens")  # of a selected row
_AT_ONCE = 256  # rows rendered at a time


def hand_over(run: Path, trainer: str, to: Path, reporter: Reporter | None = None) -> HandedOver:
    """Write the selection of `run` for `trainer` into the folder `to`, which must be new or empty.

    Raises ConfigError for an unknown trainer, InputError, StoreError or ModelError where the run, its model, or a row
    cannot be given to it, or `to` cannot be that folder. Nothing is written then.
    """
    reporter = reporter or Silent()
    if trainer not in TRAINERS:
        raise ConfigError(f"--for: expected one of {', '.join(TRAINERS)}, found {trainer!r}")
    if not run.is_dir():
        raise InputError(f"{run}: expected the folder of a run of `g2is select`, found none there")
    found = selected_examples(str(run))
    if Path(found) == run:
        raise InputError(f"{run}: expected the folder of a run of `g2is select`, found another folder")
    to = at_home(to).resolve()
    if special := sorted({*"*?[]"} & {*str(to)}):
        raise InputError(
            f"--to {to}: expected a path that trainers can read rows at, found {' and '.join(special)} in it, which the"
            " datasets library takes for a pattern; name another folder"
        )
    check_is_free(to)
    config = settings_of(run)
    handover = _handover(Path(found), config, to, reporter)
    _check_as_selected(run, handover.rows)
    given: list[HandedOver] = []

    def write(temporary: Path) -> None:
        temporary.mkdir()
        given.append(TRAINERS[trainer](handover, temporary))

    with reporter.stage(f"write for {trainer}", "rows") as progress:
        write_new_folder(to, write)
        progress(len(handover.rows), len(handover.rows))
    for notice in given[0].notices:
        reporter.notice(notice)
    return given[0]


def _handover(messages: Path, config: Config, to: Path, reporter: Reporter) -> Handover:
    model = find_model(config.model)
    as_run = render_as_trained(model, config.warmup.adapter, config.examples)
    # a file of ours, of which each row could be used when it was selected
    read = as_run.config.model_copy(update={"layout": "messages", "columns": {}, "on_bad_row": "stop"})
    rows: list[HandedRow] = []
    with reporter.stage("read examples", "bytes") as progress:
        examples = list(read_examples(find_sources([str(messages)]), read, progress))
    with reporter.stage("tokenise", "rows") as progress:
        for low in range(0, len(examples), _AT_ONCE):
            some = examples[low : low + _AT_ONCE]
            for example, rendered in zip(some, as_run.renderer.render_many(some), strict=True):
                if isinstance(rendered, Exception):
                    raise type(rendered)(f"{example.origin.place(example.line)} ({example.id}): {rendered}")
                rows.append(HandedRow(example.id, example.conversation, rendered.input_ids, rendered.label_mask))
            progress(len(rows), len(examples))
    tuning = TuningConfig()
    return Handover(
        to,
        config.model,
        as_run.config,
        tuning,
        _module_names(model, tuning),
        as_run.tokenizer,
        not as_run.is_own,
        model.hf_config,
        as_run.renderer.template_source,
        as_run.renderer.max_length,
        rows,
    )


def _check_as_selected(run: Path, rows: Sequence[HandedRow]) -> None:
    """Raise ModelError if rows have more or fewer tokens than they were selected with; some older runs do not say."""
    table = read_table(run / SELECTION)
    if not {"id", *_COUNTS} <= set(table.schema.names):
        return
    then = {row["id"]: tuple(row[name] for name in _COUNTS) for row in table.select(["id", *_COUNTS]).to_pylist()}
    now = {row.id: (len(row.input_ids), int(row.label_mask.sum())) for row in rows}
    other = [name for name, counts in now.items() if then.get(name, counts) != counts]
    if other:
        was, found = then[other[0]], now[other[0]]
        raise ModelError(
            f"{run}: expected rows of the tokens that they were selected with, found {len(other)} of {len(now)} with"
            f" others ({other[0]}: {found[0]} tokens, {found[1]} of them learned, then {was[0]} and {was[1]}). The chat"
            " template or tokenizer has changed since: put the old one back, or select again"
        )


def _module_names(model: ModelFolder, tuning: TuningConfig) -> tuple[str, ...]:
    """The layers to adapt, by the last part of their paths where that means no others."""
    layers = model.without_weights()
    paths = target_modules(layers, tuning.lora, "tuning")
    leaves = dict.fromkeys(path.rsplit(".", 1)[-1] for path in paths)
    alike = {path for path in linear_layers(layers) if path.rsplit(".", 1)[-1] in leaves}
    return tuple(leaves) if alike == set(paths) else tuple(paths)
