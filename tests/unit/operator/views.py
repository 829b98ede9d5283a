"""Jobs as the ledger tells of them, at every stage that a job can be in, and at none that it can't, too."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from adit.ledger.records import FaultCount, JobRecord, JobSummary
from adit.model.condition import ConditionReason
from adit.model.outcome import Fault, FaultCode
from adit.model.state import JobState, TaskState, job_verdict
from adit.model.transfer_job import TransferJob
from adit_operator.job_status import JobView
from adit_operator.problem import Problem
from tests.unit.model.specs import JOB, resource

NOW = datetime(2026, 3, 2, 12, 0, 0, 123456, tzinfo=UTC)
JOB_ID = UUID(int=7)
MISSING = Fault(
    code=FaultCode.NODE_NOT_FOUND,
    message="spec.source.node: there is no DicomNode pacs in namespace default.",
    cure="Apply the DicomNode, or correct the name.",
    node="pacs",
)
QUOTA = Fault(code=FaultCode.LAUNCH_REFUSED, message="The quota is used up.", cure="Raise the quota.")
INVALID = Problem(ConditionReason.INVALID, "spec.owner: must be a name. Correct it and apply it again.", 1)


def transfer_job(generation: int = 1, **spec: Any) -> TransferJob:
    document = resource("TransferJob", {**JOB, **spec})
    document["metadata"] |= {"namespace": "default", "uid": str(JOB_ID), "generation": generation}
    return TransferJob.model_validate(document)


def summary(
    tasks: dict[TaskState, int] | None = None,
    *,
    generation: int = 1,
    age: timedelta = timedelta(0),
    expanded: bool = True,
    ended: bool = False,
    refusal: Fault | None = None,
    instances: tuple[int, int] = (0, 0),
    stored_bytes: int = 0,
    started: timedelta | None = None,
    failures: tuple[FaultCount, ...] = (),
    state: JobState | None = None,
    **spec: Any,
) -> JobSummary:
    """`instances` are expected and verified."""
    record = JobRecord(
        id=JOB_ID,
        job=transfer_job(generation, **spec),
        created_at=NOW - age,
        expanded_at=NOW if expanded else None,
        ended_at=NOW if ended else None,
        refusal=refusal,
    )
    verdict = job_verdict(tasks or {}, expanded=expanded, canceling=record.job.spec.cancel is not None)
    expected, verified = instances
    return JobSummary(
        record=record,
        state=state or (JobState.FAILURE if refusal else verdict.state),
        message=verdict.message,
        tasks=tasks or {},
        expected=expected,
        received=expected,
        stored=verified,
        verified=verified,
        bytes_stored=stored_bytes,
        started_at=None if started is None else NOW - started,
        failures=failures,
    )


def view(told: JobSummary | None, generation: int = 1, **values: Any) -> JobView:
    return JobView(generation, told, **values)


STAGES: dict[str, JobView] = {
    "waits for its node": view(summary(expanded=False), waiting=MISSING),
    "waits for its node too long": view(summary(expanded=False, age=timedelta(minutes=5)), waiting=MISSING),
    "refused": view(summary(expanded=False, ended=True, refusal=MISSING)),
    "invalid": view(None, problem=INVALID),
    "being expanded": view(summary({TaskState.PENDING: 1000}, expanded=False)),
    "waits for its turn": view(summary({TaskState.PENDING: 4})),
    "runs": view(summary({TaskState.PENDING: 1, TaskState.IN_PROGRESS: 2, TaskState.SUCCESS: 1})),
    "all ended, not closed": view(summary({TaskState.SUCCESS: 4}, instances=(8, 8))),
    "suspended": view(summary({TaskState.PENDING: 4}, suspend=True)),
    "being cancelled": view(summary({TaskState.IN_PROGRESS: 1, TaskState.CANCELED: 3}, cancel="Drain")),
    "cannot start": view(summary({TaskState.PENDING: 4}), trouble=QUOTA),
    "suspended, could not start": view(summary({TaskState.PENDING: 4}, suspend=True), trouble=QUOTA),
    "change not taken": view(summary({TaskState.IN_PROGRESS: 1}), problem=INVALID),
    "complete": view(summary({TaskState.SUCCESS: 4}, ended=True, instances=(8, 8))),
    "nothing to do": view(summary({}, ended=True)),
    "warned": view(summary({TaskState.SUCCESS: 3, TaskState.WARNING: 1}, ended=True, instances=(8, 6))),
    "failed": view(
        summary(
            {TaskState.SUCCESS: 3, TaskState.FAILURE: 1},
            ended=True,
            instances=(8, 6),
            failures=(FaultCount("NodeTimeout", 1, "NodeTimeout: DOE^JANE 1.2.840.113619.2.1"),),
        )
    ),
    "cancelled": view(summary({TaskState.SUCCESS: 3, TaskState.CANCELED: 1}, ended=True, cancel="Drain")),
    "partly cancelled": view(summary({TaskState.SUCCESS: 3, TaskState.CANCELED: 1}, ended=True, instances=(6, 6))),
}
"""By what people would say of the job."""

HOSTILE = st.text(max_size=3000) | st.sampled_from(
    ["DOE^JANE", "PatientID 1003, 1.2.840.113619.2.1.1.1", '"' * 2000, "\x00\n\r\u2028" * 400, "\\" * 3000, "🦴" * 2000]
)
_COUNT = st.integers(0, 2**53)
_SMALL = st.integers(0, 3)
_TIMES = st.none() | st.datetimes(
    datetime(2020, 1, 1),
    datetime(2030, 1, 1),
    timezones=st.just(UTC),
)
_FAULTS = st.builds(Fault, code=st.sampled_from(FaultCode), message=HOSTILE, cure=HOSTILE)
_SPECS = st.fixed_dictionaries(
    {},
    optional={
        "suspend": st.booleans(),
        "cancel": st.sampled_from(["Drain", "Terminate"]),
    },
)


@st.composite
def summaries(draw: st.DrawFn) -> JobSummary:
    """Whatever the ledger might say, whether or not it makes sense."""
    return JobSummary(
        record=JobRecord(
            id=JOB_ID,
            job=transfer_job(draw(st.integers(0, 5)), **draw(_SPECS)),
            created_at=NOW - timedelta(seconds=draw(st.integers(0, 1000))),
            expanded_at=draw(_TIMES),
            ended_at=draw(_TIMES),
            refusal=draw(st.none() | _FAULTS),
        ),
        state=draw(st.sampled_from(JobState)),
        message=draw(HOSTILE),
        tasks=draw(st.dictionaries(st.sampled_from(TaskState), _COUNT | _SMALL)),
        expected=draw(_COUNT | _SMALL),
        received=draw(_COUNT),
        stored=draw(_COUNT),
        verified=draw(_COUNT | _SMALL),
        bytes_stored=draw(_COUNT),
        started_at=draw(_TIMES),
        failures=tuple(
            draw(
                st.lists(
                    st.builds(FaultCount, st.sampled_from(FaultCode).map(str) | HOSTILE, _COUNT, HOSTILE), max_size=6
                )
            )
        ),
    )


@st.composite
def views(draw: st.DrawFn) -> JobView:
    return JobView(
        generation=draw(st.integers(0, 2**53)),
        summary=draw(st.none() | summaries()),
        waiting=draw(st.none() | _FAULTS),
        problem=draw(
            st.none()
            | st.builds(
                Problem,
                st.sampled_from([ConditionReason.INVALID, ConditionReason.CHANGE_REFUSED]),
                HOSTILE,
                st.integers(0, 9),
            )
        ),
        trouble=draw(st.none() | _FAULTS),
        bytes_per_second=draw(st.none() | _COUNT),
    )


PREVIOUS = st.none() | st.recursive(
    st.none() | st.booleans() | st.integers() | HOSTILE,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["conditions", "type", "status", "lastTransitionTime", "observedGeneration", "state"]),
            inner,
        )
    ),
    max_leaves=12,
).filter(lambda value: isinstance(value, dict))
"""What another field manager, or nobody in his senses, left in a status."""
