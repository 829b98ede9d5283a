"""The registry of one machine without a cluster: the ledger itself, as `adit apply` writes to it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from adit.ledger.ledger import Ledger
from adit.ledger.records import Applied
from adit.model.deid_profile import DeidProfile
from adit.model.dicom_node import DicomNode
from adit.model.transfer_job import TransferJob
from adit_api.git_keeping import keeper
from adit_api.registry import AlreadyThere, FoundJob, KeptInGit, Key, NotThere, Steered

STEERED_HERE: Final = "adit.dev/steered-by-api"
"""An annotation with the fields that the facade set, in the ledger what managedFields are in a cluster."""


class LedgerRegistry:
    """Implements the port. No reconciler undoes a change here, but resources may be applied from a checkout."""

    def __init__(self, ledger: Ledger, clock: Callable[[], datetime]) -> None:
        self._ledger = ledger
        self._clock = clock

    def create(self, job: TransferJob) -> FoundJob:
        now = self._clock()
        if not self._ledger.create_job(job, now):
            raise AlreadyThere("TransferJob")
        return self.find(job.key) or FoundJob(job, now)

    def find(self, key: Key) -> FoundJob | None:
        record = self._ledger.job(key)
        return None if record is None else FoundJob(record.job, record.created_at, str(record.id))

    def change(self, key: Key, field: Steered, value: bool | str | None) -> FoundJob:
        def edit(job: TransferJob) -> TransferJob:
            metadata = job.metadata
            ours = set(filter(None, metadata.annotations.get(STEERED_HERE, "").split(",")))
            old = getattr(job.spec, field)
            if old == value:
                return job
            kept = keeper(metadata.annotations, metadata.labels)
            if kept is not None and old is not None and field not in ours:
                raise KeptInGit(f"spec.{field} of the TransferJob", kept)
            document = job.model_dump(mode="json", by_alias=True, exclude_none=True)
            document["spec"][field] = value
            if kept is not None:
                document["metadata"]["annotations"][STEERED_HERE] = ",".join(sorted(ours | {field}))
            return TransferJob.model_validate(document)

        job = self._ledger.edit_job(key, edit)
        found = self.find(key) if job is not None else None
        if found is None:
            raise NotThere("TransferJob")
        return found

    def find_node(self, key: Key) -> DicomNode | None:
        return self._ledger.node(key)

    def find_profile(self, key: Key) -> DeidProfile | None:
        return self._ledger.profile(key)

    def apply(self, resource: DicomNode | DeidProfile) -> bool:
        is_node = isinstance(resource, DicomNode)
        known: Any = self._ledger.node(resource.key) if is_node else self._ledger.profile(resource.key)
        kept = None if known is None else keeper(known.metadata.annotations, known.metadata.labels)
        if kept is not None and known.spec != resource.spec:
            raise KeptInGit(f"The {resource.kind}", kept)
        if kept is not None:
            return False
        if isinstance(resource, DicomNode):
            return self._ledger.apply_node(resource, self._clock()) is Applied.CREATED
        return self._ledger.apply_profile(resource, self._clock()) is Applied.CREATED
