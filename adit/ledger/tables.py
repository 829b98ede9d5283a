"""The ledger's tables as SQLAlchemy Core sees them; every query of this room is written against these.

The schema itself is made by `migrations/`; a test holds the two together. Row-level security, grants
and partitions stand in the migration only.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, ENUM, JSONB

metadata: Final = MetaData()


class Instant(TypeDecorator[datetime]):
    """A timestamptz that is an aware UTC datetime in Python; a naive one is refused."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError(f"a time without a zone: {value}")
        return value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)


def _document(name: str, *, optional: bool = False) -> Column[Any]:
    return Column(name, JSONB(none_as_null=True), nullable=optional)


def _number(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=text("0"))


# Ordered: a later value is a further proven step, so that `<` and `>=` speak of progress.
instance_state: Final = ENUM(
    "Expected", "Received", "LeftOut", "Stored", "Verified", name="instance_state", metadata=metadata
)

node: Final = Table(
    "node",
    metadata,
    Column("namespace", Text, nullable=False),
    Column("name", Text, nullable=False),
    _document("document"),
    Column("applied_at", Instant, nullable=False),
    _document("findings", optional=True),  # adit.model.findings; of the node as the document has it
    Column("probe_asked_at", Instant),
    PrimaryKeyConstraint("namespace", "name", name="node_pkey"),
)

profile: Final = Table(
    "profile",
    metadata,
    Column("namespace", Text, nullable=False),
    Column("name", Text, nullable=False),
    _document("document"),
    Column("applied_at", Instant, nullable=False),
    PrimaryKeyConstraint("namespace", "name", name="profile_pkey"),
)

