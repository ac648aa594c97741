import numpy as np
import pytest

from g2is.examples.keys import content_key

IDS = np.array([1, 5, 300, 2], np.int32)
MASK = np.array([False, False, True, True])


def test_a_key_is_pinned_so_that_stores_stay_readable() -> None:
    assert content_key(IDS, MASK).hex() == "0afdef3078714a7d3dcdfdb7771868a0"


@pytest.mark.parametrize("ids", [IDS.astype(np.int64), IDS.astype(">i4"), np.repeat(IDS, 2)[::2]])
def test_the_same_content_in_another_array_has_the_same_key(ids: np.ndarray) -> None:
    assert content_key(ids, MASK.copy()) == content_key(IDS, MASK)


@pytest.mark.parametrize(
    ("ids", "mask"),
    [
        ([1, 5, 300, 3], [0, 0, 1, 1]),
        ([1, 5, 300, 2], [0, 1, 1, 1]),
        ([5, 1, 300, 2], [0, 0, 1, 1]),
        ([1, 5, 300, 2, 0], [0, 0, 1, 1, 0]),
        ([1, 5, 300], [0, 0, 1]),
    ],
)
def test_other_tokens_mask_or_length_have_another_key(ids: list[int], mask: list[int]) -> None:
    assert content_key(np.array(ids, np.int32), np.array(mask, bool)) != content_key(IDS, MASK)


def test_ids_and_mask_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(4,\) and \(3,\)"):
        content_key(IDS, MASK[:3])
