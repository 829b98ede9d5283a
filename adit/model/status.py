"""What the operator writes into a resource's status: bounded in size, and never about a patient.

The CRDs' status schemas are generated from these. A job ends Complete or Failed, as a batch/v1 Job does, for `kubectl
wait`; Reconciling, Stalled and observedGeneration are what kstatus (Flux, Helm) and Argo CD judge a resource by.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from adit.model.findings import Road
from adit.model.resource import SET, Strict
from adit.model.state import JobState

Reason = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"),
    Field(description="One CamelCase word, from a closed vocabulary."),
]
Message = Annotated[str, StringConstraints(max_length=1024)]
Count = Annotated[int, Field(ge=0)]
ConditionStatus = Literal["True", "False", "Unknown"]

_CONDITIONS = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}


class Condition(Strict):
    """One observation (metav1.Condition)."""

    type: Annotated[str, StringConstraints(min_length=1, max_length=64)] = Field(
        description="What is observed, such as Complete."
    )
    status: ConditionStatus = Field(description="Whether it is so.")
    reason: Reason = Field(description="Why, in one CamelCase word.")
    message: Message = Field(default="", description="Why, in a sentence; never holds a patient's name or id.")
    last_transition_time: datetime = Field(description="When `status` last changed.")
    observed_generation: Annotated[int, Field(ge=-1)] | None = Field(
        default=None, description="The generation of the resource that this is about."
    )


Conditions = Annotated[tuple[Condition, ...], Field(max_length=16, json_schema_extra=_CONDITIONS)]
ObservedGeneration = Annotated[int, Field(ge=-1)]

UNSEEN: ObservedGeneration = -1
"""The observed generation of a resource that no operator has seen: kstatus then says InProgress."""


class TaskCounts(Strict):
    """How many tasks are in which state."""

    total: Count = Field(default=0, description="All of them.")
    pending: Count = Field(default=0, description="Waiting for their first or next attempt.")
    active: Count = Field(default=0, description="Being worked on.")
    succeeded: Count = Field(default=0, description="Every instance is proven to have arrived.")
    warned: Count = Field(default=0, description="Complete, but someone should look.")
    failed: Count = Field(default=0, description="Ended without being complete.")
    cancelled: Count = Field(default=0, description="Ended by cancelling.")


class InstanceCounts(Strict):
    """How far the instances of all tasks are."""

    expected: Count = Field(default=0, description="The source says that it has them.")
    received: Count = Field(default=0, description="All of their bytes were held.")
    stored: Count = Field(default=0, description="The destination acknowledged them.")
    verified: Count = Field(default=0, description="The destination, asked again, has them.")
    left_out: Count = Field(
        default=0, description="The job's profile excludes their kind: received, not sent, and not among the expected."
    )
    bytes: Count = Field(default=0, description="Length of the stored instances' data sets.")


class FailureCount(Strict):
    """One kind of fault and how often it ended a task."""

    code: Reason = Field(description="The fault's code (docs/faults.md).")
    count: Annotated[int, Field(ge=1)] = Field(description="How many tasks it ended.")
    meaning: Annotated[str, StringConstraints(max_length=256)] = Field(
        default="", description="What the code means; never what a worker or a peer said."
    )


class TransferJobStatus(Strict):
    """How far a TransferJob is. Fixed in size; the tasks themselves are in the ledger."""

    observed_generation: ObservedGeneration = Field(
        default=UNSEEN, description="The generation that this status is about; -1 before it was first seen."
    )
    conditions: Conditions = Field(
        default=(), description="Accepted, Expanded, Suspended, Complete, Failed; Reconciling and Stalled while true."
    )
    state: JobState | None = Field(default=None, description="All in one word, computed from the tasks.")
    start_time: datetime | None = Field(default=None, description="When the first task began.")
    completion_time: datetime | None = Field(default=None, description="When the last task ended; the job is frozen.")
    counts: TaskCounts | None = Field(default=None, description="How many tasks are in which state.")
    instances: InstanceCounts | None = Field(default=None, description="How far the instances are.")
    bytes_per_second: Count | None = Field(
        default=None, description="How fast instances are stored: lately while it runs, on average once it has ended."
    )
    progress: Annotated[str, StringConstraints(max_length=32)] | None = Field(
        default=None, description="Ended tasks of all tasks, such as 8123/10000."
    )
    failures: Annotated[
        tuple[FailureCount, ...], Field(max_length=3, json_schema_extra={"x-kubernetes-list-type": "atomic"})
    ] = Field(default=(), description="The three most frequent faults of failed tasks, then of those with warnings.")


class NodeRoad(Strict):
    """How instances were fetched from the node, or stored at it, when that was last tried."""

    name: Road = Field(description="How it goes: by which service.")
    works: bool = Field(description="Whether it did what it was to do; if not, it is tried last for an hour.")
    time: datetime = Field(description="When that was found, within ten minutes.")
    fault: Reason | None = Field(default=None, description="What was wrong with it: a fault's code (docs/faults.md).")


class DeidProfileStatus(Strict):
    """What is known of a DeidProfile."""

    observed_generation: ObservedGeneration = Field(
        default=UNSEEN, description="The generation that this status is about; -1 before it was first seen."
    )
    conditions: Conditions = Field(default=(), description="Accepted, Ready; Stalled while true.")
    keeps: Annotated[
        tuple[Annotated[str, StringConstraints(min_length=1, max_length=128)], ...],
        Field(max_length=20, json_schema_extra={"x-kubernetes-list-type": "atomic"}),
    ] = Field(
        default=(),
        description="What its overrides keep, whatever PS3.15 says: the first twenty. Copies that keep anything do not "
        "claim the standard's profile.",
    )


Offered = Annotated[str, StringConstraints(min_length=1, max_length=32)]
_ROADS = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}


class DicomNodeStatus(Strict):
    """What is known of a DicomNode."""

    observed_generation: ObservedGeneration = Field(
        default=UNSEEN, description="The generation that this status is about; -1 before it was first seen."
    )
    conditions: Conditions = Field(default=(), description="Accepted, Ready; Stalled while true.")
    active_tasks: Count | None = Field(default=None, description="How many tasks use the node now.")
    last_probe_time: datetime | None = Field(default=None, description="When it was last asked what it can do.")
    services: Annotated[tuple[Offered, ...], Field(max_length=16, json_schema_extra=SET)] = Field(
        default=(), description="What it offered then, whatever its spec lists."
    )
    roads: Annotated[tuple[NodeRoad, ...], Field(max_length=5, json_schema_extra=_ROADS)] = Field(
        default=(), description="How its roads did in transfers."
    )
