"""`g2is evaluate`: test a model and print what came of it."""

# ruff: noqa: ARG001  # parameters tell typer which flags there are; `context.params` holds what was given

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from g2is.cli.session import quiet_libraries, reporter, tell, working
from g2is.errors import plural
from g2is.machine.ranks import check_alone
from g2is.progress.terminal import say

if TYPE_CHECKING:
    from g2is.config import EvaluateConfig
    from g2is.evaluation.rows import Evaluation


def evaluate(
    context: typer.Context,
    wait: bool,
    out: Annotated[Path, typer.Option(help="the results' folder; given again, a stopped evaluation goes on")],
    test: Annotated[
        list[str] | None, typer.Argument(help="files of test rows, 'globs', datasets (see `g2is select --help`)")
    ] = None,
    adapter: Annotated[
        Path | None, typer.Option(help="a LoRA adapter's folder, or that of a `g2is train`; default: the model untuned")
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="of lm-evaluation-harness (may be repeated): gsm8k, mmlu, or a .yaml file"),
    ] = None,
) -> None:
    """Test a model on rows that it was not tuned on, or on tasks of lm-evaluation-harness, or both.

    Of each row of TEST: the loss per answer token, and whether the model's own answer is right (exact match, ROUGE-L,
    the last number). `--set evaluation.generate=false` measures the loss alone, which is much faster.

    OUT gets `evaluation.json` (means) and `answers.parquet` (every row). What each number means: docs/evaluation.md.
    """
    from g2is.cli.build import evaluate_config

    run_evaluation(evaluate_config(context), wait)


def run_evaluation(config: "EvaluateConfig", wait: bool) -> None:
    """Evaluate, or go on, and print what came of it."""
    from g2is.jobs.evaluate import evaluate as test

    check_alone("g2is evaluate")
    quiet_libraries()
    if config.evaluation.tasks:
        from datasets import disable_progress_bars

        disable_progress_bars()
    with working(config.out, wait):
        found = test(config, reporter())
        tell(lambda: _show(config, found), lambda: {"folder": config.out, **found.summary})


def _show(config: "EvaluateConfig", evaluation: "Evaluation") -> None:
    summary = evaluation.summary
    lines = []
    if config.test:
        lines.append(f"tested on {plural(summary['num_rows'], 'row')}, {summary['num_learned']:,} answer tokens")
    for name, mean in summary["means"].items():
        none = "not a number" if name == "loss" else "no row that it applies to"
        value = f"{mean:.4f}" if mean is not None else none
        of = summary["num_applicable"].get(name, summary["num_rows"])
        rows = f"  of {of:,} rows" if of not in (0, summary["num_rows"]) else ""
        lines.append(f"  {name:<14}  {value}{rows}")
    for task, found in summary["tasks"].items():
        lines.append(f"{Path(task).stem}")
        for name, values in {**found["results"], **found.get("groups", {})}.items():
            lines += [
                f"  {name:<24}  {key.replace(',', ' '):<32}  {value:.4f}"
                for key, value in values.items()
                if isinstance(value, float) and "_stderr" not in key
            ]
    lines.append(f"  {config.out / 'evaluation.json'}  (means, and what they were made from)")
    if config.test:
        lines.append(f"  {config.out / 'answers.parquet'}  (every row's answer and numbers)")
    say(lines)
