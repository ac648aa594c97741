import pytest

from g2is.machine.passive import passive


@pytest.mark.parametrize(
    ("environment", "added"),
    [
        ({}, {"OMP_WAIT_POLICY": "PASSIVE"}),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, {}),
        ({"GOMP_SPINCOUNT": "1000"}, {}),
        ({"OMP_NUM_THREADS": "2"}, {"OMP_WAIT_POLICY": "PASSIVE"}),
    ],
)
def test_threads_sleep_unless_the_user_says_otherwise(environment: dict[str, str], added: dict[str, str]) -> None:
    assert passive(environment) == added
