"""What the command line does in one of several processes: process 0 is the command, the others work beside it."""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

from g2is.cli.session import quiet_libraries, reporter
from g2is.errors import G2isError, tells_of_memory
from g2is.machine.places import place_in, starts_one_of_several
from g2is.machine.ranks import Team, is_broken_connection, join
from g2is.progress.terminal import complain

_SECONDS_TO_END = 10.0  # that process 0 takes to end after something went wrong
_KEPT = "what was done before is kept: the same command goes on from here"


def in_its_place(command: Callable[[], Any]) -> Any:
    """Do `command` if this process works alone or is the first of several; else work beside, and exit."""
    place = place_in(os.environ)
    if place is None:
        if starts_one_of_several(os.environ):
            reporter().notice(
                "MASTER_ADDR is set, and no RANK or WORLD_SIZE: this process works alone. To work in several, start"
                " with torchrun --nproc-per-node N -m g2is … (accelerate launch --cpu starts one process)"
            )
        return command()
    others = join(place)
    if not others.leads:
        _work_beside(others)
    try:
        return command()
    finally:
        others.end()


def _work_beside(others: Team) -> NoReturn:
    """Do what process 0 hands out, and exit. Process 0 speaks to the user; this one only where that is gone."""
    code, message = 0, ""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _raise_once)
    try:
        from g2is.jobs.beside import work_beside

        others.live()
        quiet_libraries()
        work_beside(others)
    except KeyboardInterrupt as stopped:
        if not others.has_ended(within=_SECONDS_TO_END):
            code, message = 128 + int(stopped.args[0]), f"stopped; {_KEPT}"
    except BaseException as error:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        if is_broken_connection(error):
            if not others.has_ended(within=_SECONDS_TO_END):
                code, message = 2, f"error: expected process 0 to go on, found it gone; {_KEPT}"
        else:
            if not (isinstance(error, G2isError) or tells_of_memory(error)):
                traceback.print_exc()
            others.give_up(error)
            if _waits_for_gpus():  # process 0 does not hear of it while it waits there
                code, message = 2, f"error: {error} (process {others.place.rank} of {others.place.count})"
    if message:
        complain(message)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # at once: process 0 may wait for this process in torch, and hears of its end


def _raise_once(number: int, _: Any) -> None:
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt(number)


def _waits_for_gpus() -> bool:
    from torch import distributed

    return distributed.is_initialized() and "nccl" in str(distributed.get_backend_config())
