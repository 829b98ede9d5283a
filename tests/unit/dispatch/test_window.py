"""Weekly windows by the wall clock: ordinary days, midnight, and both nights on which the clock jumps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adit.dispatch.window import is_open, next_close, next_open
from adit.model.dicom_node import WEEKDAYS, Window

BERLIN = "Europe/Berlin"
NEW_YORK = "America/New_York"


def window(begin: str, end: str, zone: str = BERLIN, days: Any = WEEKDAYS) -> Window:
    return Window.model_validate({"days": days, "from": begin, "to": end, "timeZone": zone})


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_no_windows_is_always_open() -> None:
    at = utc("2026-03-02T12:00")
    assert is_open((), at)
    assert next_open((), at) == at
    assert next_close((), at) is None


@pytest.mark.parametrize(
    ("begin", "end", "days", "at", "expected"),
    [
        # Berlin is UTC+1 in winter; 2026-03-02 is a Monday.
        ("08:00", "17:00", ("Mon",), "2026-03-02T06:59:59", False),
        ("08:00", "17:00", ("Mon",), "2026-03-02T07:00:00", True),
        ("08:00", "17:00", ("Mon",), "2026-03-02T15:59:59", True),
        ("08:00", "17:00", ("Mon",), "2026-03-02T16:00:00", False),
        ("08:00", "17:00", ("Tue",), "2026-03-02T07:00:00", False),
        # Over midnight: the day names the evening on which it begins.
        ("20:00", "06:00", ("Mon",), "2026-03-02T19:00:00", True),
        ("20:00", "06:00", ("Mon",), "2026-03-03T04:59:59", True),
        ("20:00", "06:00", ("Mon",), "2026-03-03T05:00:00", False),
        ("20:00", "06:00", ("Mon",), "2026-03-02T04:00:00", False),
        ("20:00", "06:00", ("Sun",), "2026-03-02T04:00:00", True),
        # To the very end of the day, and not into the next.
        ("20:00", "24:00", ("Mon",), "2026-03-02T22:59:59", True),
        ("20:00", "24:00", ("Mon",), "2026-03-02T23:00:00", False),
        ("20:00", "00:00", ("Mon",), "2026-03-02T22:59:59", True),
        ("20:00", "00:00", ("Mon",), "2026-03-02T23:00:00", False),
        ("00:00", "24:00", ("Mon",), "2026-03-01T23:00:00", True),
    ],
)
def test_ordinary_days(begin: str, end: str, days: tuple[str, ...], at: str, expected: bool) -> None:
    assert is_open((window(begin, end, days=days),), utc(at)) is expected


@pytest.mark.parametrize(
    ("zone", "begin", "end", "after", "opens", "closes"),
    [
        # Europe/Berlin 2026-03-29: 02:00 CET becomes 03:00 CEST at 01:00 UTC. The skipped hour is 02:00-03:00.
        (BERLIN, "02:30", "04:00", "2026-03-28T12:00", "2026-03-29T01:00", "2026-03-29T02:00"),
        (BERLIN, "01:00", "02:30", "2026-03-28T12:00", "2026-03-29T00:00", "2026-03-29T01:00"),
        (BERLIN, "01:30", "03:30", "2026-03-28T12:00", "2026-03-29T00:30", "2026-03-29T01:30"),
        (BERLIN, "22:00", "06:00", "2026-03-28T12:00", "2026-03-28T21:00", "2026-03-29T04:00"),
        # A window wholly inside the skipped hour does not happen that night.
        (BERLIN, "02:15", "02:45", "2026-03-28T12:00", "2026-03-30T00:15", "2026-03-30T00:45"),
        # Europe/Berlin 2026-10-25: 03:00 CEST becomes 02:00 CET at 01:00 UTC. 02:00-03:00 comes twice.
        (BERLIN, "02:00", "03:00", "2026-10-24T12:00", "2026-10-25T00:00", "2026-10-25T02:00"),
        (BERLIN, "01:00", "03:00", "2026-10-24T12:00", "2026-10-24T23:00", "2026-10-25T02:00"),
        (BERLIN, "22:00", "06:00", "2026-10-24T12:00", "2026-10-24T20:00", "2026-10-25T05:00"),
        # America/New_York 2026-03-08: 02:00 EST becomes 03:00 EDT at 07:00 UTC.
        (NEW_YORK, "02:30", "04:00", "2026-03-07T18:00", "2026-03-08T07:00", "2026-03-08T08:00"),
        (NEW_YORK, "01:00", "02:30", "2026-03-07T18:00", "2026-03-08T06:00", "2026-03-08T07:00"),
        (NEW_YORK, "20:00", "06:00", "2026-03-07T18:00", "2026-03-08T01:00", "2026-03-08T10:00"),
        # America/New_York 2026-11-01: 02:00 EDT becomes 01:00 EST at 06:00 UTC. 01:00-02:00 comes twice.
        (NEW_YORK, "01:00", "02:00", "2026-10-31T18:00", "2026-11-01T05:00", "2026-11-01T07:00"),
        (NEW_YORK, "20:00", "06:00", "2026-10-31T18:00", "2026-11-01T00:00", "2026-11-01T11:00"),
    ],
)
def test_nights_on_which_the_clock_jumps(zone: str, begin: str, end: str, after: str, opens: str, closes: str) -> None:
    windows = (window(begin, end, zone),)
    assert next_open(windows, utc(after)) == utc(opens)
    assert next_close(windows, utc(opens)) == utc(closes)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-10-25T00:15", False),  # 02:15, the first time
        ("2026-10-25T00:30", True),  # 02:30, the first time
        ("2026-10-25T01:15", False),  # 02:15 again
        ("2026-10-25T01:30", True),  # 02:30 again
        ("2026-10-25T02:00", False),
    ],
)
def test_half_of_a_repeated_hour_is_open_both_times(at: str, expected: bool) -> None:
    assert is_open((window("02:30", "03:00"),), utc(at)) is expected


def test_a_window_in_a_repeated_hour_opens_and_closes_twice() -> None:
    windows = (window("02:30", "02:45"),)
    assert next_open(windows, utc("2026-10-24T12:00")) == utc("2026-10-25T00:30")
    assert next_close(windows, utc("2026-10-25T00:30")) == utc("2026-10-25T00:45")
    assert next_open(windows, utc("2026-10-25T00:45")) == utc("2026-10-25T01:30")
    assert next_close(windows, utc("2026-10-25T01:30")) == utc("2026-10-25T01:45")


def test_a_weekly_window_that_falls_into_the_skipped_hour_opens_a_week_later() -> None:
    windows = (window("02:15", "02:45", days=("Sun",)),)
    assert next_open(windows, utc("2026-03-28T12:00")) == utc("2026-04-05T00:15")


def test_windows_that_together_leave_no_gap_never_close() -> None:
    windows = (window("00:00", "12:00"), window("12:00", "24:00"))
    assert next_close(windows, utc("2026-03-28T12:00")) is None


def test_what_is_closed_has_closed_already() -> None:
    at = utc("2026-03-02T03:00")
    assert next_close((window("08:00", "17:00"),), at) == at


def test_an_instant_may_be_given_in_any_zone() -> None:
    windows = (window("20:00", "06:00"),)
    at = datetime.fromisoformat("2026-03-02T22:00+09:00")
    assert next_open(windows, at) == utc("2026-03-02T19:00")


minutes = st.integers(0, 24 * 60 - 1).map(lambda minute: f"{minute // 60:02}:{minute % 60:02}")
ends = st.one_of(minutes, st.just("24:00"))
some_days = st.lists(st.sampled_from(WEEKDAYS), min_size=1, max_size=7, unique=True)
zones = st.sampled_from((BERLIN, NEW_YORK, "Etc/UTC", "Australia/Lord_Howe", "America/Havana", "Africa/Cairo"))
any_window = (
    st.tuples(minutes, ends, zones, some_days)
    .filter(lambda parts: parts[0] != parts[1])
    .map(lambda parts: window(parts[0], parts[1], parts[2], tuple(parts[3])))
)
# Around the days of 2026 on which one of these zones changes its clock.
around_jumps = st.builds(
    lambda day, minute: utc(day) + timedelta(minutes=minute),
    st.sampled_from(("2026-03-07", "2026-03-28", "2026-04-04", "2026-04-23", "2026-10-03", "2026-10-24", "2026-10-31")),
    st.integers(0, 2 * 24 * 60),
)


@settings(max_examples=30, deadline=None)
@given(windows=st.lists(any_window, min_size=1, max_size=3), at=around_jumps)
def test_the_next_opening_is_the_first_open_minute(windows: list[Window], at: datetime) -> None:
    """Every boundary is a whole minute, so looking at each minute one by one finds the same."""
    minute = at
    while not is_open(windows, minute) and minute - at < timedelta(days=2):
        minute += timedelta(minutes=1)
    found = next_open(windows, at)
    assert is_open(windows, found)
    assert found == minute or (found > minute and not is_open(windows, minute))


@settings(max_examples=30, deadline=None)
@given(windows=st.lists(any_window, min_size=1, max_size=3), at=around_jumps)
def test_the_next_closing_is_the_first_closed_minute(windows: list[Window], at: datetime) -> None:
    minute = at
    while is_open(windows, minute) and minute - at < timedelta(days=2):
        minute += timedelta(minutes=1)
    found = next_close(windows, at)
    if is_open(windows, minute):
        assert found is None or found > minute
    else:
        assert found == minute
