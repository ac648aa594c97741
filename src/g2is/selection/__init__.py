"""Selection: target and pool gradients in, an ordered list of pool rows out (method.md steps 6-7).

What is asked for:
plan.py        budget, each target's part of it, limits
budget.py      how many rows or tokens, and how much of that each target and component gets
limits.py      what rows cost, rows that are in anyway, quotas of sources
files.py       matrices and graphs from files, checked on entry

What is looked at:
core.py        core knowledge: the directions that the target gradients share
precondition.py  what gradients are multiplied by before, if they are to be: the inverse root of a second moment
similarity.py  cosines of all pool rows with a direction: a coarse screen in float32, a verdict in float64
coarse.py      that screen: in memory, on a device (coarse_rows.py: of what rows; mapped.py: where these are in a file)
scores.py      similarity of pool rows to core knowledge and to target rows
copies.py      near-copies of taken rows
arrays.py      kinds of arrays

Who chooses:
apply.py       lets the configured selector choose
selectors/     each selector with its declaration; a selector is asked about a Problem (problem.py)
pick.py        takes what a selector names, within budget and limits
walk.py        the walk over all components and targets, by rules.py: component.py, trail.py, candidates.py,
               conflicts.py, foresight.py
choose.py      the best of some rows by their exact value
record.py      what a selection returns: every step with its reasons
"""
