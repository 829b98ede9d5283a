"""When a node may be asked for work: its weekly windows, by the wall clock of their zones.

Called by `admit` (may a task start now?) and by whoever tells people why nothing starts. Pure: the
instant is passed in.

A window is a statement about the wall clock, so an instant is judged by what the clock on the wall
shows then. On the night when the clock goes forward a window that begins in the skipped hour thus
opens at the first instant after it; when the clock goes back, an hour that comes twice is open
twice, or closed twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from itertools import count, takewhile
from zoneinfo import ZoneInfo

from adit.model.dicom_node import WEEKDAYS, Window

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_HORIZON = timedelta(days=21)  # a weekly pattern has shown all it has by then, DST nights included


def is_open(windows: Sequence[Window], at: datetime) -> bool:
    """Whether a task may start at the aware instant `at`; always, if there are no windows."""
    return not windows or any(_holds(window, at) for window in windows)


def next_open(windows: Sequence[Window], at: datetime) -> datetime:
    """The first instant, not before `at`, at which a task may start; `at` itself if it may now."""
    if is_open(windows, at):
        return at
    return next(instant for instant in _boundaries(windows, at) if is_open(windows, instant))


def next_close(windows: Sequence[Window], at: datetime) -> datetime | None:
    """The first instant, not before `at`, at which no task may start; None if there is none."""
    if not is_open(windows, at):
        return at
    if not windows:
        return None
    soon = takewhile(lambda instant: instant - at < _HORIZON, _boundaries(windows, at))
    return next((instant for instant in soon if not is_open(windows, instant)), None)


def _holds(window: Window, at: datetime) -> bool:
    local = at.astimezone(ZoneInfo(window.time_zone))
    minute = local.hour * 60 + local.minute
    begin, end = _minute(window.from_), _minute(window.to)
    begins_today = WEEKDAYS[local.weekday()] in window.days
    began_yesterday = WEEKDAYS[local.weekday() - 1] in window.days
    if begin < end:
        return begins_today and begin <= minute < end
    return (begins_today and minute >= begin) or (began_yesterday and minute < end)


def _minute(time_of_day: str) -> int:
    """Minutes since midnight; 24:00 is 1440."""
    hours, minutes = time_of_day.split(":")
    return int(hours) * 60 + int(minutes)


def _boundaries(windows: Sequence[Window], start: datetime) -> Iterator[datetime]:
    """Every instant from `start` on at which a window may open or close, in order, without end."""
    for day in count():
        first = start.astimezone(UTC) + day * _DAY
        instants = {instant for window in windows for instant in _boundaries_of(window, first)}
        yield from sorted(instant for instant in instants if first <= instant < first + _DAY)


def _boundaries_of(window: Window, first: datetime) -> Iterator[datetime]:
    """The instants around the day after `first` (UTC) at which the window's clock passes its ends, or jumps."""
    zone = ZoneInfo(window.time_zone)
    for day in range(-1, 3):
        date = (first.astimezone(zone) + day * _DAY).date()
        for end in (_minute(window.from_), _minute(window.to) % 1440, 0):
            wall = datetime.combine(date, time(end // 60, end % 60), zone)
            for fold in (0, 1):
                yield wall.replace(fold=fold).astimezone(UTC)
    yield from _jump(zone, first)


def _jump(zone: ZoneInfo, first: datetime) -> Iterator[datetime]:
    """The instant in the day after `first` at which the zone's offset changes, if it does; to the second."""
    before, after = first, first + _DAY
    if before.astimezone(zone).utcoffset() == after.astimezone(zone).utcoffset():
        return
    offset = before.astimezone(zone).utcoffset()
    while after - before > _SECOND:
        middle = before + (after - before) // 2
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    yield after.replace(microsecond=0)
