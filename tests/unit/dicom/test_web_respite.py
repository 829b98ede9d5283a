"""Retry-After as servers write it, and how long a busy server is left alone."""

from datetime import UTC, datetime

import pytest

from adit.dicom.dicomweb.respite import Respite, seconds_of

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("Tue, 24 Nov 2026 12:02:00 GMT", 120.0),
        ("Tue, 24 Nov 2026 12:02:00 -0000", 120.0),
        ("Tue, 24 Nov 2026 11:00:00 GMT", 0.0),
        ("9" * 5000, 999999999.0),
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("Tue, 99 Nov 2026 12:02:00 GMT", None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert seconds_of(header, NOW) == seconds


def test_at_once_is_believed_once() -> None:
    now = [0.0]
    respite = Respite(lambda: now[0])
    waits = []
    for _ in range(3):
        respite.grant(0.0)
        waits.append(respite.left())
        now[0] += respite.left()
    assert waits == [0, 1, 1]
    respite.end()
    respite.grant(0.0)
    assert respite.left() == 0


def test_the_longest_word_holds_and_silence_grows() -> None:
    now = [0.0]
    respite = Respite(lambda: now[0])
    assert respite.left() == 0
    respite.grant(10)
    respite.grant(2)
    assert respite.left() == 10
    now[0] = 20
    waits = []
    for _ in range(7):
        respite.grant(None)
        waits.append(respite.left())
        now[0] += respite.left()
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    respite.end()
    respite.grant(None)
    assert respite.left() == 1
