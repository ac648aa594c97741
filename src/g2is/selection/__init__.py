"""Selection: target and pool gradients in, an ordered list of pool rows out (method.md steps 6-7).

budget.py      how many rows or tokens, and how much of that each target and component gets
limits.py      what rows cost, rows that are in anyway, quotas of sources
core.py        core knowledge: the directions that the target gradients share
similarity.py  cosines of all pool rows with a direction: float32 screen, float64 verdict
candidates.py  which pool rows can still be taken
choose.py      the best of some rows by their exact value
trail.py       one trail: an anchor and the rows that follow it
component.py   one component: its trails one after the other, and their counts
walk.py        the walk over all components and targets
record.py      what a walk returns
scores.py      similarity of pool rows to core knowledge and to target rows
files.py       matrices and graphs from files, checked on entry
"""
