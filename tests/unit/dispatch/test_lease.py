"""Leases: silence is measured by change, on the dispatcher's own clock; no clock jump can fake it."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from adit.dispatch.lease import Leases
from adit.ledger.records import RunningAttempt
from tests.unit.dispatch.nouns import NOW


def running(attempt_id: int, heartbeat_at: datetime | None) -> RunningAttempt:
    return RunningAttempt(
        attempt_id=attempt_id,
        token=UUID(int=attempt_id),
        number=1,
        task_id=attempt_id,
        job_id=UUID(int=1),
        namespace="default",
        claimed_at=NOW,
        begun_at=heartbeat_at,
        heartbeat_at=heartbeat_at,
        reference=None,
        stop_requested_at=None,
        deadline=None,
        terminate=False,
    )


def test_a_heartbeat_that_changes_renews_the_lease_whatever_time_it_tells() -> None:
    leases = Leases(30)
    clocks = [NOW, NOW - timedelta(days=1), NOW + timedelta(days=365), NOW]
    for step, heartbeat_at in enumerate(clocks):
        assert leases.expired([running(1, heartbeat_at)], step * 29.0) == []


def test_a_heartbeat_that_stands_still_expires_after_the_lease() -> None:
    leases = Leases(30)
    silent = running(1, NOW)
    assert leases.expired([silent], 100.0) == []
    assert leases.expired([silent], 129.9) == []
    assert leases.expired([silent], 130.0) == [silent]


def test_an_attempt_that_never_begins_expires_too() -> None:
    leases = Leases(30)
    assert leases.expired([running(1, None)], 0.0) == []
    assert leases.expired([running(1, None)], 30.0) == [running(1, None)]


def test_an_attempt_that_has_not_begun_has_a_lease_of_its_own() -> None:
    leases = Leases(30, start_seconds=600)
    both = [running(1, None), running(2, NOW)]
    assert leases.expired(both, 0.0) == []
    assert leases.expired(both, 599.0) == [both[1]]
    assert leases.expired(both, 600.0) == both


def test_a_new_dispatcher_grants_one_more_lease() -> None:
    old = Leases(30)
    old.expired([running(1, NOW)], 0.0)
    assert Leases(30).expired([running(1, NOW)], 29.0) == []


def test_attempts_are_judged_one_by_one() -> None:
    leases = Leases(30)
    leases.expired([running(1, NOW)], 0.0)
    both = [running(1, NOW), running(2, NOW)]
    assert leases.expired(both, 30.0) == both[:1]
