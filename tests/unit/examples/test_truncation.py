import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from g2is.examples.truncation import shorten


def cut(pattern: str, max_length: int, truncation: str = "prompt-start", keep_first: bool = True) -> tuple[str, str]:
    """Shorten tokens named 0, 1, 2 … whose `pattern` has a letter where they are learned; show what is kept."""
    mask = np.array([letter != "." for letter in pattern])
    ids, kept = shorten(np.arange(len(pattern)), mask, max_length, truncation, keep_first)  # type: ignore[arg-type]
    assert len(ids) == len(kept)
    return "".join("0123456789abcdefghij"[i] for i in ids), "".join("x" if learned else "." for learned in kept)


def test_an_example_that_fits_is_left_alone() -> None:
    assert cut("...xx.", 6) == ("012345", "...xx.")


def test_the_front_of_the_prompt_goes_first_and_bos_stays() -> None:
    assert cut(".....xx", 5) == ("03456", "...xx")


def test_without_bos_the_first_token_goes_too() -> None:
    assert cut(".....xx", 5, keep_first=False) == ("23456", "...xx")


def test_what_follows_the_last_answer_goes_before_the_prompt() -> None:
    assert cut("...xx...", 5) == ("01234", "...xx")


def test_answer_end_cuts_the_end() -> None:
    assert cut("...xxx", 5, "answer-end") == ("01234", "...xx")
    assert cut("......xx", 5, "answer-end") == ("01234", ".....")


def test_an_answer_that_is_too_long_keeps_one_token_of_context_and_its_beginning() -> None:
    assert cut("...xxxxxx", 5) == ("02345", "..xxx")
    assert cut("...xxxxxx", 5, keep_first=False) == ("23456", ".xxxx")


def test_bos_alone_can_be_the_context() -> None:
    assert cut(".xxxxxx", 4) == ("0123", ".xxx")


def test_an_earlier_answer_that_loses_its_beginning_is_not_learned() -> None:
    assert cut("..yyy..xx", 7) == ("0345678", ".....xx")


def test_an_earlier_answer_that_is_whole_but_has_no_context_is_not_learned() -> None:
    assert cut("..yyy..xx", 7, keep_first=False) == ("2345678", ".....xx")


def test_an_earlier_answer_with_some_context_is_learned() -> None:
    assert cut("...yy..xx", 8) == ("02345678", "..xx..xx")


@pytest.mark.parametrize("keep_first", [True, False])
@given(
    mask=st.lists(st.booleans(), min_size=1, max_size=40),
    max_length=st.integers(8, 20),
    truncation=st.sampled_from(["prompt-start", "answer-end"]),
)
def test_whatever_is_learned_was_learned_before_and_has_a_context(
    keep_first: bool, mask: list[bool], max_length: int, truncation: str
) -> None:
    before = np.array([False, *mask])
    ids, after = shorten(np.arange(len(before)), before, max_length, truncation, keep_first)  # type: ignore[arg-type]
    assert len(ids) <= max_length
    assert (np.diff(ids) > 0).all()
    assert not after[0]
    assert not (after & ~before[ids]).any()
    if truncation == "prompt-start" and before.any():
        assert after.any()
        assert not keep_first or ids[0] == 0
        # A run of learned tokens begins where one began before: no answer is learned from its middle.
        for position in np.flatnonzero(after & ~np.r_[False, after[:-1]]):
            assert not before[ids[position] - 1]
        # The last answer is whole if it fits beside the BOS and one token of context.
        last = np.flatnonzero(before)[-1]
        gaps = np.flatnonzero(~before[:last])
        if last - gaps[-1] <= max_length - 2:
            assert set(range(gaps[-1] + 1, last + 1)) <= set(ids[after].tolist())
