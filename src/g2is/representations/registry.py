"""The representations that g2is brings along, by the name that `representation.name` gives them."""

from collections.abc import Callable, Mapping

from g2is.representations.embedding import embedding
from g2is.representations.hidden import hidden
from g2is.representations.lexical import lexical
from g2is.representations.maker import Maker, Materials

BUILT_IN: Mapping[str, Callable[[Materials], Maker]] = {
    "hidden": hidden,
    "embedding": embedding,
    "lexical": lexical,
}
