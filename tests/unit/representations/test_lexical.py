import math
import sys
from collections import Counter
from collections.abc import Callable, Sequence

import bm25s
import numpy as np
import pytest

from g2is.demo.skills import pool_rows, target_rows
from g2is.errors import ConfigError
from g2is.model.batches import Row
from g2is.representations.lexical import bm25_scores, lexical, term_lists, term_number, term_rows
from g2is.representations.maker import Materials


def plain_bm25(pool: Sequence[Sequence[str]], query: Sequence[str]) -> list[float]:
    """Lucene's BM25 with k1 1.5 and b 0.75, term by term."""
    mean_length = sum(map(len, pool)) / len(pool)
    scores = []
    for document in pool:
        counts, score = Counter(document), 0.0
        for term in query:
            num_with = sum(term in other for other in pool)
            idf = math.log(1 + (len(pool) - num_with + 0.5) / (num_with + 0.5))
            score += idf * counts[term] / (counts[term] + 1.5 * (0.25 + 0.75 * len(document) / mean_length))
        scores.append(score)
    return scores


@pytest.fixture(scope="module")
def pool_texts() -> list[str]:
    texts = [" ".join(message["content"] for message in row["messages"]) for row in pool_rows(40)]
    return [*texts, "", "the and of", texts[0], "sorting sorting sorting letters"]


@pytest.fixture(scope="module")
def target_texts() -> list[str]:
    texts = [" ".join(message["content"] for message in row["messages"]) for row in target_rows(4)]
    return [*texts, "sort sort letters", "nothing of this stands there: xylophone", ""]


def test_scores_are_those_of_plain_bm25(pool_texts: list[str], target_texts: list[str]) -> None:
    pool, target = term_lists(pool_texts), term_lists(target_texts)
    found = bm25_scores(term_rows(pool, 128), term_rows(target, 128))
    assert found.dtype == np.float32
    expected = np.array([plain_bm25(pool, query) for query in target]).T
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert (expected > 0).any(0).tolist() == [True] * (len(target) - 2) + [False] * 2


def test_scores_are_those_of_bm25s_on_the_raw_text(pool_texts: list[str], target_texts: list[str]) -> None:
    found = bm25_scores(term_rows(term_lists(pool_texts), 128), term_rows(term_lists(target_texts), 128))
    index = bm25s.BM25(method="lucene", k1=1.5, b=0.75)
    index.index(bm25s.tokenize(pool_texts, stopwords="en", show_progress=False), show_progress=False)
    for column, text in enumerate(target_texts):
        (query,) = bm25s.tokenize([text], stopwords="en", return_ids=False, show_progress=False)
        expected = index.get_scores(query) if query else np.zeros(len(pool_texts))
        np.testing.assert_allclose(found[:, column], expected, rtol=1e-5, atol=1e-6)


def test_a_pool_or_target_without_a_term_scores_nothing() -> None:
    empty, some = np.zeros((2, 4), np.int32), np.full((3, 4), 7, np.int32)
    assert bm25_scores(empty, some).tolist() == [[0] * 3] * 2
    assert bm25_scores(some, empty).tolist() == [[0] * 2] * 3


def test_terms_are_lower_case_words_without_stop_words_in_order_and_as_often_as_they_stand() -> None:
    assert term_lists(["The CAT sat; a cat in 12 hats, x", ""]) == [["cat", "sat", "cat", "12", "hats"], []]


def test_a_term_has_the_same_number_everywhere() -> None:
    kept = {"cat": -1156412566, "größe": 1489565344, "12": 1871871335}  # in every store there is
    assert {term: term_number(term) for term in kept} == kept
    assert all(-(2**31) <= term_number(str(i)) < 2**31 and term_number(str(i)) for i in range(1000))


def test_rows_have_a_fixed_width_and_zeros_for_no_term() -> None:
    rows = term_rows([["cat", "sat", "cat"], [], ["a1", "b2", "c3", "d4", "e5"]], 4)
    cat, sat = term_number("cat"), term_number("sat")
    assert rows.dtype == np.int32
    assert rows[0].tolist() == [cat, sat, cat, 0]
    assert rows[1].tolist() == [0] * 4
    assert rows[2].tolist() == [term_number(term) for term in ("a1", "b2", "c3", "d4")]


def test_the_maker_stores_terms_of_the_text_and_says_once_that_some_were_too_many(
    materials: Callable[..., Materials], rows_of: Callable[[Sequence[str]], list[Row]]
) -> None:
    given = materials(max_terms=3)
    arrays_of = lexical(given).open()
    done: list[int] = []
    arrays = arrays_of(rows_of(["one cat sat here", "a cat"]), done.append)
    assert list(arrays) == ["terms"]
    assert arrays["terms"].tolist() == [[term_number(t) for t in ("one", "cat", "sat")], [term_number("cat"), 0, 0]]
    arrays_of(rows_of(["one two three four"]), done.append)
    assert len(given.reporter.notices) == 1  # type: ignore[attr-defined]
    assert "more than 3 terms" in given.reporter.notices[0]  # type: ignore[attr-defined]
    assert len(done) == 2


def test_the_fingerprint_holds_what_decides_the_terms_of_a_row(materials: Callable[..., Materials]) -> None:
    first, other = (dict(lexical(materials(max_terms=width)).fingerprint) for width in (8, 9))
    assert sorted(first) == [
        *("lexical.max_terms", "lexical.stop_words", "lexical.version", "text.tokenizer", "text.version")
    ]
    assert {key for key in first if first[key] != other[key]} == {"lexical.max_terms"}


def test_a_missing_package_is_one_error_that_names_the_extra(
    materials: Callable[..., Materials], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bm25s", None)
    with pytest.raises(ConfigError, match=r"package bm25s, .*pip install 'g2is\[lexical\]'"):
        lexical(materials())
