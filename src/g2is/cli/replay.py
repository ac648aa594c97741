"""`g2is run`: a config.yaml again."""

from pathlib import Path
from typing import Annotated, Any

import typer

from g2is.cli import options
from g2is.cli.compare import run_comparison
from g2is.cli.evaluate import run_evaluation
from g2is.cli.given import tell_of_other_choice, without_forms, without_what_followed
from g2is.cli.session import reporter
from g2is.cli.stages import run_matrix_walk, run_selection
from g2is.cli.train import run_training
from g2is.cli.usage import missing
from g2is.config.io import load, parse
from g2is.errors import ConfigError

_WHAT = "a config.yaml, as every run writes it"
_WITHOUT_DRY_RUN = {"evaluate": "an evaluation"}


def replay(
    store: str | None,
    set_: list[str] | None,
    wait: bool,
    dry_run: bool,
    file: Annotated[Path | None, typer.Argument(metavar="CONFIG", help=_WHAT)] = None,
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE", help="CONFIG, by a flag")] = None,
    out: Annotated[Path | None, typer.Option(help="another run folder than the file says")] = None,
) -> None:
    """Replay a selection, a walk on matrices, a training, an evaluation or a comparison.

    `--set SETTING=VALUE`, `--out` and `--store` override the file: `--set selection.budget=3`.
    """
    from g2is.config import Config, EvaluateConfig, MatrixWalkConfig, TrainConfig
    from g2is.config.commands import COMMANDS, command_of, updated
    from g2is.config.compare import CompareConfig
    from g2is.jobs.pinned import check_model

    if file is not None and config is not None:
        raise ConfigError(f"--config: expected one file to replay, found {config} beside {file}; leave one out")
    config = file or config
    if config is None:
        raise ConfigError(missing("g2is run", "CONFIG", _WHAT))
    values, left_out = updated(load(config), str(config))
    if left_out:
        reporter().notice(f"{config}: {', '.join(left_out)} left out, which the run that wrote them passed over")
    asked: dict[str, Any] = {}
    options.assign(asked, set_ or [], flags=False)
    tell_of_other_choice(config, values, asked)
    command = command_of({**asked, **values}, str(config))
    values = without_what_followed(without_forms(COMMANDS[command], values, asked), asked)
    options.assign(values, set_ or [], flags=False, model=COMMANDS[command])
    values |= {key: str(path) for key, path in (("out", out), ("store", store)) if path is not None}
    if store is not None and command != "select":
        raise ConfigError(f"--store: {config} is no selection from a pool, so it has no store; leave the flag out")
    if dry_run and command in _WITHOUT_DRY_RUN:
        raise ConfigError(f"--dry-run: {config} is {_WITHOUT_DRY_RUN[command]}, which has none; leave the flag out")
    settings = parse(COMMANDS[command], values, str(config))
    if not isinstance(settings, MatrixWalkConfig):
        check_model(settings.model)
    match settings:
        case Config() as selection:
            run_selection(selection, "export", dry_run, wait)
        case MatrixWalkConfig() as matrix_walk:
            run_matrix_walk(matrix_walk, dry_run, wait)
        case TrainConfig() as training:
            run_training(training, wait, dry_run)
        case EvaluateConfig() as evaluation:
            run_evaluation(evaluation, wait)
        case CompareConfig() as comparison:
            run_comparison(comparison, wait, dry_run)
