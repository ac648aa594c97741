"""What is told of a selection is of the selector that made it."""

import pytest

from g2is.methods import METHODS, described


@pytest.mark.parametrize("name", METHODS)
def test_a_named_method_is_described_by_its_own_line(name: str) -> None:
    method = METHODS[name]
    of = {"selector": "design", "representation": "gradient", **method.settings}
    assert described(name, of["selector"], of["representation"]) == (method.line, method.source)


def test_another_pair_is_described_by_its_selector_whatever_the_method_s_name_is() -> None:
    line, source = described("design", "spice", "gradient")
    assert line.startswith("the selector spice over gradient: ")
    assert "2601.23155" in source
    assert described("design", "design", "hidden")[0].startswith("the selector design over hidden: ")
    assert described("design", "own:longest", "gradient") == ("the selector own:longest over gradient: your own", "")
