"""A sample is the same for the same choice, another one for another, and all of it where that is asked for."""

from tests.sample import WHOLE, sample_of

CASES = range(1000)


def test_the_same_choice_draws_the_same_sample() -> None:
    first = sample_of(CASES, 50, "7", "sweep")
    assert first == sample_of(CASES, 50, "7", "sweep") == sorted(first)
    assert len(set(first)) == 50
    assert first != sample_of(CASES, 50, "8", "sweep")
    assert first != sample_of(CASES, 50, "7", "another sweep")


def test_all_of_it_where_it_is_asked_for_or_small() -> None:
    assert sample_of(CASES, 50, WHOLE, "sweep") == list(CASES)
    assert sample_of(CASES[:50], 50, "7", "sweep") == list(CASES[:50])
