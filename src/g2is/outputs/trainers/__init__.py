"""A selection in the layouts of other trainers: a file for each; `table.py` names them."""
