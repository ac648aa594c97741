"""g2is in processes of their own that start at once: forked from one that has imported everything already.

A process that imports torch, transformers and peft anew spends seconds on it, and tests that kill need dozens.
"""

import gc
import importlib
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # torch reads it when it is imported, as g2is does it in several
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    [
        *("g2is.cli.app", "g2is.jobs.select", "g2is.jobs.compare", "g2is.jobs.train", "g2is.jobs.evaluate"),
        *("g2is.jobs.select_matrices", "g2is.jobs.report_run", "g2is.engine.local"),
        *("transformers.trainer", "peft", "g2is.warmup.keeper", "g2is.warmup.optimizer_state", "sklearn.manifold"),
        # what a child would import at its first warm-up, and a function of a test module with it
        *("pytest", "hypothesis", "transformers.models.llama.modeling_llama", "peft.tuners.lora.bnb"),
        *("peft.utils.transformers_weight_conversion", "torch.utils.serialization.config"),
        *("g2is.examples.bounded_jinja", "g2is.model.bars", "g2is.model.loading", "g2is.model.recompute"),
    ]
)


def start(function: Callable[..., Any], *arguments: Any) -> BaseProcess:
    """Call a function of a test module in a process of its own."""
    process = _CONTEXT.Process(target=_begin, args=(function, *arguments), daemon=True)
    process.start()
    return process


def _begin(function: Callable[..., Any], *arguments: Any) -> None:
    gc.freeze()  # each tuning of a model has the collector look at everything, which copies it, too
    function(*arguments)


def ended(process: BaseProcess) -> int:
    """The exit code of a process, -9 if it was killed, once it has ended."""
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def heeds(process: int, number: signal.Signals) -> bool:
    """Whether a process has a handler of its own for a signal."""
    try:
        status = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return False
    caught = next((int(line.split()[1], 16) for line in status if line.startswith("SigCgt:")), 0)
    return bool(caught >> (number - 1) & 1)


def wait_until_heeded(process: BaseProcess) -> None:
    """Wait until a process that was started here would heed a stop, or has ended."""
    assert process.pid is not None
    while process.is_alive() and not heeds(process.pid, signal.SIGTERM):
        time.sleep(0.001)


def command(
    arguments: list[str],
    errors: Path,
    *,
    dies_before: str = "",
    calls: int = 0,
    raises: type[Exception] | None = None,
    environment: Mapping[str, str] | None = None,
) -> BaseProcess:
    """Start `g2is ARGUMENTS`, with what it prints in the file `errors`.

    It dies by SIGKILL when the function named `dies_before` is called for the n-th time, after `calls` calls; or
    `raises` an error there. `environment` is what it has beside this process's own.
    """
    return start(_main, arguments, errors, dies_before, calls, raises, environment or {})


def commands(arguments: list[str], errors: list[Path], **dies: Any) -> list[BaseProcess]:
    """Start `g2is ARGUMENTS` in as many processes as there are files of `errors`, as a launcher does that is none of
    torch's: nobody ends one when another has died. What `dies` says is said of the process of `rank`.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(len(errors))}
    which = dies.pop("rank", None)
    return [
        command(
            arguments,
            path,
            environment={**place, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            **(dies if rank == which else {}),
        )
        for rank, path in enumerate(errors)
    ]


def run(arguments: list[str], errors: Path) -> None:
    """Run `g2is ARGUMENTS` to its end, which must be a good one."""
    code = ended(command(arguments, errors))
    assert code == 0, errors.read_text()


def run_until(arguments: list[str], errors: Path, moment: Callable[[], bool]) -> bool:
    """Run `g2is ARGUMENTS` and kill -9 at `moment`; whether it was killed before it ended by itself."""
    process = command(arguments, errors)
    while process.is_alive():
        if moment():
            process.kill()
            process.join()
            return True
        time.sleep(0.002)
    assert process.exitcode == 0, errors.read_text()
    return False


def run_until_killed(arguments: list[str], errors: Path, moment: str, calls: int = 0) -> None:
    """Run `g2is ARGUMENTS` until it dies by SIGKILL before a call of the function `moment`, after `calls` of them."""
    code = ended(command(arguments, errors, dies_before=moment, calls=calls))
    assert code == -signal.SIGKILL, errors.read_text()


def stored_bytes(folder: Path) -> dict[str, bytes]:
    """Every file of a store but its lock, by relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def die() -> None:
    """End this process as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def _main(
    arguments: list[str],
    errors: Path,
    dies_before: str,
    calls: int,
    raises: type[Exception] | None,
    environment: Mapping[str, str],
) -> None:
    os.environ.update(environment)
    if dies_before:
        _replace(dies_before, calls, raises)
    command_here(arguments, errors)


def command_here(arguments: list[str], errors: Path) -> None:
    """Run `g2is ARGUMENTS` in this process, which ends with it; what it prints goes to the file `errors`."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)  # a job in the background, as tests may be, is told to ignore SIGINT
    with errors.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    sys.argv = ["g2is", *arguments]
    importlib.import_module("g2is.__main__").main()


def _replace(path: str, calls: int, raises: type[Exception] | None) -> None:
    module, name = path.rsplit(".", 1)
    place = importlib.import_module(module)
    real, left = getattr(place, name), calls

    def call(*arguments: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            if raises is not None:
                raise raises("as the test wants it")
            die()
        return real(*arguments, **options)

    setattr(place, name, call)
