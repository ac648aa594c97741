from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import g2is
from g2is.errors import ConfigError
from g2is.model.batches import Row
from g2is.representations.maker import Materials
from g2is.representations.own import Representation


def vectors(texts: Sequence[str]) -> np.ndarray:
    return np.array([[len(text), text.count("a"), 1] for text in texts], np.float64)


def test_rows_of_ones_own_are_stored_as_unit_rows_of_the_texts(
    materials: Callable[..., Materials], rows_of: Callable[[Sequence[str]], list[Row]]
) -> None:
    texts = ["banana", "x", "a cat"]
    done: list[int] = []
    maker = g2is.Representation("length", 3, vectors).maker(materials())
    arrays = maker.open()(rows_of(texts), done.append)
    expected = vectors(texts)
    np.testing.assert_allclose(arrays["norm"], np.linalg.norm(expected, axis=1), rtol=1e-6)
    np.testing.assert_allclose(arrays["rows"] * arrays["norm"][:, None], expected, rtol=2e-3)
    assert sum(done) == sum(len(ids) for ids, _ in rows_of(texts))
    assert maker.fingerprint == {"name": "length", "version": 3, "text.version": 1, "text.tokenizer": "t"}


@pytest.mark.parametrize(
    ("gives", "found"),
    [
        (lambda texts: vectors(texts)[:-1], "found 2 rows"),
        (lambda texts: vectors(texts)[0], r"found shape \(3,\) of float64"),
        (lambda texts: vectors(texts)[:, :0], r"found shape \(3, 0\) of float64"),
        (lambda texts: vectors(texts).astype(int), r"found shape \(3, 3\) of int64"),
        (lambda texts: vectors(texts).astype(complex), r"found shape \(3, 3\) of complex128"),
        (lambda texts: vectors(texts).tolist(), "found a list"),
        (lambda texts: None, "found a NoneType"),
    ],
)
def test_rows_of_another_shape_type_or_number_are_one_error(
    gives: Callable[[Sequence[str]], Any],
    found: str,
    materials: Callable[..., Materials],
    rows_of: Callable[[Sequence[str]], list[Row]],
) -> None:
    arrays_of = Representation("mine", 1, gives).maker(materials()).open()
    with pytest.raises(ConfigError, match=rf"representation mine: expected a NumPy array of 3 rows .*{found}"):
        arrays_of(rows_of(["a", "b", "c"]), lambda _: None)


@pytest.mark.parametrize("name", ["hidden", "gradient", "gradients", "warmup", "examples", "A", "../x", "", "-a", 3])
def test_a_name_that_is_taken_or_no_folder_s_is_refused(name: Any) -> None:
    with pytest.raises(ConfigError, match=r"expected a name of a-z, 0-9, _ and -"):
        Representation(name, 1, vectors)
