"""What the scores of a selection say, and in which unit: of a taken row, and of every row of the pool."""

from g2is.config import SelectionConfig
from g2is.methods import NONE, gives, representation_kind, selector_kind

COSINE = "cosine, from -1 to 1"
_NOT_LOOKED_AT = "; none for a row that was not looked at"


def score_meaning(settings: SelectionConfig) -> tuple[str, str]:
    """What the selector takes a row for, in words, and its unit."""
    kind, of_rows = selector_kind(settings.selector), _no_similarity(settings.representation)
    if of_rows is not None and not kind.score_unit:
        return of_rows
    meaning = kind.score or "what the selector took the row for"
    return meaning, kind.score_unit or _similarity_unit(settings.representation)


def pool_score_meaning(name: str, settings: SelectionConfig) -> tuple[str, str]:
    """The same of a column of pool rows' scores, "similarity.TARGET" or "similarity_to_core.TARGET"."""
    what, _, target = name.partition(".")
    if what == "similarity" and (of_rows := _no_similarity(settings.representation)) is not None:
        return f"of the target {target}: {of_rows[0]}", of_rows[1]
    if what == "similarity":
        meaning = f"mean similarity with the examples of the target {target}"
        return meaning + _NOT_LOOKED_AT, _similarity_unit(settings.representation)
    meaning = f"similarity with the components of the target {target}, each counting by its variance"
    return meaning + _NOT_LOOKED_AT, COSINE


def _similarity_unit(representation: str) -> str:
    if gives(representation) == "scores":
        return f"{representation_kind(representation).scored_by} score, 0 and above"
    return "" if representation == NONE else COSINE


def _no_similarity(representation: str) -> tuple[str, str] | None:
    """What the scores of a representation say, and their unit, if they are no similarities."""
    if gives(representation) != "scores" or not (kind := representation_kind(representation)).score:
        return None
    return kind.score, kind.score_unit
