"""The grid of methods: a method is a representation of the examples × a selector over it (method.md).

Selectors and representations are declared in their own files; here stands where. A new selector is one file in
`selection/selectors/` and one line in `SELECTORS`, a new representation one file in `representations/` and one line in
`REPRESENTATIONS`. The configuration is composed of what they declare: their files import neither it nor torch.
"""

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

# name: where it is declared
SELECTORS: dict[str, str] = {
    "design": "g2is.selection.selectors.design:DESIGN",
    "walk": "g2is.selection.selectors.walk:WALK",
    "top": "g2is.selection.selectors.top:TOP",
    "round-robin": "g2is.selection.selectors.round_robin:ROUND_ROBIN",
    "interaction": "g2is.selection.selectors.interaction:INTERACTION",
    "spice": "g2is.selection.selectors.spice:SPICE",
    "bids": "g2is.selection.selectors.bids:BIDS",
    "knn": "g2is.selection.selectors.knn:KNN",
    "uot": "g2is.selection.selectors.uot:UOT",
    "gist": "g2is.selection.selectors.gist:GIST",
    "seed": "g2is.selection.selectors.seed:SEED",
    "match": "g2is.selection.selectors.match:MATCH",
    "random": "g2is.selection.selectors.unguided:RANDOM",
    "all": "g2is.selection.selectors.unguided:ALL",
}

REPRESENTATIONS: dict[str, str] = {
    "hidden": "g2is.representations.hidden:HIDDEN",
    "embedding": "g2is.representations.embedding:EMBEDDING",
    "lexical": "g2is.representations.lexical:LEXICAL",
    "tacs": "g2is.representations.tacs:TACS",
}
# Gradients have stages of their own (warm-up, Γ, projection); "none" is for selectors that look at nothing.
GRADIENT, NONE = "gradient", "none"

DEFAULT = "design"  # the method, and its selector
OWN = "own:"  # begins the name of a selector or representation that a user passes from Python

# What stands for the rows, and what a selector must have of it: vectors, from which scores follow; scores alone, the
# similarities of pool rows with target examples; or nothing.
Material = Literal["vectors", "scores", "nothing"]


class Section(BaseModel):
    """A part of the configuration: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def part(self, kind: "type[Part]") -> "Part":
        """These settings as one of the sections that they are composed of."""
        if type(self) is kind:
            return self
        return kind.model_validate({name: getattr(self, name) for name in kind.model_fields})


Part = TypeVar("Part", bound=Section)


class CopySettings(Section):
    """What counts as the same row twice, for every selector."""

    duplicate_threshold: float | None = Field(
        0.98,
        gt=0,
        le=1,
        description="cosine from which a taken row's copy is skipped; a selector of your own skips none unless told",
    )


class OpposedSettings(Section):
    """What becomes of rows that oppose the target, for every selector that looks at similarity with it."""

    take_opposed: bool = Field(
        False,
        description="take rows whose cosine with every example of the target is below 0, or that oppose the component"
        " they are to anchor; as published methods do when no other row is left",
    )


class CandidateSettings(Section):
    """How many rows a selector looks at that would go through all of them again and again."""

    candidates: int | None = Field(
        None,
        ge=1,
        description="look only at this many rows, those nearest to any example of the target (so many for each of"
        " several), which one pass finds; default: at all",
    )


class NoSettings(Section):
    """The settings of what has none."""


@dataclass(frozen=True, kw_only=True)
class SelectorKind:
    """A selector, as its own file declares it.

    line      what it does, and its `source`
    needs     what it must have of the rows, under its settings
    settings  its own; their names are unique among all selectors
    shared    sections that it has in common with others, and reads under its settings
    select    names rows for one target after the other: a `Select` (`selection/problem.py`, as the next)
    select_jointly   chooses for all targets at once, in its place: a `SelectJointly`
    stage     the id of its stage (`jobs/stages.py`)
    coarse    whether a coarse screen serves it: one in 8 bits, where errors do not add up from step to step
    follows_graph    whether it can be held to a graph's lists of nearest rows
    takes_all whether it takes the whole pool, whatever the budget
    together  whether it is given all targets as one problem: they share one budget
    replays   whether it says of a row among the taken ones alone what it says of it in the pool
    score     what the score of a row that it names says, and its `score_unit`; without one that of similarities
    """

    line: str
    needs: Callable[[Any], Material]
    source: str = ""
    settings: type[Section] = NoSettings
    shared: Mapping[type[Section], Callable[[Any], bool]] | None = None
    select: Callable[..., Any] | None = None
    select_jointly: Callable[..., Any] | None = None
    stage: Literal["select", "walk"] = "select"
    coarse: bool = False
    follows_graph: bool = False
    takes_all: bool = False
    together: bool = False
    replays: bool = True
    score: str = ""
    score_unit: str = ""

    @property
    def sections(self) -> list[type[Section]]:
        """All settings that it may read."""
        return [self.settings, *(self.shared or {})]

    def reads(self, own: Section) -> set[str]:
        """The names of the settings that it reads beside what all do, where its own are `own`."""
        sections = [self.settings, *(section for section, read in (self.shared or {}).items() if read(own))]
        return {name for section in sections for name in section.model_fields}


@dataclass(frozen=True, kw_only=True)
class RepresentationKind:
    """A representation, as its own file declares it.

    line      what it is, and its `source`
    gives     what it has of the rows; `scored_by` says what makes the scores of one without vectors
    score     what such a score is, and its `score_unit`, if it is no similarity with an example
    settings  its own; their names are unique among all representations
    make      a `Maker` from `Materials` (`representations/maker.py`)
    tunes     whether an adapter is tuned on each target first, so that its rows are the targets' own
    """

    line: str
    gives: Material
    make: Callable[..., Any]
    source: str = ""
    scored_by: str = ""
    score: str = ""
    score_unit: str = ""
    tunes: bool = False
    settings: type[Section] = NoSettings


def selector_kind(name: str) -> SelectorKind:
    """What the selector `name` declares; of a user's own, that it may need anything."""
    if name.startswith(OWN):
        score = "what your selector named the row for"
        return SelectorKind(line="your own", needs=lambda _: "nothing", score=score, score_unit="your selector's own")
    kind: SelectorKind = registered(SELECTORS[name])
    return kind


