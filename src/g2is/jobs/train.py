"""`g2is train`: fine-tune a model on a selection, which a smaller one may have made.

OUT/config.yaml       every setting
OUT/manifest.json     what the work in OUT was made from: a resumed tuning must find the same
OUT/examples/         tokenised files
OUT/bad_rows.jsonl    rows of the files that could not be used, with the reason (if they were to be skipped)
OUT/logs/             what execution.report_to asks for
OUT/adapter/          the adapter, as PEFT loads it, and how its examples were rendered (`examples/as_trained.py`,
                      `training/tune.py` has the rest)
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from g2is.config import ExamplesConfig, TrainConfig
from g2is.config.commands import SETTINGS, command_in
from g2is.config.io import load, parse
from g2is.config.passed_over import without_use_in_training
from g2is.errors import ConfigError, InputError, ModelError, StoreError
from g2is.examples.as_trained import TEMPLATE, taking
from g2is.examples.columns import check_columns
from g2is.examples.how_read import HOW_READ, how_read
from g2is.examples.make_table import describe_losses, tokenize_files
from g2is.examples.sources import Source, find_sources
from g2is.examples.table import ExampleTable
from g2is.examples.tokenize import WITHOUT_CHAT_TEMPLATE, Renderer, make_renderer
from g2is.jobs.beside_adapter import beside_training
from g2is.jobs.lora_reach import reach_of, say_reach
from g2is.jobs.model_identity import ModelIdentity, identify, say_slow_products
from g2is.jobs.pinned import pin
from g2is.jobs.run_folder import unvouched
from g2is.jobs.work_folder import BAD_ROWS, WorkFolder, open_work
from g2is.model.devices import check_spread
from g2is.model.folder import ModelFolder, find_model, resolve_device
from g2is.model.reporting import check_reporting
from g2is.outputs.examples import MESSAGES
from g2is.progress import Reporter, Silent
from g2is.store.digests import damaged_files, record_digests
from g2is.store.files import remove, write_json_lines
from g2is.store.fingerprint import Fingerprint, flatten
from g2is.training.tune import ADAPTER, damaged_adapter, finished_tuning, tune


@dataclass(frozen=True)
class Tuned:
    """A finished tuning: the adapter's folder, and the record of examples, steps and losses."""

    adapter: Path
    record: dict[str, Any]


@dataclass(frozen=True)
class TrainingInputs:
    """What is trained, and on what: the model, its tokenizer, how examples are rendered, and their tokens."""

    model: ModelFolder
    device: torch.device
    tokenizer: Any
    renderer: Renderer
    identity: ModelIdentity
    table: ExampleTable


def read_training(config: TrainConfig, cache: Path, reporter: Reporter) -> TrainingInputs:
    """Find the model and read the examples, whose tokens are kept in the folder `cache`. Raises as `train`."""
    check_spread(config.model, config.execution)
    device = resolve_device(config.execution.device)
    model = find_model(config.model)
    tokenizer = model.tokenizer()
    renderer = make_renderer(tokenizer, config.examples, model.context_length, num_embeddings=model.num_embeddings)
    for notice in (*renderer.notices, *_rendered_otherwise(config, tokenizer)):
        reporter.notice(notice)
    say_reach(reach_of(model, config.tuning.lora, None, "tuning"), reporter)
    identity = identify(model, config.model, device, reporter)
    say_slow_products(identity.dtype, device, reporter)
    if config.tuning.bf16:
        say_slow_products(torch.bfloat16, device, reporter, "tuning.bf16")
    with reporter.stage("read examples", "bytes") as progress:
        sources = _told_apart(config.data)
        table = tokenize_files(sources, renderer, config.examples, cache, progress)
    if table.num_duplicates and len(sources) > 1:
        reporter.notice(
            f"examples: {table.num_duplicates} stand in another run or file, too (or in one twice): each is learned as"
            " often as it stands there"
        )
    for loss in describe_losses("examples", table, config.examples.truncation):
        reporter.notice(loss)
    check_columns(config.examples.columns, [table.seen])
    return TrainingInputs(model, device, tokenizer, renderer, identity, table)


def _told_apart(data: Sequence[str]) -> list[Source]:
    """The sources of `data`; of several those of runs with the run before its ids, for each numbers rows from 0."""
    sources = find_sources([selected_examples(location) for location in data])
    of_runs = {str(Path(location) / MESSAGES) for location in data}
    if len(sources) == 1:
        return sources
    return [
        replace(source, before_ids=f"{source.file.parent}/") if source.label in of_runs else source
        for source in sources
    ]


def made_from(work: WorkFolder, config: TrainConfig, found: TrainingInputs) -> Fingerprint:
    """What the training is made from. Raises FingerprintError where `work` holds one that was made from another."""
    asked = flatten(
        {
            "data_sha256": found.table.source_sha256,
            "model": found.identity.in_manifest(),
            "examples": {**found.renderer.fingerprint, **how_read(config.examples)},
            "tuning": config.tuning.model_dump(mode="json"),
        }
    )
    if work.is_bound:
        work.check_same(work.made_from(), asked, "a training")
    return asked


