"""The one device that a process is to see of those that its parent sees."""

import pytest

from g2is.machine.visible import VISIBLE, num_devices, only


@pytest.mark.parametrize(
    ("sees", "number", "expected"),
    [
        (None, 2, "2"),
        ("", 0, "0"),
        ("4,5,7", 2, "7"),
        (" GPU-6b , GPU-7c", 1, "GPU-7c"),
        ("MIG-1a", 0, "MIG-1a"),
        ("4,5", 2, "2"),  # torch sees fewer than it was told; nobody asks for that
    ],
)
def test_it_is_named_as_the_parent_s_environment_names_it(sees: str | None, number: int, expected: str) -> None:
    assert only(number, {} if sees is None else {VISIBLE: sees}) == {VISIBLE: expected}


def test_parts_of_cards_are_counted_by_their_names_since_cuda_shows_the_first_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert num_devices({VISIBLE: "MIG-1a,MIG-1b, MIG-2a"}) == 3
    assert num_devices({VISIBLE: "4,5"}) == num_devices({}) == 1  # torch knows best which of these there are
