"""Shifts dates by whole days: days between a patient's examinations stay, and so do the times of day (PS3.5 6.2).

Called by `adit.deid.engine.values`. What is no date is an answer, not a guess.
"""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Final

_DATE: Final = re.compile(r"(\d{4})(?:(\d{2})(?:(\d{2}))?)?")
_OLD_DATE: Final = re.compile(r"(\d{4})\.(\d{2})\.(\d{2})")
_DATE_TIME: Final = re.compile(
    r"(\d{4}(?:\d{2}(?:\d{2})?)?)((?<=\d{8})\d{2}(?:\d{2}(?:\d{2}(?:\.\d{1,6})?)?)?)?([+-](?:0\d|1[0-4])[0-5]\d)?"
)
_TIME: Final = re.compile(r"\d{2}(:?\d{2}(:?\d{2}(\.\d{1,6})?)?)?")
_OLDEST_AGE: Final = 89
_A_YEAR: Final = {"a": 1, "mo": 12, "wk": 52.1775, "d": 365.25, "h": 8_766, "min": 525_960}  # in the units of UCUM
_LONGEST: Final = 54  # a range of two DT (PS3.5 6.2); each of its hyphens is tried


def shifted(text: str, vr: str, days: int) -> str | None:
    """Each of the values of a DA, DT or TM, ranges too, shifted; None when one of them is none. TM stays as it is.

    Of a partial date the first day that it may mean is shifted, and given as exactly as before.
    """
    values = [_of_value(value.strip(" \0"), vr, days) for value in text.split("\\")]
    return None if None in values else "\\".join(value for value in values if value is not None)


def capped_age(text: str) -> str | None:
    """The ages of an AS, those over 89 as 90 (45 CFR 164.514 (b)(2)(i)(C)); None when one of them is no age."""
    values = []
    for value in text.split("\\"):
        age = value.strip(" \0")
        if not age:
            values.append("")
        elif not re.fullmatch(r"\d{3}[DWMY]", age):
            return None
        else:
            years = int(age[:3]) / {"D": 365.25, "W": 52.18, "M": 12, "Y": 1}[age[3]]
            values.append("090Y" if years > _OLDEST_AGE else age)
    return "\\".join(values)


def capped_number(text: str, unit: str) -> str | None:
    """Likewise the ages of a DS, in this unit; None when one of them is no number."""
    values = []
    for value in text.split("\\"):
        if not re.fullmatch(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?\s*", value, re.ASCII):
            return None
        old = float(value) / _A_YEAR[unit] > _OLDEST_AGE
        values.append(f"{90 * _A_YEAR[unit]:.0f}" if old else value)
    return "\\".join(values)


def _of_value(value: str, vr: str, days: int) -> str | None:
    if not value:
        return ""
    if vr == "TM":
        return value if all(_TIME.fullmatch(part) for part in value.split("-", 1) if part) else None
    if vr == "DT":
        return _of_range(value, days)
    parts = value.split("-")
    moved = [_of_date(part, days) if part else "" for part in parts]
    return None if len(parts) > 2 or None in moved else "-".join(part for part in moved if part is not None)


def _of_date(value: str, days: int) -> str | None:
    old = _OLD_DATE.fullmatch(value)
    if old is not None:
        moved = _moved(f"{old[1]}{old[2]}{old[3]}", days)
        return None if moved is None else f"{moved[:4]}.{moved[4:6]}.{moved[6:]}"
    return _moved(value, days) if _DATE.fullmatch(value) else None


def _of_range(value: str, days: int) -> str | None:
    """A DT's hyphen may begin an offset from UTC as well as the end of a range."""
    if len(value) > _LONGEST:
        return None
    single = _date_time(value, days)
    if single is not None:
        return single
    for at in (index for index, letter in enumerate(value) if letter == "-"):
        first, last = value[:at], value[at + 1 :]
        moved = [_date_time(part, days) if part else "" for part in (first, last)]
        if None not in moved and any(moved):
            return f"{moved[0]}-{moved[1]}"
    return None


def _date_time(value: str, days: int) -> str | None:
    match = _DATE_TIME.fullmatch(value)
    if match is None:
        return None
    moved = _moved(match[1], days)
    return None if moved is None else f"{moved}{match[2] or ''}{match[3] or ''}"


def _moved(value: str, days: int) -> str | None:
    """YYYY, YYYYMM or YYYYMMDD, as exact as it was."""
    try:
        day = date(int(value[:4]), int(value[4:6] or 1), int(value[6:8] or 1)) + timedelta(days=days)
    except (ValueError, OverflowError):
        return None
    return f"{day.year:04}{day.month:02}{day.day:02}"[: len(value)]
