"""g2is: gradient-based graph instruction selection (Zhao et al., ACL 2025).

The public names, each imported when it is first used, so that `import g2is` costs nothing.
"""

from importlib import import_module
from logging import getLogger
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from g2is.api import compare as compare
    from g2is.api import evaluate as evaluate
    from g2is.api import export as export
    from g2is.api import extract_gradients as extract_gradients
    from g2is.api import inspect as inspect
    from g2is.api import merge as merge
    from g2is.api import select as select
    from g2is.api import train as train
    from g2is.api import walk_matrices as walk_matrices
    from g2is.api import warm_up as warm_up
    from g2is.config import Config as Config
    from g2is.config import SelectionConfig as SelectionConfig
    from g2is.errors import G2isError as G2isError
    from g2is.jobs.explain import explain as explain
    from g2is.jobs.run_folder import Selection as Selection
    from g2is.progress import Silent as Silent
    from g2is.representations.own import Representation as Representation
    from g2is.selection.core import CoreKnowledge as CoreKnowledge
    from g2is.selection.core import core_knowledge as core_knowledge
    from g2is.selection.limits import Limits as Limits
    from g2is.selection.limits import Quota as Quota
    from g2is.selection.problem import Choice as Choice
    from g2is.selection.problem import Problem as Problem
    from g2is.selection.problem import Selector as Selector
    from g2is.selection.record import Walk as Walk
    from g2is.selection.walk import walk as walk

    __version__: str

# peft imports bitsandbytes wherever it is installed, and that tells of a kernel for products that g2is does not use.
getLogger("bitsandbytes.backends.cpu.ops").addFilter(lambda record: "gemm_4bit_forward" not in str(record.msg))

_HOME = {
    "Choice": "g2is.selection.problem",
    "Config": "g2is.config",
    "CoreKnowledge": "g2is.selection.core",
    "G2isError": "g2is.errors",
    "Limits": "g2is.selection.limits",
    "Problem": "g2is.selection.problem",
    "Quota": "g2is.selection.limits",
    "Representation": "g2is.representations.own",
    "Selection": "g2is.jobs.run_folder",
    "Selector": "g2is.selection.problem",
    "SelectionConfig": "g2is.config",
    "Silent": "g2is.progress",
    "Walk": "g2is.selection.record",
    "core_knowledge": "g2is.selection.core",
    "compare": "g2is.api",
    "evaluate": "g2is.api",
    "explain": "g2is.jobs.explain",
    "export": "g2is.api",
    "extract_gradients": "g2is.api",
    "inspect": "g2is.api",
    "merge": "g2is.api",
    "select": "g2is.api",
    "train": "g2is.api",
    "walk": "g2is.selection.walk",
    "walk_matrices": "g2is.api",
    "warm_up": "g2is.api",
}

__all__ = sorted(_HOME)


def __dir__() -> list[str]:
    return sorted({*__all__, "__version__", *(name for name in globals() if name.startswith("__"))})


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("g2is.machine.environment").own_version()
    if name not in _HOME:
        raise AttributeError(f"module 'g2is' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
