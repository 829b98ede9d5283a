"""Shifted dates: intervals stay, forms stay, and what is no date is not guessed."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adit.deid.dates import capped_age, capped_number, shifted


@pytest.mark.parametrize(
    ("text", "vr", "days", "expected"),
    [
        ("20240301", "DA", -1, "20240229"),
        ("20240101", "DA", -1, "20231231"),
        ("2024.03.01", "DA", -1, "2024.02.29"),
        ("20240101-20240301", "DA", -1, "20231231-20240229"),
        ("20240101-", "DA", -1, "20231231-"),
        ("-20240301", "DA", -1, "-20240229"),
        ("20240101\\20240301 ", "DA", -1, "20231231\\20240229"),
        ("", "DA", -1, ""),
        ("202401", "DT", -1, "202312"),
        ("2024", "DT", -1, "2023"),
        ("20240301123015.250000+0100", "DT", -1, "20240229123015.250000+0100"),
        ("20240301123015-0500", "DT", -1, "20240229123015-0500"),
        ("20240301-20240302", "DT", -1, "20240229-20240301"),
        ("20240301120000-0500-20240302", "DT", -1, "20240229120000-0500-20240301"),
        ("2023-2024", "DT", -1, "2022-2023"),
        ("2023-0500-2024-0500", "DT", -1, "2022-0500-2023-0500"),
        ("202301-2024", "DT", -1, "202212-2023"),
        ("2023-20240301", "DT", -1, "2022-20240229"),
        ("2023-2024", "DA", -1, "2022-2023"),
        ("2023-1400", "DT", -1, "2022-1400"),  # an offset from UTC, as there is none beyond 14 hours
        ("123015.25", "TM", -1, "123015.25"),
        ("12:30:15", "TM", -1, "12:30:15"),
        ("1230-1300", "TM", -1, "1230-1300"),
        ("20241301", "DA", -1, None),
        ("20240230", "DA", -1, None),
        ("Doe^John", "DA", -1, None),
        ("20240101\\Doe", "DA", -1, None),
        ("Doe", "TM", -1, None),
        ("00010101", "DA", -400, None),
        ("2024 Doe", "DT", -1, None),
        (
            "20240301120000.123456+0100-20240302120000.123456+0100",
            "DT",
            -1,
            "20240229120000.123456+0100-20240301120000.123456+0100",
        ),
    ],
)
def test_values_keep_their_form(text: str, vr: str, days: int, expected: str | None) -> None:
    assert shifted(text, vr, days) == expected


def test_a_value_of_hyphens_alone_is_none_at_once() -> None:
    assert shifted("20240101-" * 1_000_000, "DT", -1) is None


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("95", "a", "90"),
        ("89", "a", "89"),
        ("9.5e1 ", "a", "90"),
        ("1140", "mo", "1080"),
        ("600", "mo", "600"),
        ("34698", "d", "32872"),
        ("95 years", "a", None),
        ("45\\101", "a", "45\\90"),
    ],
)
def test_ages_as_numbers(text: str, unit: str, expected: str | None) -> None:
    assert capped_number(text, unit) == expected


@given(st.dates(date(1900, 1, 1)), st.dates(date(1900, 1, 1)), st.integers(-3650, -1))
def test_intervals_stay(one: date, other: date, days: int) -> None:
    moved = [shifted(f"{each:%Y%m%d}", "DA", days) for each in (one, other)]
    assert all(each is not None for each in moved)
    first, second = (date(int(each[:4]), int(each[4:6]), int(each[6:])) for each in moved if each is not None)
    assert second - first == other - one
    assert first == one + timedelta(days=days)


@pytest.mark.parametrize(
    ("age", "expected"),
    [
        ("089Y", "089Y"),
        ("090Y", "090Y"),
        ("104Y", "090Y"),
        ("999M", "999M"),
        ("", ""),
        ("ninety", None),
        ("045Y\\101Y", "045Y\\090Y"),
    ],
)
def test_ages_over_89_are_told_as_90(age: str, expected: str | None) -> None:
    assert capped_age(age) == expected
