from g2is.machine.memory import available_memory


def test_the_machine_says_how_much_memory_is_available() -> None:
    assert 2**26 < available_memory() < 2**50
