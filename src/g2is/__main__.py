"""The `g2is` command, and `python -m g2is`: signals are heeded before anything that takes time is imported."""

from g2is.cli.at_once import stop_at_once

if __name__ == "__main__":
    stop_at_once()  # a stop may come while the next lines are imported

import resource
import sys

from g2is.errors import first_line, tells_of_memory
from g2is.progress.terminal import complain

# Of address space. With less some libraries neither load nor say so: OpenBLAS tries for ever, Python itself may abort;
# others end the process where a thread cannot begin.
_LEAST = 3 << 30


def main() -> None:
    """Run the command line and exit."""
    stop_at_once()
    _check_address_space()
    try:
        from g2is.cli.app import main as run
    except (ImportError, MemoryError, OSError, RuntimeError) as error:
        needs = "memory" if tells_of_memory(error) else "files" if "Too many open files" in str(error) else ""
        if not needs:
            raise
        what, limit = {"memory": ("memory", "ulimit -v"), "files": ("leave to open the files", "ulimit -n")}[needs]
        complain(
            f"error: expected {what} for the libraries that g2is uses, found too little ({first_line(error)}). Raise"
            f" the limit (`{limit}`) and give the same command again"
        )
        sys.exit(2)
    run()


def _check_address_space() -> None:
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if "torch" in sys.modules or limit == resource.RLIM_INFINITY or limit >= _LEAST:
        return
    complain(
        f"error: expected {_LEAST >> 30} GiB of address space for the libraries that g2is uses, found a limit of"
        f" {limit / 2**30:.2f} GiB. Raise it (`ulimit -v`) and give the same command again"
    )
    sys.exit(2)


if __name__ == "__main__":
    main()
