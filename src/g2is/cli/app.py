"""The `g2is` command. Torch and transformers are imported by the commands that need them, never by `--help`."""

# ruff: noqa: ARG001  # parameters tell typer which flags there are; `context.params` holds what was given

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from g2is.cli import options
from g2is.cli.common import Version, with_flags
from g2is.cli.compare import compare
from g2is.cli.demo import demo
from g2is.cli.evaluate import evaluate
from g2is.cli.explain import explain
from g2is.cli.export import export
from g2is.cli.failures import Commands, EachFlagOnce, run_app
from g2is.cli.given import Given
from g2is.cli.inspect import inspect
from g2is.cli.merge import merge
from g2is.cli.methods import methods
from g2is.cli.part import find_part
from g2is.cli.plan import plan
from g2is.cli.replay import replay
from g2is.cli.report import report
from g2is.cli.session import reporter
from g2is.cli.show_run import show
from g2is.cli.stages import run_matrix_walk, run_part, run_stages
from g2is.cli.store import store_app
from g2is.cli.train import train
from g2is.cli.verify import verify
from g2is.errors import ConfigError
from g2is.machine.passive import passive
from g2is.machine.ranks import check_alone

app = typer.Typer(
    name="g2is",
    no_args_is_help=True,
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},  # of every command
    pretty_exceptions_enable=False,  # a bug keeps its plain traceback
    rich_markup_mode="markdown",
    help="""Choose, from a large pool of instructions, the few that teach a model a target domain best.

g2is measures what each example would teach the model (its gradient), joins examples into a graph by how those
gradients agree or conflict, and chooses on that graph the few that together teach what the target examples need.

Start with `g2is demo`. Then: `g2is select pool.jsonl target.jsonl --model MODEL --budget 1% --out runs/first`

`select` is the whole job. `warmup`, `gradients`, `walk` and `export` stop after that stage, and every command goes on
from whatever is already done: stop it at any moment and give it again.
""",
)


