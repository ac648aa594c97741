"""BM25 over terms, by bm25s. A score depends on the whole pool; what is kept of an example is its terms.

A term is kept as a number, 4 bytes of its hash, so that rows need no vocabulary beside them: of 100,000 terms about one
pair shares its number.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from g2is.methods import RepresentationKind, Section
from g2is.representations.maker import ArraysOf, Maker, Materials, Scores, import_package

if TYPE_CHECKING:
    from g2is.model.batches import Row

VERSION = 1  # to be raised with every change of ours that changes terms
NO_TERM = 0  # no term; none is numbered so
K1, B = 1.5, 0.75
_PATTERN = r"(?u)\b\w\w+\b"  # bm25s's own, of lower-case text


class LexicalSettings(Section):
    """The terms that are kept."""

    max_terms: int = Field(
        1024, ge=1, description="terms of an example that BM25 counts, from its beginning; 4 bytes each on disk"
    )


def lexical(materials: Materials) -> Maker:
    """Terms of examples as text. Raises ConfigError where bm25s is not installed."""
    width = materials.settings.part(LexicalSettings).max_terms
    stop_words = hashlib.blake2b("\n".join(_package().stopwords.STOPWORDS_EN).encode(), digest_size=16).hexdigest()

    def open_tokenizer() -> ArraysOf:
        has_said = False

        def arrays_of(rows: "Sequence[Row]", progress: Callable[[int], None]) -> Mapping[str, np.ndarray]:
            nonlocal has_said
            terms = term_lists(materials.texts(rows))
            if not has_said and any(len(of_row) > width for of_row in terms):
                has_said = True
                materials.reporter.notice(
                    f"some examples have more than {width} terms: BM25 counts only these. Raise"
                    " representation.max_terms to count more"
                )
            progress(sum(len(ids) for ids, _ in rows))
            return {"terms": term_rows(terms, width)}

        return arrays_of

    fingerprint = {
        "lexical.version": VERSION,
        "lexical.stop_words": stop_words,
        "lexical.max_terms": width,
        **materials.text_fingerprint,
    }
    return Maker("lexical", "term", fingerprint, open_tokenizer, _scores)


def term_lists(texts: Sequence[str]) -> list[list[str]]:
    """The terms of each text, in order: lower-case words of two letters or more, without English stop words."""
    found: list[list[str]] = _package().tokenize(
        list(texts), lower=True, token_pattern=_PATTERN, stopwords="english", return_ids=False, show_progress=False
    )
    return found


def term_number(term: str) -> int:
    """A term as an int32 that is not NO_TERM, on any machine the same."""
    number = int.from_bytes(hashlib.blake2b(term.encode(), digest_size=4).digest(), "little", signed=True)
    return number if number != NO_TERM else 1


def term_rows(terms: Sequence[Sequence[str]], width: int) -> np.ndarray:
    """Each list's first `width` terms as numbers, in order, with repetitions, (R, width) int32 filled with NO_TERM."""
    numbers = {term: term_number(term) for term in {term for of_row in terms for term in of_row[:width]}}
    rows = np.full((len(terms), width), NO_TERM, np.int32)
    for row, of_row in enumerate(terms):
        kept = of_row[:width]
        rows[row, : len(kept)] = [numbers[term] for term in kept]
    return rows


def bm25_scores(pool: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Score every pool row for every target row: (N, w) and (M, w) int32 term rows to (N, M) float32.

    Lucene's variant, Σ_q ln(1 + (N − n_q + ½) / (n_q + ½)) · f_q / (f_q + k1·(1 − b + b·L/L̄)) over the target row's
    terms q, each as often as it stands there; k1 = 1.5, b = 0.75, lengths and frequencies those of the pool given.
    """
    scores = np.zeros((len(pool), len(target)), np.float32)
    vocabulary, numbers = np.unique(pool[pool != NO_TERM], return_inverse=True)
    if not len(vocabulary):
        return scores
    ends = (pool != NO_TERM).sum(1).cumsum()
    index = _package().BM25(k1=K1, b=B, method="lucene")
    index.index(
        ([row.tolist() for row in np.split(numbers, ends[:-1])], {int(term): i for i, term in enumerate(vocabulary)}),
        create_empty_token=False,
        show_progress=False,
    )
    for column, terms in enumerate(target):
        known = terms[np.isin(terms, vocabulary)]
        scores[:, column] = index.get_scores_from_ids(np.searchsorted(vocabulary, known))
    return scores


def _scores(pool: np.ndarray, targets: Sequence[np.ndarray]) -> Scores:
    found = bm25_scores(pool, np.concatenate(targets))
    ends = np.cumsum([len(target) for target in targets])
    usable = [np.any(target != NO_TERM, axis=1) for target in targets]
    return Scores(np.split(found, ends[:-1], axis=1), np.any(pool != NO_TERM, axis=1), usable, what="term")


def _package() -> Any:
    return import_package("bm25s", extra="lexical")


LEXICAL = RepresentationKind(
    line="the terms of the text that the model sees, scored by BM25",
    source="Robertson and Zaragoza, 2009",
    gives="scores",
    scored_by="BM25",
    settings=LexicalSettings,
    make=lexical,
)
