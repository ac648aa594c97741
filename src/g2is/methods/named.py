"""The named methods: each a cell of the grid, by the settings of `selection` that it stands for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# What every comparison has beside the methods asked for; full-cut is the full pool, stopped after as many optimizer
# steps as a selection gets.
UNTUNED, RANDOM, FULL, FULL_CUT = "untuned", "random", "full", "full-cut"
ALWAYS = (UNTUNED, RANDOM, FULL, FULL_CUT)
COMPARED = ("design", "match", "knn-kde", "less", "less-rr")  # by a comparison that names none


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
    "design-noise": Method(
        "the default, whose noise grows with the budget, so that a larger one stays near to the target",
        "g2is; see docs/log.md",
        {"form": "momentum-free", "selector": "design", "noise": "proportional"},
    ),
    "design-seeds": Method(
        "the default, over gradients of three warm-ups with seeds of their own, which take three times as long",
        "g2is; see docs/log.md",
        {"form": "momentum-free", "selector": "design", "warmup_seeds": 3},
    ),
    "design-rounds": Method(
        "the default in three rounds: before the second and third the target's gradients are taken anew, after a tuning"
        " on what was taken so far",
        "g2is; see docs/log.md",
        {"form": "momentum-free", "selector": "design", "rounds": 3},
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
