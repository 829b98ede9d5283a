"""Whose place goes to a newcomer where all are taken."""

from __future__ import annotations

from dataclasses import dataclass

from adit_receiver.admission import is_free, place_for


@dataclass(frozen=True)
class Taken:
    host: str
    silent_since: float | None


def test_the_longest_silent_of_the_address_that_has_most() -> None:
    taken = [Taken("a", 5.0), Taken("a", 3.0), Taken("a", None), Taken("b", 1.0)]
    assert place_for("c", taken, silent_before=10.0) == Taken("a", 3.0)
    assert place_for("b", taken, silent_before=10.0) == Taken("a", 3.0)


def test_nobody_loses_a_place_that_is_in_use() -> None:
    assert place_for("c", [Taken("a", None), Taken("a", 9.0)], silent_before=8.0) is None
    assert place_for("c", [Taken("a", None)] * 3 + [Taken("b", 1.0)], silent_before=8.0) is None


def test_nobody_takes_more_than_an_equal_share() -> None:
    taken = [Taken("a", 1.0)] * 3 + [Taken("b", 1.0)] * 2
    assert place_for("a", taken, silent_before=8.0) is None
    assert place_for("b", taken, silent_before=8.0) is None
    assert place_for("c", taken, silent_before=8.0) == Taken("a", 1.0)
    assert place_for("a", [Taken("a", 1.0)] * 9, silent_before=8.0) is None
    assert place_for("b", [Taken("a", 1.0)], silent_before=8.0) is None  # it would only change hands


def test_the_last_places_are_for_those_who_have_none() -> None:
    for mine, left in ((35, True), (36, False), (40, False)):
        assert is_free("a", [Taken("a", None)] * mine, 40) is left
    taken = [Taken("a", None)] * 36
    assert is_free("b", taken, 40)
    taken.append(Taken("b", None))
    assert not is_free("b", taken, 40)
    assert is_free("c", taken, 40)
    assert not is_free("c", [Taken("a", None)] * 40, 40)
    assert is_free("a", [Taken("a", None)], 2)  # of a few none is kept
