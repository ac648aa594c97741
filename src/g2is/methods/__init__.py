"""The grid of methods: a method is a representation of the examples × a selector over it (method.md).

Selectors and representations are declared in their own files; here stands where. A new selector is one file in
`selection/selectors/` and one line in `SELECTORS`, a new representation one file in `representations/` and one line in
`REPRESENTATIONS`; what each declares says `kinds.py`. A name for a pair of the two, with its settings, is an entry of
`named.py`. The configuration is composed of what they declare: their files import neither it nor torch.
"""

import difflib
from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

from g2is.methods.kinds import CandidateSettings as CandidateSettings
from g2is.methods.kinds import CopySettings as CopySettings
from g2is.methods.kinds import Material as Material
from g2is.methods.kinds import NoSettings as NoSettings
from g2is.methods.kinds import OpposedSettings as OpposedSettings
from g2is.methods.kinds import Part as Part
from g2is.methods.kinds import RepresentationKind as RepresentationKind
from g2is.methods.kinds import Section as Section
from g2is.methods.kinds import SelectorKind as SelectorKind
from g2is.methods.named import ALWAYS as ALWAYS
from g2is.methods.named import COMPARED as COMPARED
from g2is.methods.named import FULL as FULL
from g2is.methods.named import FULL_CUT as FULL_CUT
from g2is.methods.named import METHODS as METHODS
from g2is.methods.named import RANDOM as RANDOM
from g2is.methods.named import UNTUNED as UNTUNED
from g2is.methods.named import Method as Method

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


def described(method: str, selector: str, representation: str) -> tuple[str, str]:
    """What a selection is by, and its source: the named method's, or the selector's where the pair is another."""
    named = METHODS[method]
    pair = named.settings.get("selector", DEFAULT), named.settings.get("representation", GRADIENT)
    if pair == (selector, representation):
        return named.line, named.source
    kind = selector_kind(selector)
    return f"the selector {selector} over {representation}: {kind.line}", kind.source


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