job: Final = Table(
    "job",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("namespace", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("destination", Text, nullable=False),
    _document("document"),
    Column("revision", Integer, nullable=False, server_default=text("1")),  # of the document
    Column("suspend", Boolean, nullable=False),
    Column("cancel", Text),
    Column("created_at", Instant, nullable=False),
    Column("created_on", Date, nullable=False),  # in UTC; places its instances in a partition
    Column("deadline", Instant),
    Column("instances_seconds", BigInteger, nullable=False),
    Column("expansion_cursor", Integer, nullable=False, server_default=text("0")),
    Column("expanded_at", Instant),
    Column("ended_at", Instant),
    _document("refusal", optional=True),
    Column("instances_dropped_at", Instant),
    Column("deleted_at", Instant),  # its resource went away; the record stays, and the name is free
    _document("profile", optional=True),  # the whole DeidProfile, as it was when the first tasks were made
    PrimaryKeyConstraint("id", name="job_pkey"),
    Index("job_namespace_name_key", "namespace", "name", unique=True, postgresql_where=text("deleted_at IS NULL")),
    CheckConstraint("cancel IN ('Drain', 'Terminate')", name="job_cancel_check"),
    # No original where a copy was asked for, whoever writes.
    CheckConstraint(
        "expanded_at IS NULL OR profile IS NOT NULL OR document #> '{spec,deidentification}' IS NULL",
        name="job_profile_is_frozen",
    ),
    Index("job_open", "created_at", postgresql_where=text("ended_at IS NULL")),
    Index("job_created", "created_at"),
    Index("job_retained", "ended_at", postgresql_where=text("ended_at IS NOT NULL AND instances_dropped_at IS NULL")),
)

task: Final = Table(
    "task",
    metadata,
    Column("id", BigInteger, Identity(), nullable=False),
    Column("job_id", Uuid, ForeignKey("job.id", name="task_job_id_fkey"), nullable=False),
    Column("job_created_on", Date, nullable=False),
    Column("key", Text, nullable=False),  # sha256 over study, series and pseudonym
    Column("study_instance_uid", Text, nullable=False),
    Column("patient_id", Text),
    Column("series_instance_uids", ARRAY(Text)),
    Column("pseudonym", Text),
    Column("place", Text),  # where its instances are, as far as the rows say that they are stored
    Column("state", Text, nullable=False),
    Column("not_before", Instant, nullable=False),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("message", Text, nullable=False, server_default=text("''")),
    _document("fault", optional=True),
    # what the instance rows said when the last attempt was settled; kept when they are dropped
    _number("expected"),
    _number("received"),
    _number("stored"),
    _number("verified"),
    _number("bytes_stored"),
    Column("digest", Text),
    Column("started_at", Instant),
    Column("ended_at", Instant),
    _number("left_out"),  # by the profile: received, counted by themselves, and never expected to arrive
    PrimaryKeyConstraint("id", name="task_pkey"),
    UniqueConstraint("job_id", "key", name="task_job_id_key_key"),
    UniqueConstraint("id", "job_created_on", name="task_id_job_created_on_key"),
    CheckConstraint(
        "state IN ('Pending', 'InProgress', 'Success', 'Warning', 'Failure', 'Canceled')", name="task_state_check"
    ),
    # No wrong green, whoever writes.
    CheckConstraint("state <> 'Success' OR (expected > 0 AND verified = expected)", name="task_success_is_proven"),
    CheckConstraint(
        "(ended_at IS NOT NULL) = (state IN ('Success', 'Warning', 'Failure', 'Canceled'))", name="task_ended_check"
    ),
    Index("task_of_job", "job_id", "id"),
    Index("task_of_study", "study_instance_uid"),
    Index("task_due", "job_id", "not_before", "id", postgresql_where=text("state = 'Pending'")),
    Index("task_waiting", "not_before", postgresql_where=text("state = 'Pending'")),
    Index("task_open", "job_id", postgresql_where=text("state IN ('Pending', 'InProgress')")),
)

attempt: Final = Table(
    "attempt",
    metadata,
    Column("id", BigInteger, Identity(), nullable=False),
    Column("task_id", BigInteger, nullable=False),
    Column("job_created_on", Date, nullable=False),
    Column("number", Integer, nullable=False),
    Column("token", Uuid, nullable=False),
    _document("assignment"),
    # its part of the nodes' budgets, held until it is settled
    Column("namespace", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("destination", Text, nullable=False),
    Column("source_associations", Integer, nullable=False),
    Column("source_queries_per_second", Double),
    Column("source_bytes_per_second", BigInteger),
    Column("destination_associations", Integer, nullable=False),
    Column("destination_queries_per_second", Double),
    Column("destination_bytes_per_second", BigInteger),
    Column("claimed_at", Instant, nullable=False),
    Column("begun_at", Instant),
    Column("heartbeat_at", Instant),
    Column("stop_requested_at", Instant),
    Column("ended_at", Instant),
    Column("settled_at", Instant),
    Column("reference", Text),
    _document("report", optional=True),
    _number("expected"),
    _number("received"),
    _number("stored"),
    _number("verified"),
    _number("announced"),
    _number("bytes_received"),
    _number("bytes_stored"),
    Column("road", Text),
    Column("store_road", Text),
    PrimaryKeyConstraint("id", name="attempt_pkey"),
    ForeignKeyConstraint(
        ["task_id", "job_created_on"], ["task.id", "task.job_created_on"], name="attempt_task_id_fkey"
    ),
    UniqueConstraint("task_id", "number", name="attempt_task_id_number_key"),
    UniqueConstraint("token", name="attempt_token_key"),
    CheckConstraint("(ended_at IS NULL) = (report IS NULL)", name="attempt_ended_check"),
    CheckConstraint("settled_at IS NULL OR ended_at IS NOT NULL", name="attempt_settled_check"),
    Index("attempt_one_open", "task_id", unique=True, postgresql_where=text("settled_at IS NULL")),
)

instance: Final = Table(
    "instance",
    metadata,
    Column("job_created_on", Date, nullable=False),
    Column("task_id", BigInteger, nullable=False),
    Column("sop_instance_uid", Text, nullable=False),
    Column("series_instance_uid", Text, nullable=False),
    Column("sop_class_uid", Text),
    Column("state", instance_state, nullable=False),
    Column("expected_at", Instant, nullable=False),
    Column("received_at", Instant),
    Column("stored_at", Instant),
    Column("verified_at", Instant),
    Column("transfer_syntax_uid", Text),
    Column("size", BigInteger),
    Column("sha256", Text),
    Column("location", Text),
    Column("fault_code", Text),
    Column("fault_message", Text),
    Column("dimse_status", Integer),
    Column("sent_as", Text),
    Column("treatment", Text),  # the digest of one of the task's treatments
    PrimaryKeyConstraint("job_created_on", "task_id", "sop_instance_uid", name="instance_pkey"),
    # The key holds the date too: a row cannot lie in another month than its task's others.
    ForeignKeyConstraint(
        ["task_id", "job_created_on"], ["task.id", "task.job_created_on"], name="instance_task_id_fkey"
    ),
    postgresql_partition_by="RANGE (job_created_on)",
)

treatment: Final = Table(
    "treatment",
    metadata,
    Column("task_id", BigInteger, ForeignKey("task.id", name="treatment_task_id_fkey"), nullable=False),
    Column("digest", Text, nullable=False),
    _document("document"),
    Column("changes", Text, nullable=False),  # a line for each changed element
    _number("instances"),  # how many rows named it when the last attempt was settled; kept when they are dropped
    PrimaryKeyConstraint("task_id", "digest", name="treatment_pkey"),
)

project_key: Final = Table(
    "project_key",
    metadata,
    Column("namespace", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("key_id", Text, nullable=False),  # of the key that its first instance was de-identified with
    Column("since", Instant, nullable=False),
    PrimaryKeyConstraint("namespace", "project", name="project_key_pkey"),
)

event: Final = Table(
    "event",
    metadata,
    Column("id", BigInteger, Identity(), nullable=False),
    Column("task_id", BigInteger, ForeignKey("task.id", name="event_task_id_fkey"), nullable=False),
    Column("attempt_number", Integer),
    Column("at", Instant, nullable=False),
    Column("level", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("detail", JSONB, nullable=False, server_default=text("'{}'")),
    PrimaryKeyConstraint("id", name="event_pkey"),
    CheckConstraint("level IN ('info', 'warning', 'error')", name="event_level_check"),
    Index("event_of_task", "task_id", "id"),
)

mailbox: Final = Table(
    "mailbox",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("attempt_id", BigInteger, ForeignKey("attempt.id", name="mailbox_attempt_id_fkey"), nullable=False),
    Column("study_instance_uid", Text, nullable=False),
    Column("series_instance_uid", Text),
    Column("message_id", Integer, nullable=False),
    Column("host", Text, nullable=False),
    Column("port", Integer, nullable=False),
    Column("secret", Text, nullable=False),  # empty once it is closed
    Column("opened_at", Instant, nullable=False),
    Column("closed_at", Instant),
    Column("broke_off", Boolean, nullable=False, server_default=text("false")),  # its source may send on
    PrimaryKeyConstraint("id", name="mailbox_pkey"),
    CheckConstraint("message_id BETWEEN 1 AND 65535", name="mailbox_message_id_check"),
    Index("mailbox_of_study", "study_instance_uid"),
    Index("mailbox_of_attempt", "attempt_id"),
    Index("mailbox_opened", "opened_at"),
)

selection: Final = Table(
    "selection",
    metadata,
    Column("id", Uuid, nullable=False),
    Column("namespace", Text, nullable=False),
    Column("name", Text),
    Column("digest", Text, nullable=False),  # sha256 over its lines: the same post twice is one selection
    Column("size", Integer, nullable=False),
    Column("pseudonyms", Integer, nullable=False),  # how many lines ask for a de-identified copy
    Column("without_patient_id", Integer, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("used_at", Instant),  # when a job's tasks were first made from it; it is kept from then on
    PrimaryKeyConstraint("id", name="selection_pkey"),
    UniqueConstraint("namespace", "name", name="selection_namespace_name_key"),
    Index("selection_unused", "expires_at", postgresql_where=text("used_at IS NULL")),
)

selection_line: Final = Table(
    "selection_line",
    metadata,
    Column("selection_id", Uuid, nullable=False),
    Column("position", Integer, nullable=False),
    Column("study_instance_uid", Text, nullable=False),
    Column("patient_id", Text),
    Column("series_instance_uids", ARRAY(Text)),
    Column("pseudonym", Text),
    PrimaryKeyConstraint("selection_id", "position", name="selection_line_pkey"),
    ForeignKeyConstraint(
        ["selection_id"], ["selection.id"], name="selection_line_selection_id_fkey", ondelete="CASCADE"
    ),
)

api_token: Final = Table(
    "api_token",
    metadata,
    Column("name", Text, nullable=False),
    Column("hash", Text, nullable=False),  # sha256 of the token, which nobody keeps
    Column("scopes", ARRAY(Text), nullable=False),
    Column("namespaces", ARRAY(Text)),  # all of them if null
    Column("created_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("revoked_at", Instant),
    PrimaryKeyConstraint("name", name="api_token_pkey"),
    UniqueConstraint("hash", name="api_token_hash_key"),
)