def representation_kind(name: str) -> RepresentationKind:
    """What the representation `name` declares. Raises KeyError for gradient, none and a user's own."""
    kind: RepresentationKind = registered(REPRESENTATIONS[name])
    return kind


def gives(representation: str) -> Material:
    """What a representation has of the rows."""
    if representation in REPRESENTATIONS:
        return representation_kind(representation).gives
    return "nothing" if representation == NONE else "vectors"


def selector_sections() -> list[type[Section]]:
    """The settings of all selectors, each section once."""
    return list(dict.fromkeys(section for name in SELECTORS for section in selector_kind(name).sections))


def representation_sections() -> list[type[Section]]:
    """The same of representations."""
    return list(dict.fromkeys(representation_kind(name).settings for name in REPRESENTATIONS))


# What every comparison has beside the methods asked for; full-cut is the full pool, stopped after as many optimizer
# steps as a selection gets.
UNTUNED, RANDOM, FULL, FULL_CUT = "untuned", "random", "full", "full-cut"
ALWAYS = (UNTUNED, RANDOM, FULL, FULL_CUT)


@dataclass(frozen=True)
class Method:
    """A named cell of the grid: what it is, in a line, its source, and the settings of `selection` it stands for."""

    line: str
    source: str
    settings: Mapping[str, Any]


_OFFICIAL = {
    "selector": "walk",
    "form": "less",
    "core": "pca",
    "orient": False,
    "normalize_targets": False,
    "exact_budget": False,
    "conflict_tolerance": 0.0,
    "consistency_sign": "absolute",
    "consistency_reference": "previous",
    "duplicate_threshold": None,
    "keep_zero_rows": True,
}
_NO_COPIES_SKIPPED = {"duplicate_threshold": None}
_MIXED = {"precondition": "pool", "precondition_mix": 0.9}
_G2IS = "Zhao et al., ACL 2025, arXiv 2502.11062"
_LESS = "Xia et al., ICML 2024, arXiv 2402.04333"
_RDS = "Ivison et al., arXiv 2503.01807"
_TRACKSTAR = "Chang et al., ICLR 2025, arXiv 2410.17413"
_TSDS = "Liu et al., NeurIPS 2024, arXiv 2410.11303"
_CRITICAL_LOOK = "Nayak et al., arXiv 2602.14696"
_LARGEST = {"take_by": "largest", "neighbor_distance": "cosine", "spread": 495.0}

