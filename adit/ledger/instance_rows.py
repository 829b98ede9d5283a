"""The row per instance as workers write it: in batches that may be repeated and reordered.

Called by `attempt_ledger`, through psycopg alone; `instances` reads and counts the same rows.

The rule of the upsert, which makes batches safe: a row never moves backwards (Verified does not become Stored
because an older record comes late), except by a record that carries a fault code. That is how an attempt says
that what was called stored or verified is not at the destination.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from adit.model.instance import InstanceRecord

FIELDS: Final = (
    "sop_instance_uid",
    "series_instance_uid",
    "sop_class_uid",
    "state",
    "transfer_syntax_uid",
    "size",
    "sha256",
    "location",
    "fault_code",
    "fault_message",
    "dimse_status",
    "sent_as",
    "treatment",
)
"""The columns that an InstanceRecord has, by the same names."""

UPSERT: Final = """
    INSERT INTO instance AS known (
        job_created_on, task_id, sop_instance_uid, series_instance_uid, sop_class_uid, state,
        expected_at, received_at, stored_at, verified_at,
        transfer_syntax_uid, size, sha256, location, fault_code, fault_message, dimse_status, sent_as, treatment
    )
    SELECT %(created_on)s, %(task_id)s, sop_instance_uid, series_instance_uid, sop_class_uid, state,
           now, CASE WHEN state >= 'Received' THEN now END, CASE WHEN state >= 'Stored' THEN now END,
           CASE WHEN state >= 'Verified' THEN now END,
           transfer_syntax_uid, size, sha256, location, fault_code, fault_message, dimse_status, sent_as, treatment
    FROM unnest(
        CAST(%(sop_instance_uid)s AS text[]), CAST(%(series_instance_uid)s AS text[]),
        CAST(%(sop_class_uid)s AS text[]),
        CAST(%(state)s AS instance_state[]), CAST(%(transfer_syntax_uid)s AS text[]), CAST(%(size)s AS bigint[]),
        CAST(%(sha256)s AS text[]), CAST(%(location)s AS text[]), CAST(%(fault_code)s AS text[]),
        CAST(%(fault_message)s AS text[]), CAST(%(dimse_status)s AS integer[]),
        CAST(%(sent_as)s AS text[]), CAST(%(treatment)s AS text[])
    ) AS record (
        sop_instance_uid, series_instance_uid, sop_class_uid, state, transfer_syntax_uid, size, sha256, location,
        fault_code, fault_message, dimse_status, sent_as, treatment
    ), (SELECT CAST(%(now)s AS timestamptz)) AS clock (now)
    ON CONFLICT ON CONSTRAINT instance_pkey DO UPDATE SET
        series_instance_uid = excluded.series_instance_uid,
        sop_class_uid = coalesce(excluded.sop_class_uid, known.sop_class_uid),
        state = excluded.state,
        received_at =
            CASE WHEN excluded.state >= 'Received' THEN coalesce(known.received_at, excluded.received_at) END,
        stored_at = CASE WHEN excluded.state >= 'Stored' THEN coalesce(known.stored_at, excluded.stored_at) END,
        verified_at =
            CASE WHEN excluded.state >= 'Verified' THEN coalesce(known.verified_at, excluded.verified_at) END,
        transfer_syntax_uid = coalesce(excluded.transfer_syntax_uid, known.transfer_syntax_uid),
        size = coalesce(excluded.size, known.size),
        sha256 = coalesce(excluded.sha256, known.sha256),
        location = coalesce(excluded.location, known.location),
        fault_code = excluded.fault_code,
        fault_message = excluded.fault_message,
        dimse_status = excluded.dimse_status,
        sent_as = coalesce(excluded.sent_as, known.sent_as),
        treatment = coalesce(excluded.treatment, known.treatment)
    WHERE excluded.state >= known.state OR excluded.fault_code IS NOT NULL
    """
"""For psycopg; with what `columns` makes, and task_id, created_on and now."""

READ: Final = (
    f"SELECT {', '.join(FIELDS)} FROM instance"  # noqa: S608 - all from above
    " WHERE job_created_on = %(created_on)s AND task_id = %(task_id)s ORDER BY sop_instance_uid"
)
"""For psycopg: all rows of a task, for `record`. The date only tells Postgres which partition to look into."""


def columns(records: Sequence[InstanceRecord]) -> dict[str, list[Any]]:
    """An array for each column."""
    return {name: [getattr(record, name) for record in records] for name in FIELDS}


def record(row: Sequence[Any]) -> InstanceRecord:
    """From a row with FIELDS."""
    return InstanceRecord(**dict(zip(FIELDS, row, strict=True)))


def rounds(records: Sequence[InstanceRecord]) -> list[list[InstanceRecord]]:
    """Each instance at most once a round, because a statement can write a row only once."""
    rounds: list[dict[str, InstanceRecord]] = []
    seen: Counter[str] = Counter()
    for record in records:
        times = seen[record.sop_instance_uid]
        if times == len(rounds):
            rounds.append({})
        rounds[times][record.sop_instance_uid] = record
        seen[record.sop_instance_uid] += 1
    # Sorted, so that two writers of the same rows cannot deadlock.
    return [[batch[uid] for uid in sorted(batch)] for batch in rounds]
