"""Months of instance rows as tables of their own, so that retention can drop them whole.

Made when a month's first job is applied; dropped by `retention`. What finds no month's table lies in the
default partition, where it works as well and is only slower to drop.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Final

from sqlalchemy import Connection, Engine, text

from adit.ledger.connection import LedgerError, LedgerUnavailable, transaction

_NAME: Final = re.compile(r"^instance_([0-9]{4})_([0-9]{2})$")
_LIST: Final = text(
    "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'instance'::regclass ORDER BY 1"
)
_LOCK_NOT_HAD: Final = ("55P03", "40P01")  # lock_not_available, deadlock_detected
_IN_THE_WAY: Final = ("23505", "23514", "42P07")
"""Another process makes it in this moment (unique_violation, duplicate_table), or the default partition holds
rows of this month (check_violation)."""


def prepare_month(source: Engine, day: date) -> None:
    """Make the partition of `day`'s month unless it is there.

    Needs short exclusive locks; when they cannot be had at once, or when rows of this month already lie
    in the default partition, nothing is made and nothing is lost.
    """
    first, after = month_of(day)
    name = f"instance_{first:%Y_%m}"
    with transaction(source) as connection:
        if name in connection.execute(_LIST).scalars():
            return
    with _best_effort(), transaction(source) as connection:
        _wait_shortly(connection)
        connection.execute(
            text(f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF instance FOR VALUES FROM ('{first}') TO ('{after}')")
        )


def drop_month(source: Engine, first: date) -> bool:
    """Drop one month's rows at once. False when its locks could not be had shortly; then try again later."""
    with _best_effort(), transaction(source) as connection:
        _wait_shortly(connection)
        connection.execute(text(f"DROP TABLE IF EXISTS instance_{first:%Y_%m}"))
        return True
    return False


def months(connection: Connection) -> list[date]:
    """The first days of the months that have a partition, oldest first."""
    found = (_NAME.match(name) for name in connection.execute(_LIST).scalars())
    return sorted(date(int(match[1]), int(match[2]), 1) for match in found if match)


def month_of(day: date) -> tuple[date, date]:
    """The first day of `day`'s month and of the next one."""
    first = day.replace(day=1)
    return first, (first + timedelta(days=31)).replace(day=1)


def _wait_shortly(connection: Connection) -> None:
    # Who waits for an exclusive lock makes all others wait behind it.
    connection.execute(text("SELECT set_config('lock_timeout', '1s', true)"))


@contextmanager
def _best_effort() -> Iterator[None]:
    try:
        yield
    except LedgerUnavailable as error:
        if error.sqlstate not in _LOCK_NOT_HAD:
            raise
    except LedgerError as error:
        if error.sqlstate not in _IN_THE_WAY:
            raise
