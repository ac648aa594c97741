"""Every error g2is raises on purpose.

    G2isError                      something the user can mend; the CLI prints it and exits with code 2
    ├── ConfigError                a setting that is unknown, malformed or contradicts another
    ├── InputError                 a file or row of examples that cannot be read or used
    ├── ModelError                 a model, tokenizer, template or adapter that cannot be used as asked
    ├── MatrixError                a gradient matrix or graph file that cannot be walked
    ├── StoreError                 a store or run folder that is damaged, in use, or not writable
    │   ├── FolderInUseError       a store or run folder in which another process works
    │   ├── FingerprintError       a store made with other settings; names each differing key
    │   └── UnreachableError       object storage that does not answer, for now; what was stored stays
    ├── SelectionError             a selection that cannot be made from what was given
    ├── WorkerError                processes that cannot go on together, or rows that none of them could make
    └── TooLittleMemoryError       work that did not fit in memory after some of it was done; that is kept

Each message says what was expected, what was found, where (file:line, id), and what to do.
Anything else that is raised is a bug of ours and keeps its traceback. A page that a message names as docs/NAME.md is
told by the place where this user can open it.
"""

import errno
import re
from functools import cache
from pathlib import Path

_PAGE = re.compile(r"(?<![\w/.-])docs/([\w/-]+)\.md\b")


class G2isError(Exception):
    """Something the user can mend. The message is complete: no traceback is needed to act on it."""

    def __str__(self) -> str:
        return with_pages(super().__str__())


class ConfigError(G2isError):
    """A setting that is unknown, malformed or contradicts another."""


class InputError(G2isError):
    """A file or row of examples that cannot be read or used."""


class ModelError(G2isError):
    """A model, tokenizer, chat template or adapter that cannot be used as asked."""


class MatrixError(G2isError):
    """A gradient matrix or graph file that cannot be walked."""


class StoreError(G2isError):
    """A store or run folder that is damaged, in use by another process, or not writable."""


class FolderInUseError(StoreError):
    """A store or run folder in which another process works: its end may be waited for."""


class FingerprintError(StoreError):
    """A store made with other settings than those asked for; the message names each differing key."""


class UnreachableError(StoreError):
    """Object storage that does not answer, for now; what was stored stays."""


class SelectionError(G2isError):
    """A selection that cannot be made from the rows, target or budget given."""


class WorkerError(G2isError):
    """Processes that cannot go on together, or rows that none of them could make; what was made is kept."""


class TooLittleMemoryError(G2isError):
    """Work that did not fit in memory after some of it was done; what was done is kept."""


_NO_MEMORY = (
    *("can't allocate memory", "cannot allocate memory", "failed to map segment", "bad_alloc", "os error 12"),
    *("out of memory", "cublas_status_alloc_failed"),  # CUDA outside torch's own store of memory, Triton, cuBLAS
    *("can't start new thread", "failed to launch worker thread"),  # its stack has no room, or no process is left
)
_OF_LIBRARIES = ("SafetensorError", "ArrowException")  # which derive from Exception alone


def tells_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory was too little, in the words of Python, the system, torch, Arrow or Rust."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    is_open = isinstance(error, RuntimeError | OSError | ImportError) or type(error).__name__ in _OF_LIBRARIES
    return is_open and any(words in str(error).lower() for words in _NO_MEMORY)


def pass_on_too_little_memory(error: BaseException) -> None:
    """Raise `error` on if it says that memory was too little: what was being read is not wrong or damaged by that."""
    cause: BaseException | None = error
    while cause is not None:
        if tells_of_memory(cause):
            raise cause
        cause = cause.__cause__ or cause.__context__


def may_not_be_read(path: object) -> StoreError:
    """The error for a stored file or folder that is there and that this user has no permission to read."""
    return StoreError(
        f"{path}: expected a file or folder that this user may read, found one without permission. It may well be"
        " whole: let its owner give leave (chmod u+rX), or run as a user who may"
    )


def with_pages(text: str) -> str:
    """`text` with each page that it names as docs/NAME.md by the place where this user can open it."""
    return _PAGE.sub(lambda named: page(named[1]), text)


@cache
def page(name: str) -> str:
    """Where the page `name` of the documentation ("formats", "cluster/ray") can be opened.

    That is its address where the installed package names one as Documentation, else the file: beside the package, where
    a wheel has it, or in the clone. What is no page stays docs/NAME.md.
    """
    from importlib.metadata import PackageNotFoundError, metadata

    try:
        addresses = metadata("g2is").get_all("Project-URL") or []
    except PackageNotFoundError:  # run from a clone that is not installed
        addresses = []
    package = Path(__file__).resolve().parent
    places = (package / "docs", package.parents[1] / "docs")
    file = next((found for place in places if (found := place / f"{name}.md").is_file()), None)
    if file is None:
        return f"docs/{name}.md"
    label_and_url = (text.partition(",") for text in addresses)
    url = next((url.strip() for label, _, url in label_and_url if label.strip().lower() == "documentation"), None)
    return str(file) if url is None else f"{url.rstrip('/')}/{name}.html"


def first_line(error: BaseException) -> str:
    """The first line of an error's text that is not empty, or its type: libraries' errors are long.

    One that ends in a colon is given with the next.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if isinstance(error, KeyError):
        return f"there is no {' '.join(lines)}"
    return " ".join(lines[:2] if lines and lines[0].endswith(":") else lines[:1]) or type(error).__name__


def plural(num: int, what: str) -> str:
    """`num` and what it counts, in the plural unless it is 1.

    >>> plural(1, "row"), plural(1200, "row")
    ('1 row', '1,200 rows')
    """
    return f"{num:,} {what}{'' if num == 1 else 's'}"
