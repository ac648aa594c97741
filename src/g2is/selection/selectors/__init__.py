"""Selectors other than the walk: functions of a `Problem` that yield the rows they would take, in order."""
