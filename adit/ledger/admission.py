"""What may be started is looked at, and what is started is claimed, in one transaction under one lock.

The lock (an advisory one, gone with the transaction) makes two dispatchers take turns, so that neither
overbooks a node; `SKIP LOCKED` keeps a claim from waiting for anyone who holds a task's row.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    FromClause,
    Row,
    Select,
    Text,
    bindparam,
    cast,
    exists,
    func,
    literal,
    or_,
    select,
    text,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import JSONB

from adit.ledger import instances
from adit.ledger.connection import transaction
from adit.ledger.events import told, write_events
from adit.ledger.job_documents import RECORD_COLUMNS, JobDocuments
from adit.ledger.node_findings import ask_for_probes, findings_of
from adit.ledger.records import AdmissionSnapshot, Candidate, Claim, Grant, JobRecord, NodeKey, NodeLoad
from adit.ledger.resources import all_nodes
from adit.ledger.tables import attempt, job, task
from adit.model.assignment import Assignment
from adit.model.deid_profile import DeidProfile
from adit.model.dicom_node import DicomNode
from adit.model.findings import Findings, last_resorts
from adit.model.outcome import FaultCode
from adit.model.state import TaskState
from adit.model.transfer_job import TransferJob
from adit.model.trial import Trial

DUE_COUNTED: Final = 500
"""Due tasks of a job are counted up to this, the highest parallelism there is."""
_LOCK: Final = 0x41444954_41444D49  # "ADITADMI"

_OTHER_PLACE: Final = "The destination is another place than it was: everything is sent anew."
_OTHER_FORM: Final = "Another job sent the study here in another form since the last attempt: everything is sent anew."
_ALIVE: Final = timedelta(minutes=10)
"""Who has not written for so long sends no more; and perhaps nobody settles it: `adit run` sees to its own job only."""
_OUTGROWN: Final = (FaultCode.OUT_OF_MEMORY, FaultCode.OUT_OF_DISK)

# The columns repeat what the assignment says, for counting budgets and for the worker's grants.
_INSERT: Final = text(
    """
    INSERT INTO attempt (
        id, task_id, job_created_on, number, token, assignment, namespace, source, destination,
        source_associations, source_queries_per_second, source_bytes_per_second,
        destination_associations, destination_queries_per_second, destination_bytes_per_second, claimed_at
    )
    SELECT (a->>'attempt_id')::bigint, (a->>'task_id')::bigint, (a->>'job_created_on')::date, (a->>'number')::integer,
           (a->>'token')::uuid, a, a->>'namespace', a#>>'{source,metadata,name}', a#>>'{destination,metadata,name}',
           (a#>>'{source_share,associations}')::integer,
           (a#>>'{source_share,queries_per_second}')::double precision,
           (a#>>'{source_share,bytes_per_second}')::bigint,
           (a#>>'{destination_share,associations}')::integer,
           (a#>>'{destination_share,queries_per_second}')::double precision,
           (a#>>'{destination_share,bytes_per_second}')::bigint,
           :now
    FROM jsonb_array_elements(CAST(:assignments AS jsonb)) AS a
    """
)


class Admission:
    """One look and the claims that follow from it. Used inside `Ledger.admission`, and only once."""

    def __init__(self, connection: Connection, documents: JobDocuments, now: datetime) -> None:
        self._connection = connection
        self._now = now
        rows = _open_jobs(connection, now)
        records = documents.records(connection, rows)
        running = {row.job_id: row for row in connection.execute(_RUNNING)}
        self._nodes = {resource.key: resource for resource in all_nodes(connection)}
        self._jobs = records
        treated = {job_id for job_id, record in records.items() if record.job.spec.deidentification is not None}
        self._profiles = documents.profiles(connection, treated) if treated else {}
        # Never an original in a copy's place: who cannot read the profile leaves the job to the version that can.
        startable = records.keys() - (treated - self._profiles.keys())
        self._kept_back = self._of_other_forms()
        owners: dict[str, int] = defaultdict(int)
        for row in running.values():
            owners[row.owner] += row.attempts
        self.snapshot: Final = AdmissionSnapshot(
            now=now,
            candidates=tuple(
                Candidate(
                    record=records[row.id],
                    due=due,
                    running=running[row.id].attempts if row.id in running else 0,
                    source=(row.namespace, row.source),
                    destination=(row.namespace, row.destination),
                )
                for row in rows
                if row.id in startable and (due := row.due - len(self._kept_back[row.id])) > 0
            ),
            nodes=_loads(connection, self._nodes),
            owner_running=dict(owners),
            total_running=sum(row.attempts for row in running.values()),
        )

    def claim(self, grants: Sequence[Grant], lease_seconds: int) -> list[Claim]:
        """Start one due task for each grant, oldest due first; they are committed with the admission.

        A grant yields no claim when its job has no more due task that nobody holds, was suspended or
        cancelled meanwhile, or names a node that is gone. Both nodes and the job's settings are frozen
        into the assignment; the profile is the one that was frozen into the job.
        """
        wanted: dict[UUID, list[Grant]] = defaultdict(list)
        for grant in grants:
            wanted[grant.job_id].append(grant)
        startable = (job.c.id.in_(wanted), job.c.cancel.is_(None), ~job.c.suspend, job.c.ended_at.is_(None))
        chosen: list[tuple[Row[Any], Grant, TransferJob]] = []
        forms: dict[tuple[str, str], Any] = {}  # of what is claimed now, by place and study
        for job_id in self._connection.execute(select(job.c.id).where(*startable)).scalars():
            record = self._jobs.get(job_id)
            if record is not None and self._has_parts(record):
                tasks = self._due_tasks(record, len(wanted[job_id]), forms)
                chosen += [(row, grant, record.job) for row, grant in zip(tasks, wanted[job_id], strict=False)]
        if not chosen:
            return []
        used = {key for _, _, resource in chosen for key in (_source(resource), _destination(resource))}
        findings = findings_of(self._connection, used)
        to_probe = ask_for_probes(self._connection, [self._nodes[key] for key in sorted(used)], self._now)
        announced = _announced(self._connection, [row.id for row, _, _ in chosen if row.attempts])
        assignments = []
        for attempt_id, choice in zip(self._attempt_ids(len(chosen)), chosen, strict=True):
            ends = [_source(choice[2]), _destination(choice[2])]
            known = [last_resorts(findings.get(key, Findings()), self._now) for key in ends]
            probes = tuple(key[1] for key in ends if key in to_probe)
            to_probe -= set(ends)  # one attempt is enough
            made = self._assignment(attempt_id, *choice, lease_seconds)
            roads = {"source_last": known[0], "destination_last": known[1], "to_probe": probes}
            assignments.append(made.model_copy(update={**roads, "announced": announced.get(made.task_id, 0)}))
        self._forget({row.id: (row.place, row.job_created_on) for row, _, _ in chosen}, assignments)
        self._write(assignments)
        sizes = _sizes(self._connection, [assigned.task_id for assigned in assignments])
        return [Claim(assigned, *sizes.get(assigned.task_id, ())) for assigned in assignments]

    def _has_parts(self, record: JobRecord) -> bool:
        """Its nodes, a folder where it asks for archives, and its profile if it names one."""
        resource = record.job
        treatable = resource.spec.deidentification is None or record.id in self._profiles
        destination = self._nodes.get(_destination(resource))
        if not treatable or destination is None or _source(resource) not in self._nodes:
            return False
        return destination.takes(resource.spec.destination.archive)

    def _of_other_forms(self) -> Mapping[UUID, set[int]]:
        """By job the due tasks whose study goes to the same peer in another form just now; each says what it waits for.

        There a proof is the presence of a UID: under it the one form would prove the other.
        """
        found: dict[UUID, set[int]] = defaultdict(set)
        waits_for: dict[int, str] = {}  # by task, in words; of several jobs always the same
        said: dict[int, str] = {}  # by task, what it said before
        for row in self._connection.execute(_same_studies(), {"now": self._now, "since": self._now - _ALIVE}):
            record = self._jobs.get(row.job_id)
            destination = None if record is None else self._nodes.get(_destination(record.job))
            if record is None or destination is None or _compares(destination) or destination.spec.place != row.place:
                continue
            sent = row.assignment
            form = [sent["pseudonym"], sent["profile"], sent["trial"], [row.namespace, row.source]]
            if form != self._form(record, row.pseudonym):
                found[row.job_id].add(row.id)
                told_of = row.namespace == record.job.metadata.namespace  # others' names are theirs
                whom = f"job {sent['job_name']}" if told_of else "a job of another namespace"
                waits = f"Waits for {whom}, which sends the study to the same peer in another form."
                waits_for[row.id] = min(waits, waits_for.get(row.id, waits))
                said[row.id] = row.message
        for task_id, waits in waits_for.items():
            if said[task_id] == waits:
                continue  # as at each look but the first
            free = select(task.c.id).where(task.c.id == task_id)
            untold = free.with_for_update(skip_locked=True).scalar_subquery()
            self._connection.execute(update(task).where(task.c.id == untold).values(message=waits))
        return found

    def _form(self, record: JobRecord, pseudonym: str | None) -> list[Any]:
        """What decides the content of what is sent of a study: two archives seldom hold one to the same byte."""
        profile, trial = self._profiles.get(record.id), record.job.spec.trial
        return [pseudonym, _document(profile), _document(trial), list(_source(record.job))]

    def _due_tasks(self, record: JobRecord, limit: int, forms: dict[tuple[str, str], Any]) -> Sequence[Row[Any]]:
        destination = self._nodes[_destination(record.job)]
        query = (
            select(task)
            .where(task.c.job_id == record.id, task.c.state == TaskState.PENDING, task.c.not_before <= self._now)
            .where(task.c.id.not_in(self._kept_back[record.id]))
            .order_by(task.c.not_before, task.c.id)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        rows = self._connection.execute(query).all()
        if _compares(destination):
            return rows
        in_turn = []
        for row in rows:
            form = self._form(record, row.pseudonym)
            if forms.setdefault((destination.spec.place, row.study_instance_uid), form) == form:
                in_turn.append(row)
        return in_turn

    def _attempt_ids(self, count: int) -> list[int]:
        statement = text("SELECT nextval(pg_get_serial_sequence('attempt', 'id')) FROM generate_series(1, :count)")
        return list(self._connection.execute(statement, {"count": count}).scalars())

    def _assignment(
        self, attempt_id: int, row: Row[Any], grant: Grant, resource: TransferJob, lease_seconds: int
    ) -> Assignment:
        return Assignment(
            attempt_id=attempt_id,
            token=uuid4(),
            number=row.attempts + 1,
            task_id=row.id,
            job_id=row.job_id,
            job_name=resource.metadata.name,
            namespace=resource.metadata.namespace,
            owner=resource.owner,
            job_created_on=row.job_created_on,
            study_instance_uid=row.study_instance_uid,
            patient_id=row.patient_id,
            series_instance_uids=None if row.series_instance_uids is None else tuple(row.series_instance_uids),
            profile=None if resource.spec.deidentification is None else self._profiles[row.job_id],
            pseudonym=row.pseudonym,
            trial=resource.spec.trial,
            direct=resource.spec.source.direct,
            source=self._nodes[_source(resource)],
            destination=self._nodes[_destination(resource)].archiving(resource.spec.destination.archive),
            source_share=grant.source_share,
            destination_share=grant.destination_share,
            deadline=self._jobs[row.job_id].deadline,
            lease_seconds=lease_seconds,
        )

    def _forget(self, known: Mapping[int, tuple[str | None, date]], assignments: Sequence[Assignment]) -> None:
        """A DicomNode that was edited may be another place now: what was stored at the first is not at the second.

        And what another job sent in its own form since may be there in place of ours.
        """
        events = []
        for each in assignments:
            place, created_on = known[each.task_id]
            if place is None or (place == each.destination.spec.place and not self._overtaken(each)):
                continue
            instances.forget(self._connection, each.task_id, created_on)
            moved = place != each.destination.spec.place
            code, message = ("OtherPlace", _OTHER_PLACE) if moved else ("OtherForm", _OTHER_FORM)
            events.append(told(each.task_id, each.number, self._now, code, message, level="warning"))
        write_events(self._connection, events)

    def _overtaken(self, assigned: Assignment) -> bool:
        """Since its last attempt; of a retry's first, since the last one of the task that it repeats."""
        if _compares(assigned.destination):
            return False
        own, same = task.alias("own"), task.alias("same")
        form = literal(assigned.pseudonym, Text), assigned.profile, assigned.trial
        before = attempt.alias("before")  # numbered as they were claimed, whatever the clocks said
        of_repeated = (same.c.key == own.c.key) & (same.c.place == own.c.place) & ~_differs(before, *form)
        last = (
            select(func.max(before.c.id))
            .join(same, same.c.id == before.c.task_id)
            .where(same.c.study_instance_uid == assigned.study_instance_uid)
            .where(of_repeated if assigned.number == 1 else same.c.id == own.c.id)
            .correlate(own)
            .scalar_subquery()
        )
        source = assigned.namespace, assigned.source.metadata.name
        others = _sent_otherwise(*form, source, assigned.destination.spec.place, own)
        query = select(own.c.id).where(own.c.id == assigned.task_id, exists(others.where(attempt.c.id > last)))
        return self._connection.execute(query).first() is not None

    def _write(self, assignments: Sequence[Assignment]) -> None:
        documents = [assigned.model_dump(mode="json", by_alias=True) for assigned in assignments]
        self._connection.execute(_INSERT, {"assignments": json.dumps(documents), "now": self._now})
        places: dict[str, list[int]] = defaultdict(list)
        for assigned in assignments:
            places[assigned.destination.spec.place].append(assigned.task_id)
        for place, task_ids in places.items():
            self._connection.execute(
                update(task)
                .where(task.c.id.in_(task_ids))
                .values(
                    state=TaskState.IN_PROGRESS,
                    place=place,
                    attempts=task.c.attempts + 1,
                    started_at=func.coalesce(task.c.started_at, self._now),
                    message="",
                    fault=None,
                )
            )
        write_events(
            self._connection,
            [
                told(assigned.task_id, assigned.number, self._now, "Claimed", f"Attempt {assigned.number} may start.")
                for assigned in assignments
            ],
        )


def _compares(destination: DicomNode) -> bool:
    """Whether the proof of the node is the content itself."""
    return destination.spec.dimse is None and destination.spec.dicom_web is None


def _document(part: DeidProfile | Trial | None) -> Any:
    """As it stands in an attempt's assignment."""
    return None if part is None else part.model_dump(mode="json", by_alias=True)


@cache
def _same_studies() -> Select[Any]:
    """Due tasks whose study another task's attempt is at, with what that one does."""
    other = task.alias("other")
    heard_of = func.coalesce(attempt.c.heartbeat_at, attempt.c.claimed_at) > bindparam("since")
    columns = (task.c.id, task.c.job_id, task.c.pseudonym, task.c.message, other.c.place)
    return (
        select(*columns, attempt.c.namespace, attempt.c.source, attempt.c.assignment)
        .select_from(attempt.join(other, other.c.id == attempt.c.task_id))
        .join(task, (task.c.study_instance_uid == other.c.study_instance_uid) & (task.c.id != other.c.id))
        .where(attempt.c.settled_at.is_(None), heard_of)
        .where(task.c.state == TaskState.PENDING, task.c.not_before <= bindparam("now"))
    )


def _sent_otherwise(
    pseudonym: ColumnElement[Any],
    profile: DeidProfile | None,
    trial: Trial | None,
    source: NodeKey,
    place: str,
    own: FromClause,
) -> Select[Any]:
    """The attempts at other tasks of the same study, to the same place, in another form than this."""
    other = task.alias("other")
    elsewhere = tuple_(attempt.c.namespace, attempt.c.source) != tuple_(*map(literal, source))
    return (
        select(attempt.c.id)
        .join(other, other.c.id == attempt.c.task_id)
        .where(other.c.study_instance_uid == own.c.study_instance_uid, other.c.place == place, other.c.id != own.c.id)
        .where(elsewhere | _differs(attempt, pseudonym, profile, trial))
    )


def _differs(
    sent: FromClause, pseudonym: ColumnElement[Any], profile: DeidProfile | None, trial: Trial | None
) -> ColumnElement[bool]:
    """Whether these attempts treat a study otherwise."""
    assigned = sent.c.assignment

    def differs(key: str, part: DeidProfile | Trial | None) -> ColumnElement[bool]:
        return assigned[key].is_distinct_from(cast(literal(json.dumps(_document(part)), Text), JSONB))

    return or_(
        assigned["pseudonym"].astext.is_distinct_from(pseudonym), differs("profile", profile), differs("trial", trial)
    )


def _sizes(connection: Connection, task_ids: Sequence[int]) -> dict[int, tuple[int, int]]:
    """How often tasks outgrew their workers, and the most bytes that any attempt at the same received, of any job."""
    same = task.alias("same")
    first_fault = cast(attempt.c.report[("faults", "0", "code")].astext, Text)
    outgrown = first_fault.in_([str(code) for code in _OUTGROWN]) & (attempt.c.task_id == task.c.id)
    query = (
        select(
            task.c.id,
            func.count().filter(outgrown).label("outgrown"),
            func.coalesce(func.max(attempt.c.bytes_received), 0).label("bytes"),
        )
        .join(
            same,
            (same.c.study_instance_uid == task.c.study_instance_uid)
            & same.c.series_instance_uids.is_not_distinct_from(task.c.series_instance_uids),
        )
        .join(attempt, attempt.c.task_id == same.c.id)
        .where(task.c.id.in_(task_ids))
        .group_by(task.c.id)
    )
    return {row.id: (row.outgrown, int(row.bytes)) for row in connection.execute(query)}


def _announced(connection: Connection, task_ids: Sequence[int]) -> dict[int, int]:
    """The most instances that earlier attempts at a task heard its source speak of."""
    if not task_ids:
        return {}
    query = (
        select(attempt.c.task_id, func.max(attempt.c.announced).label("announced"))
        .where(attempt.c.task_id.in_(task_ids))
        .group_by(attempt.c.task_id)
    )
    return {row.task_id: int(row.announced) for row in connection.execute(query)}


@contextmanager
def admission(source: Engine, documents: JobDocuments, now: datetime) -> Iterator[Admission]:
    with transaction(source) as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        yield Admission(connection, documents, now)


@cache
def _open_jobs_query() -> Select[Any]:
    few = (
        select(task.c.id)
        .where(task.c.job_id == job.c.id, task.c.state == TaskState.PENDING, task.c.not_before <= bindparam("now"))
        .limit(DUE_COUNTED)
        .correlate(job)
        .subquery()
    )
    due = select(func.count().label("due")).select_from(few).lateral()
    return (
        select(*RECORD_COLUMNS, job.c.namespace, job.c.source, job.c.destination, due.c.due)
        .where(job.c.ended_at.is_(None), job.c.cancel.is_(None), ~job.c.suspend, due.c.due > 0)
        .where(job.c.deadline.is_(None) | (job.c.deadline > bindparam("now")))
        .order_by(job.c.created_at, job.c.id)
    )


def _open_jobs(connection: Connection, now: datetime) -> Sequence[Row[Any]]:
    """Jobs that may start something now, oldest first, with the number of their due tasks up to the bound."""
    return connection.execute(_open_jobs_query(), {"now": now}).all()


_RUNNING: Final = (
    select(task.c.job_id, job.c.owner, func.count().label("attempts"))
    .select_from(attempt.join(task, task.c.id == attempt.c.task_id).join(job, job.c.id == task.c.job_id))
    .where(attempt.c.settled_at.is_(None))
    .group_by(task.c.job_id, job.c.owner)
)


def _held(side: str) -> Any:
    columns = ("associations", "queries_per_second", "bytes_per_second")
    return select(
        attempt.c.namespace,
        attempt.c[side].label("name"),
        *(attempt.c[f"{side}_{column}"].label(column) for column in columns),
    ).where(attempt.c.settled_at.is_(None))


@cache
def _held_by_node() -> Select[Any]:
    held = union_all(_held("source"), _held("destination")).subquery()
    return select(
        held.c.namespace,
        held.c.name,
        func.count().label("tasks"),
        func.sum(held.c.associations).label("associations"),
        func.coalesce(func.sum(held.c.queries_per_second), 0.0).label("queries"),
        func.coalesce(func.sum(held.c.bytes_per_second), 0).label("bytes"),
    ).group_by(held.c.namespace, held.c.name)


def _loads(connection: Connection, nodes: dict[NodeKey, DicomNode]) -> dict[NodeKey, NodeLoad]:
    loads = {key: NodeLoad(resource, 0, 0, 0.0, 0) for key, resource in nodes.items()}
    for row in connection.execute(_held_by_node()):
        key = (row.namespace, row.name)
        if key in nodes:
            loads[key] = NodeLoad(nodes[key], row.tasks, int(row.associations), float(row.queries), int(row.bytes))
    return loads


def _source(resource: TransferJob) -> NodeKey:
    return resource.metadata.namespace, resource.spec.source.node


def _destination(resource: TransferJob) -> NodeKey:
    return resource.metadata.namespace, resource.spec.destination.node
