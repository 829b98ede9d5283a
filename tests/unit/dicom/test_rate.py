"""A token bucket never lets more through than its rate allows, and never less."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adit.dicom.rate import TokenBucket


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@given(st.lists(st.tuples(st.floats(0.1, 100), st.floats(0, 5)), min_size=1, max_size=30))
def test_who_waits_as_told_stays_within_the_rate(steps: list[tuple[float, float]]) -> None:
    clock = Clock()
    bucket = TokenBucket(rate=10, burst=20, clock=clock)
    taken = 0.0
    for units, idle in steps:
        clock.now += idle
        clock.now += bucket.take(units)
        taken += units
        assert taken <= 20 + 10 * clock.now + 1e-6


def test_a_burst_passes_at_once_and_the_rest_at_the_rate() -> None:
    clock = Clock()
    bucket = TokenBucket(rate=5, burst=5, clock=clock)
    assert [bucket.take(1) for _ in range(5)] == [0] * 5
    assert bucket.take(1) == pytest.approx(0.2)
    clock.now = 10.0
    assert bucket.take(5) == 0


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (1, 0)])
def test_a_rate_of_nothing_is_refused(rate: float, burst: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        TokenBucket(rate, burst, Clock())
