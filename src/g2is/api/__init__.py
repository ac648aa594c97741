"""The commands as Python functions.

Settings are those of config.yaml, section by section, as keyword mappings: warmup={"epochs": 2}. Those that cannot be
used are one ConfigError, as on the command line; a type checker refuses a wrong name before (`settings.py`). `model` is
a folder's or hub model's name, or the mapping of its section: {"name": "org/name", "dtype": "bfloat16"}. Called again
with the same arguments, a function goes on from what is done. Each raises a G2isError for what a user can mend. Where
another process uses the folder or its store, that is one; with `wait` its end is waited for.
"""

from g2is.api.selecting import export as export
from g2is.api.selecting import extract_gradients as extract_gradients
from g2is.api.selecting import select as select
from g2is.api.selecting import walk_matrices as walk_matrices
from g2is.api.selecting import warm_up as warm_up
from g2is.api.training import compare as compare
from g2is.api.training import evaluate as evaluate
from g2is.api.training import inspect as inspect
from g2is.api.training import merge as merge
from g2is.api.training import train as train