def train(config: TrainConfig, reporter: Reporter | None = None) -> Tuned:
    """Tune an adapter on the examples, or go on where a stopped tuning was.

    Raises a G2isError for everything a user can mend, FingerprintError if `config.out` holds other work.
    """
    reporter = reporter or Silent()
    config = pin(rendered_as_selected(config), reporter)
    check_reporting(config.execution)
    for text in without_use_in_training(config.execution):
        reporter.notice(text)
    with open_work(config.out, config, "training") as work, work.removed_on_error():
        found = read_training(config, config.out / "examples", reporter)
        table, renderer = found.table, found.renderer
        work.bind(made_from(work, config, found), config)
        write_json_lines(config.out / BAD_ROWS, table.bad_rows())
        record_digests(config.out, [BAD_ROWS])
        if damaged := damaged_adapter(config.out):
            raise StoreError(
                f"{config.out / damaged[0]}: expected what the training wrote, found it changed or gone. Put it back,"
                f" or train again from the start with `g2is verify {config.out} --repair`"
            )
        if finished_tuning(config.out) is None:
            rows = table.token_rows()
            keep = beside_training(config, found.model, found.tokenizer, renderer, table, reporter)
            try:
                with reporter.stage("tune", "steps") as progress:
                    tune(
                        *(found.model, rows, config.out, config.tuning, config.execution, found.device),
                        *(progress, reporter.notice),
                        keep_beside=keep,
                    )
            except ModelError:  # not one of memory that ran out later: what was done then is kept
                work.unbind()  # nothing of it serves
                remove(config.out / "trainer")
                raise
        record = finished_tuning(config.out)
    assert record is not None
    return Tuned(config.out / ADAPTER, record)


def rendered_as_selected(config: TrainConfig) -> TrainConfig:
    """`config` with what decides tokens and learned positions taken from the runs among its data, unless given.

    Raises ConfigError where runs differ in it, or one's record cannot be read.
    """
    unsaid = ExamplesConfig.model_fields.keys() - HOW_READ - config.examples.model_fields_set
    found: dict[str, dict[Any, str]] = {}
    for location, record in _runs(config):
        of_run = parse(ExamplesConfig, load(record).get("examples", {}), f"{record}: examples")
        for name in unsaid:
            found.setdefault(name, {}).setdefault(getattr(of_run, name), location)
    if differing := {name: values for name, values in found.items() if len(values) > 1}:
        lines = [
            f"examples.{name}: " + ", ".join(f"{value} in {location}" for value, location in values.items())
            for name, values in sorted(differing.items())
        ]
        raise ConfigError(
            "expected runs whose examples are rendered alike, found different settings; say which with --set:\n  "
            + "\n  ".join(lines)
        )
    taken = {name: next(iter(values)) for name, values in found.items()}
    return config.model_copy(update={"examples": taking(config.examples, taken)})


def _runs(config: TrainConfig) -> Iterator[tuple[str, Path]]:
    """The runs among the data, each with the file of its settings."""
    for location in config.data:
        record = Path(location) / SETTINGS
        if (Path(location) / MESSAGES).is_file() and record.is_file():
            yield location, record


def _rendered_otherwise(config: TrainConfig, tokenizer: Any) -> Iterator[str]:
    """Of runs that selected with an adapter which has a chat template of its own: here the model's is used."""
    uses_another = config.examples.chat_template is not None or config.examples.template in WITHOUT_CHAT_TEMPLATE
    for location, record in () if uses_another else _runs(config):
        adapter = (load(record).get("warmup") or {}).get("adapter")
        own = None if adapter is None else Path(adapter) / TEMPLATE
        if own is None or not own.is_file():
            continue
        if own.read_text(encoding="utf-8", errors="replace") != tokenizer.chat_template:
            yield (
                f"{location}: its examples were rendered with the template of its adapter, here they are with the"
                f" model's; to take that one, give --set examples.chat_template={own}"
            )


def selected_examples(location: str) -> str:
    """Where the examples lie that `location` means: of a run folder its selection, else the location itself.

    Raises InputError if it is a run folder without a selection, ConfigError if its settings are of no known command.
    """
    folder = Path(location)
    record = folder / SETTINGS
    if (folder / MESSAGES).is_file():
        if damaged_files(folder, [MESSAGES]):
            raise InputError(
                f"{folder / MESSAGES}: expected the selection as it was written, found another content. Write it again"
                f" with `g2is export {folder}`, or name the file itself to train on what it holds"
            )
        if record.is_file() and unvouched(folder, [MESSAGES]):
            raise InputError(
                f"{folder / MESSAGES}: expected it to be noted in digests.json what the selection held when it was"
                f" written, found no such note. Write it again with `g2is export {folder}`, or name the file itself to"
                " train on what it holds"
            )
        return str(folder / MESSAGES)
    if (command := command_in(folder)) is not None:
        if command == "walk":
            raise InputError(
                f"{folder}: expected a run with examples in it, found one over matrices, which has row numbers alone."
                " Name a file of the examples that they stand for"
            )
        if command != "select":
            raise InputError(
                f"{folder}: expected a run of `g2is select`, with {MESSAGES} in it, found the folder of `g2is"
                f" {command}`. Name the run, or a file of examples"
            )
        raise InputError(
            f"{folder}: expected a finished run, with {MESSAGES} in it, found one without. Finish it with the same"
            " `g2is select` command, or name a file of examples"
        )
    return location
