"""A date as people write it: of birth, or of the study. Asked by `identifiers`."""

from __future__ import annotations

import re
from typing import Final

_MONTHS: Final = b"jan feb mar apr may jun jul aug sep oct nov dec".split()


def writings_of_date(value: bytes, *, short_years: bool = True) -> dict[bytes, tuple[bytes, ...]]:
    """By a part that several of them have in common; none for what is no date."""
    if not re.fullmatch(rb"\d{8}", value) or not 1 <= int(value[4:6]) <= 12:
        return {}
    year, month, day = value[:4], value[4:6], value[6:]
    name = _MONTHS[int(month) - 1]
    m, d = month.lstrip(b"0"), day.lstrip(b"0")
    ways: dict[bytes, set[bytes]] = {
        year: {value, *(between.join((year, month, day)) for between in (b"-", b"/", b"."))}
    }
    for y in (year, year[2:]) if short_years else (year,):
        for between in (b".", b"/", b"-", b" ", b""):
            part = year if y == year else (between or name) + y
            orders = {(number, name, y) for number in (day, d)}
            if between in (b".", b"/", b"-"):
                orders |= {(day, month, y), (d, m, y), (month, day, y), (m, d, y)}
            ways.setdefault(part, set()).update(between.join(order) for order in orders)
        for number in (day, d):
            part = year if y == year else b" " + y
            ways.setdefault(part, set()).update(name + b" " + number + comma + b" " + y for comma in (b"", b","))
    return {part: tuple(sorted(written)) for part, written in ways.items()}
