"""What differs between what a folder was made with and what is asked for, and what to do about it."""

import pytest

from g2is.errors import FingerprintError
from g2is.store.made_with import check_same


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        ({"warmup.draw_version": "1"}, "Another version of g2is made it"),
        ({"examples.layout": "x"}, "Another version of g2is made it"),  # made before there was a version
        ({"warmup.adapter": "abc"}, "Go back to these settings, or name another."),
        ({"warmup.draw_version": "2", "warmup.epochs": "3"}, "Go back to these settings, or name another."),
    ],
)
def test_another_version_is_told_from_other_settings(stored: dict[str, str], told: str) -> None:
    asked = {"warmup.draw_version": "2", "warmup.epochs": "4"}
    with pytest.raises(FingerprintError, match=told) as error:
        check_same(stored, asked, "x: expected a store", "name another")
    assert "warmup.epochs: there " in str(error.value)