def command(*kinds: str, name: str | None = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a function a command that has the flags of `kinds` and those of all (`with_flags`)."""

    def add(function: Callable[..., None]) -> Callable[..., None]:
        app.command(name=name, cls=EachFlagOnce)(with_flags(function, *kinds))
        return function

    return add


_OF_A_RUN = ("wait", "dry_run", "facts", "settings", "seed", "warm-up")
_IN_SEVERAL_PROCESSES = ("select", "warmup", "gradients", "walk", "train", "run")


@app.callback()
def _main(
    context: typer.Context,
    version: Version = False,
) -> None:
    if context.invoked_subcommand not in _IN_SEVERAL_PROCESSES:
        check_alone(f"g2is {context.invoked_subcommand}")


@command(
    *("model", "out", "inputs", "limits", "store", "method", "adapter", "work", "rows", "set_", "no_report"), *_OF_A_RUN
)
def select(context: typer.Context, wait: bool, dry_run: bool) -> None:
    """The whole job: from a pool, a target and a model to the selected examples.

    POOL and TARGET are files (JSON lines, JSON, CSV, Parquet; text also .gz or .zst), 'globs', folders of datasets'
    save_to_disk, or hf:org/name:split; several of them with `--target`. Rows are messages, ShareGPT, alpaca, prompt and
    completion, inputs and targets, or question and answer; which, is seen from their columns (`g2is inspect FILE`).

    The run folder gets `selected.jsonl` (the original lines), `selected.messages.jsonl`, `selection.parquet` (why each
    row was taken), `scores.parquet`, `config.yaml` and `report.html`, which shows all of it in a browser.

    Several targets, selected for together: `--target math=a.jsonl --target med=b.jsonl` in place of TARGET. Each has a
    core of its own and an equal share of the budget, or that of `--share`.

    A second target, budget or method with the same `--store` uses the pool's gradients again.
    """
    run_stages("select", context, "export", dry_run, wait)


@command(*("model", "out", "inputs", "exclusions", "store", "adapter", "device", "rows", "set_"), *_OF_A_RUN)
def warmup(context: typer.Context, wait: bool, dry_run: bool) -> None:
    """Stage 1: tune a LoRA adapter on a random share of the pool and keep it with Adam's moments.

    With `--adapter` nothing is trained: your checkpoint's adapter and moments are taken (docs/checkpoints.md).

    What it does is set with `--learning-rate`, `--rank` and `--set warmup.…`: for example `--set warmup.epochs=2`.
    """
    run_stages("warmup", context, "warmup", dry_run, wait)


@command(
    *("model", "out", "inputs", "exclusions", "store", "adapter", "device", "engine", "workers", "worker", "cluster"),
    *("rows", "set_"),
    *_OF_A_RUN,
)
def gradients(context: typer.Context, wait: bool, dry_run: bool, worker: options.Worker = None) -> None:
    """Stage 2: store the gradient row of every example that the store does not hold yet (after the warm-up, if needed).

    Several Γ forms come from one pass: `--set 'gradients.forms=[less, momentum-free]'`.

    With `--worker I/N` it makes one part of them, beside N-1 other processes on any machines that see the store. A task
    of SLURM's srun is one by itself (docs/cluster.md).
    """
    part, taken = find_part(worker, os.environ)
    if taken:
        reporter().notice(taken)
    if part is None:
        run_stages("gradients", context, "gradients", dry_run, wait)
    else:
        run_part(part, context, dry_run)


@command(
    *("out", "inputs", "model", "pool_gradients", "target_gradients", "graph", "limits", "store", "method", "adapter"),
    *("core_mode", "core_fraction", "delta", "work", "rows", "set_"),
    *_OF_A_RUN,
)
def walk(
    context: typer.Context,
    files: list[str] | None,
    wait: bool,
    dry_run: bool,
    model: Annotated[str | None, typer.Option(help="as in `select`")] = None,
    pool_gradients: Annotated[
        Path | None, typer.Option(help="(N, k) matrix that you computed: .npy, .safetensors, .pt or zarr")
    ] = None,
    target_gradients: Annotated[Path | None, typer.Option(help="(M, k) matrix, the same kinds")] = None,
    graph: Annotated[
        Path | None, typer.Option(help="(N, n) .npy, each row's nearest rows, best first: steps look only at those")
    ] = None,
    core_mode: Annotated[str | None, typer.Option(help="variance or count_ratio")] = None,
    core_fraction: options.CoreFraction = None,
    delta: options.Delta = None,
) -> None:
    """Stage 3: choose the rows, as the method does it: by default `design`; `--method g2is` walks.

    With POOL and TARGET, on this project's own gradients (computed first, if need be). With `--pool-gradients` and
    `--target-gradients`, on matrices that anybody computed, LESS's among them; no model is needed then.
    """
    given: Given | None = context.params["config"]
    of_matrices = given is not None and "pool_gradients" in given.values
    if pool_gradients is not None or target_gradients is not None or of_matrices:
        from g2is.cli.build import matrix_walk_config

        run_matrix_walk(matrix_walk_config(context), dry_run, wait)
        return
    if given is None and (not files or model is None):
        raise ConfigError(
            "g2is walk: expected POOL, TARGET and --model, or --pool-gradients and --target-gradients; found neither"
            " complete"
        )
    if graph is not None:
        raise ConfigError(
            "g2is walk: expected --graph beside --pool-gradients, whose rows it lists, found none; leave it out"
        )
    run_stages("walk", context, "walk", dry_run, wait)


command(
    *("model", "inputs", "devices", "out", "limits", "store", "method", "adapter", "work", "rows", "set_"),
    *("facts", "settings", "seed", "warm-up"),
)(plan)
command("file", "out", "store", "set_", "wait", "dry_run", "facts", "config", name="run")(replay)
command("wait", "facts")(export)
command()(explain)
command()(show)
command("facts")(methods)
command(
    *("model", "out", "test", "inputs", "methods", "budgets", "seeds", "work", "rows", "no_report", "set_"),
    *("wait", "dry_run", "recommend", "facts", "settings", "both"),
)(compare)
command(
    *("model", "out", "data", "device", "rows", "set_", "wait", "dry_run", "facts", "settings", "seed", "tuning"),
)(train)
command("wait", "facts")(merge)
command(
    *("model", "out", "test", "adapter", "task", "device", "rows", "set_", "wait", "facts", "settings"),
)(evaluate)
command("files", "model", "schema", "column", "set_", "facts", "settings")(inspect)
command()(verify)
command("wait", "facts")(report)
app.add_typer(store_app, name="store")
command("wait", "facts")(demo)


def main() -> None:
    """Run the command: errors that a user can mend print one message and exit with 2, bugs keep their traceback."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    os.environ.update(passive(os.environ))
    run_app(app)
