"""`g2is compare --recommend`: which method a comparison speaks for, from the cells that lie in its folder."""

from pathlib import Path

from g2is.comparison.recommend import Recommendation, recommend
from g2is.config.commands import settings_in, told_of
from g2is.config.compare import CompareConfig
from g2is.errors import StoreError
from g2is.jobs.report_comparison import comparison_in


def recommend_from(path: Path) -> list[Recommendation]:
    """A recommendation for each budget of the comparison in the folder `path`; nothing is computed of a model.

    Raises StoreError if the folder holds no comparison with a finished cell, or one of its cells is damaged.
    """
    config = settings_in(path)
    if not isinstance(config, CompareConfig):
        found = told_of(path, None if config is None else config.command)
        raise StoreError(f"{path}: expected the folder of a comparison (`g2is compare`), found {found}")
    comparison, _ = comparison_in(config, path)
    return recommend(comparison)
