"""How many warm-ups gradients are taken under (method.md, several warm-ups)."""

from pydantic import Field

from g2is.config.section import Section


class WarmupSeedsSettings(Section):
    """Read wherever a selector looks at gradients (`passed_over.py`)."""

    warmup_seeds: int = Field(
        1,
        ge=1,
        le=100,
        description="warm-ups with seeds of their own (warmup.seed, and each 1,000 after it), under each of which"
        " gradients are taken: rows are compared by the mean of their cosines. So many times the work and the disk",
    )
