"""The grid of methods: a method is a representation of the examples × a selector over it (method.md).

Plain names and settings, imported by the configuration. A new selector is one file in `selection/selectors/` and one
line in `SELECTORS`; a new representation one file in `representations/` and one line in `REPRESENTATIONS`.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

# name: where it is; imported when it is used. The walk needs several targets at once and is called by itself.
SELECTORS: dict[str, str] = {
    "walk": "g2is.selection.walk:walk_targets",
    "top": "g2is.selection.selectors.top:top",
    "round-robin": "g2is.selection.selectors.round_robin:round_robin",
    "match": "g2is.selection.selectors.match:match",
    "design": "g2is.selection.selectors.design:design",
    "random": "g2is.selection.selectors.unguided:random",
    "all": "g2is.selection.selectors.unguided:all_rows",
}

REPRESENTATIONS: dict[str, str] = {
    "hidden": "g2is.representations.hidden:hidden",
    "embedding": "g2is.representations.embedding:embedding",
    "lexical": "g2is.representations.lexical:lexical",
}
# Gradients have stages of their own (warm-up, Γ, projection); "none" is for selectors that look at nothing.
GRADIENT, NONE = "gradient", "none"

DEFAULT = "design"

# What every comparison has beside the methods asked for; full-cut is the full pool, stopped after as many optimizer
# steps as a selection gets.
UNTUNED, RANDOM, FULL, FULL_CUT = "untuned", "random", "full", "full-cut"
ALWAYS = (UNTUNED, RANDOM, FULL, FULL_CUT)

OWN = "own:"  # begins the name of a selector or representation that a user passes from Python


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
_G2IS = "Zhao et al., ACL 2025, arXiv 2502.11062"
_LESS = "Xia et al., ICML 2024, arXiv 2402.04333"
_RDS = "Ivison et al., arXiv 2503.01807"

METHODS: dict[str, Method] = {
    "design": Method(
        "the default: each step takes the gradient that says most about the target's beyond what those taken say",
        "g2is, after Yu et al., ICML 2006, and arXiv 2410.08020; see docs/log.md",
        {"form": "momentum-free", "selector": "design"},
    ),
    "g2is": Method(
        "walk over gradients, with what method.md mends", _G2IS, {"form": "momentum-free", "selector": "walk"}
    ),
    "official": Method("walk over gradients exactly as the authors' script does it", _G2IS, _OFFICIAL),
    "less": Method(
        "gradients of highest mean cosine with the target's (of its nearest group, if it has groups)",
        _LESS,
        {"form": "less", "selector": "top", **_NO_COPIES_SKIPPED},
    ),
    "less-rr": Method(
        "each target example in turn takes the gradient nearest to its own",
        f"{_LESS}; round-robin as in arXiv 2602.14696",
        {"form": "less", "selector": "round-robin", **_NO_COPIES_SKIPPED},
    ),
    "match": Method(
        "each step takes the gradient that turns the sum of those taken most towards the target's mean",
        "g2is; see docs/log.md",
        {"form": "momentum-free", "selector": "match"},
    ),
    "rds+": Method(
        "each target example in turn takes the nearest hidden state",
        _RDS,
        {"representation": "hidden", "selector": "round-robin", **_NO_COPIES_SKIPPED},
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
    """The function that a line of a registry, "module:function", names."""
    module, _, function = place.partition(":")
    return getattr(import_module(module), function)


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