METHODS: dict[str, Method] = {
    "design": Method(
        "the default: each step takes the gradient that says most about the target's beyond what those taken say",
        "g2is, after Yu et al., ICML 2006, and arXiv 2410.08020; see docs/log.md",
        {"form": "momentum-free", "selector": "design"},
    ),
    "design-preconditioned": Method(
        "the default, over gradients in which what most of the pool shares counts less",
        f"g2is; preconditioned as in {_TRACKSTAR}",
        {"form": "momentum-free", "selector": "design", "precondition": "pool"},
    ),
    "g2is": Method(
        "walk over gradients, with what method.md mends", _G2IS, {"form": "momentum-free", "selector": "walk"}
    ),
    "official": Method(
        "walk over gradients exactly as the authors' script does it, whose fallback is no new anchor (method.md)",
        _G2IS,
        _OFFICIAL,
    ),
    "less": Method(
        "gradients of highest mean cosine with the target's (of its nearest group, if it has groups)",
        _LESS,
        {"form": "less", "selector": "top", **_NO_COPIES_SKIPPED},
    ),
    "trackstar": Method(
        "gradients of highest mean cosine with the target's, when what pool and target share counts less",
        _TRACKSTAR,
        {"form": "momentum-free", "selector": "top", **_NO_COPIES_SKIPPED, **_MIXED},
    ),
    "less-rr": Method(
        "each target example in turn takes the gradient nearest to its own",
        f"{_LESS}; round-robin as in arXiv 2602.14696",
        {"form": "less", "selector": "round-robin", **_NO_COPIES_SKIPPED},
    ),
    "interaction": Method(
        "each step takes the gradient that brings the target most, less what others brought already",
        "Heo et al., arXiv 2605.15675, from its description",
        {"form": "less", "selector": "interaction", **_NO_COPIES_SKIPPED},
    ),
    "spice": Method(
        "each step takes the gradient that adds most Fisher information for the target, less its conflict",
        "Chang et al., ICLR 2026, arXiv 2601.23155, for a target",
        {"form": "less", "selector": "spice", **_NO_COPIES_SKIPPED},
    ),
    "bids": Method(
        "all targets at once: each step takes the gradient that does most for the example served least so far",
        "Dai et al., arXiv 2501.12147, from its description",
        {"form": "less", "selector": "bids", **_NO_COPIES_SKIPPED},
    ),
    "tsds": Method(
        "gradients drawn near to the target's by optimal transport, near-copies sharing the place of one",
        _TSDS,
        {"form": "less", "selector": "knn", **_NO_COPIES_SKIPPED},
    ),
    "knn-kde": Method(
        "gradients near to the most of the target's, near-copies sharing the place of one",
        f"{_CRITICAL_LOOK}, after TSDS",
        {"form": "less", "selector": "knn", **_LARGEST, **_NO_COPIES_SKIPPED},
    ),
    "knn-uniform": Method(
        "gradients that are among the nearest of most of the target's",
        f"{_CRITICAL_LOOK}, after TSDS",
        {"form": "less", "selector": "knn", "kernel_width": 0.0, **_LARGEST, **_NO_COPIES_SKIPPED},
    ),
    "uot": Method(
        "gradients that most of the target's mass moves to by unbalanced optimal transport",
        _CRITICAL_LOOK,
        {"form": "less", "selector": "uot", **_NO_COPIES_SKIPPED},
    ),
    "gist": Method(
        "gradients that agree most with a group of the target's in the subspace that the target's span",
        "Min et al., ICML 2026, arXiv 2602.18584",
        {"form": "less", "selector": "gist", **_NO_COPIES_SKIPPED},
    ),
    "seed": Method(
        "gradients of highest product with the target's over the channels of both, none redundant with another",
        "Zhang et al., arXiv 2605.15691",
        {"form": "less", "selector": "seed", **_NO_COPIES_SKIPPED},
    ),
    "match": Method(
        "each step takes the gradient that turns the sum of those taken most towards the target's mean",
        "g2is; see docs/log.md",
        {"form": "momentum-free", "selector": "match"},
    ),
    "rds+": Method(
        "each target example in turn takes the nearest hidden state, or loses its turn if it is taken, as released",
        _RDS,
        {"representation": "hidden", "selector": "round-robin", "if_taken": "lose-turn", **_NO_COPIES_SKIPPED},
    ),
    "embedding": Method(
        "sentence embeddings of highest mean cosine with the target's (the paper's BERT)",
        _G2IS,
        {"representation": "embedding", "selector": "top", **_NO_COPIES_SKIPPED},
    ),
    "bm25": Method(
        "highest mean BM25 score for the target's texts",
        "Robertson and Zaragoza, 2009",
        {"representation": "lexical", "selector": "top", **_NO_COPIES_SKIPPED},
    ),
    "tacs": Method(
        "rows whose loss falls most, as a part of it, by tuning an adapter of rank 1 on the target: no gradients",
        "Yang et al., arXiv 2605.09404",
        {"representation": "tacs", "selector": "top", **_NO_COPIES_SKIPPED},
    ),
    "random": Method(
        "rows drawn at random",
        "the usual baseline",
        {"representation": "none", "selector": "random", **_NO_COPIES_SKIPPED},
    ),
    "full": Method(
        "the whole pool", "the usual baseline", {"representation": "none", "selector": "all", **_NO_COPIES_SKIPPED}
    ),
    "without-graph": Method(
        "the paper's ablation: gradients of highest core knowledge score",
        _G2IS,
        {"form": "momentum-free", "selector": "top", "score": "core", **_NO_COPIES_SKIPPED},
    ),
    "without-gradient": Method(
        "the paper's ablation: walk over sentence embeddings",
        _G2IS,
        {"representation": "embedding", "selector": "walk"},
    ),
}


def registered(place: str) -> Any:
    """What a line of a registry, "module:name", names."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def asked_form(selection: Mapping[str, Any]) -> Any:
    """The Γ form that settings of a selection ask for, by themselves or by their method; None if they leave it open."""
    method = METHODS.get(str(selection.get("method", DEFAULT)))
    return selection.get("form", method.settings.get("form") if method else None)


def check_name(what: str, name: str, known: Iterable[str]) -> str:
    """Return `name` if it is among `known` or a user's own. Raises ValueError naming the nearest."""
    names = list(known)
    if name in names or (name.startswith(OWN) and what != "method"):
        return name
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(names)}"
    raise ValueError(f"unknown {what} {name!r}; {hint}")
