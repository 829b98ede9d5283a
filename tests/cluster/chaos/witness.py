"""Watches a job and its destination while things die around it: every claim is compared with what is really there.

Started by test_chaos.py. It asks the API server, the ledger and the destination by connections of its own; where one of
them is down, that look is left out.
"""

from __future__ import annotations

import threading
import urllib.error
from collections import Counter
from collections.abc import Sequence
from hashlib import sha1
from types import TracebackType
from typing import Any, Final, Self

from pydicom import Dataset
from sqlalchemy import select

from adit.ledger.connection import LedgerUnavailable, engine, transaction
from adit.ledger.tables import instance, task
from adit.model.instance import InstanceState
from adit_operator.kubernetes_api import TRANSFER_JOBS, ApiRefused, KubernetesApi
from tests.cluster.installation import Job
from tests.samples import Study

_PAUSE: Final = 0.5
_PAGE: Final = 1000


class Witness:
    """`with Witness(job, studies):` looks twice a second; `wrongs` are the claims that were not true."""

    def __init__(self, job: Job, studies: Sequence[Study]) -> None:
        self._job = job
        self._expected = {orthanc_id(each): str(each.SOPInstanceUID) for study in studies for each in study.instances}
        self._each = min(len(study.instances) for study in studies)
        self._destination = job.installation.destination
        self._api = KubernetesApi(connect_seconds=2, read_seconds=5)
        self._engine = engine(job.installation.database_url, connections=1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look_until_stopped, name="witness")
        self._seen_changes = 0
        self.stored: Counter[str] = Counter()
        """How often the destination stored each instance, by SOP Instance UID, as its own journal says."""
        self.wrongs: list[str] = []
        self.looks = 0
        """How often the cluster, the ledger and the destination all answered."""
        self.error: BaseException | None = None

    def __enter__(self) -> Self:
        self._seen_changes = self._destination.get("/changes?last")["Last"]
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        self._api.close()
        self._engine.dispose()

    def _look_until_stopped(self) -> None:
        try:
            while not self._stop.wait(_PAUSE):
                self._look()
            self._look()
        except BaseException as error:
            self.error = error
            raise

    def _look(self) -> None:
        """What is claimed is asked first, what is there last: it can only have become more meanwhile."""
        status, verified = self._status(), self._verified()
        there = self._there()
        if there is None:
            return
        if verified is not None and verified - there:
            self.wrongs.append(f"verified in the ledger, but not there: {sorted(verified - there)}")
        if status is not None:
            self._judge(status, there)
        self.looks += status is not None and verified is not None

    def _judge(self, status: Any, there: set[str]) -> None:
        conditions = {each["type"]: each["status"] for each in status.get("conditions", ())}
        if conditions.get("Complete") == "True" and there != set(self._expected.values()):
            self.wrongs.append(f"Complete with {len(there)} of {len(self._expected)} instances")
        succeeded = status.get("counts", {}).get("succeeded", 0)
        if succeeded * self._each > len(there):
            self.wrongs.append(f"{succeeded} tasks succeeded with {len(there)} instances there")
        if conditions.get("Failed") == "True":
            self.wrongs.append("Failed")

    def _status(self) -> Any:
        try:
            found = self._api.read(TRANSFER_JOBS, self._job.installation.namespace, self._job.name)
        except ApiRefused:
            return None
        return (found or {}).get("status", {})

    def _verified(self) -> set[str] | None:
        query = (
            select(instance.c.sop_instance_uid)
            .join(task, task.c.id == instance.c.task_id)
            .where(task.c.job_id == self._job.id, instance.c.state == InstanceState.VERIFIED)
        )
        try:
            with transaction(self._engine) as connection:
                return set(connection.scalars(query))
        except LedgerUnavailable:
            return None

    def _there(self) -> set[str] | None:
        """By the destination's own REST; None while it does not answer."""
        try:
            self._read_journal()
            present = set(self._destination.get("/instances"))
        except (OSError, urllib.error.URLError, ValueError):
            return None
        foreign = present - self._expected.keys()
        if foreign:
            self.wrongs.append(f"{len(foreign)} instances that nobody asked for")
        return {self._expected[each] for each in present - foreign}

    def _read_journal(self) -> None:
        done = False
        while not done:
            page = self._destination.get(f"/changes?since={self._seen_changes}&limit={_PAGE}")
            for change in page["Changes"]:
                if change["ChangeType"] == "NewInstance":
                    self.stored[self._expected.get(change["ID"], change["ID"])] += 1
            self._seen_changes, done = page["Last"], page["Done"]


def orthanc_id(dataset: Dataset) -> str:
    """Orthanc's name for an instance: a hash of its four identifiers."""
    parts = (dataset.PatientID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID)
    digest = sha1("|".join(str(part) for part in parts).encode()).hexdigest()
    return "-".join(digest[at : at + 8] for at in range(0, 40, 8))
