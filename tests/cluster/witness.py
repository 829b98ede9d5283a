"""Watches a job and its destination while things die around it: every claim is compared with what is really there.

Started by the chaos tests, and for each job of a test of a single fault by the fixture `witnessed`. It asks the API
server, the ledger and the destination by connections of its own; where one of them is down, that look is left out.
"""

from __future__ import annotations

import threading
import urllib.error
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.client import HTTPException
from types import TracebackType
from typing import Any, Final, Self

from sqlalchemy import select

from adit.ledger.connection import LedgerUnavailable, engine, transaction
from adit.ledger.tables import instance, task
from adit.model.instance import InstanceState
from adit_operator.kubernetes_api import TRANSFER_JOBS, ApiRefused, KubernetesApi
from tests.cluster.attempts import attempts_of
from tests.cluster.installation import Installation, Job
from tests.peers.orthanc import OrthancRest

_PAUSE: Final = 0.5
_PAGE: Final = 1000


class Witness:
    """`with Witness(job, studies, since):` looks twice a second; `wrongs` are the claims that were not true.

    What is expected is what the source holds of the studies. `since` is where the destination's journal ended
    before the job was made: stores are counted from there.
    """

    def __init__(self, job: Job, studies: Sequence[str], since: int) -> None:
        installation = job.installation
        self._job = job
        self.studies = {study: _instances(installation.source, study) for study in studies}
        self._expected = {name: uid for each in self.studies.values() for name, uid in each.items()}
        self._each = min(len(instances) for instances in self.studies.values())
        self._destination = installation.destination
        self._api = KubernetesApi(connect_seconds=2, read_seconds=5)
        self._engine = engine(installation.reached_database_url, connections=1)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look_until_stopped, name="witness")
        self._seen_changes = since
        self.stored: Counter[str] = Counter()
        """How often the destination stored each instance, by SOP Instance UID, as its own journal says."""
        self.wrongs: list[str] = []
        self.failed = False
        """Whether the job was ever said to have failed."""
        self.looks = 0
        """How often the cluster, the ledger and the destination all answered."""
        self.error: BaseException | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    @property
    def job(self) -> Job:
        return self._job

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
        self.failed = self.failed or conditions.get("Failed") == "True"

    def _status(self) -> Any:
        try:
            found = self._api.read(TRANSFER_JOBS, self._job.installation.namespace, self._job.name)
        except ApiRefused:
            return None
        if found is None or found["metadata"]["uid"] != self._job.uid:  # the name is free when the job is deleted
            return {}
        return found.get("status", {})

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
        except (OSError, urllib.error.URLError, HTTPException, ValueError):
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


@contextmanager
def each_job_witnessed(installation: Installation) -> Iterator[list[Witness]]:
    """Each job made here has a witness from before its first worker; in the end all of them are heard."""
    witnesses: list[Witness] = []
    with ExitStack() as running:

        def expect(studies: Sequence[str]) -> Callable[[Job], None]:
            since = last_change(installation.destination)
            return lambda job: witnesses.append(running.enter_context(Witness(job, studies, since)))

        installation.watched_by(expect)
        try:
            yield witnesses
        finally:
            installation.watched_by(None)
    for each in witnesses:
        assert (each.error, each.wrongs) == (None, [])
        assert each.looks > 0, f"nobody looked at {each.job.name}"
    stored_no_more_often_than_tried(witnesses)


def stored_no_more_often_than_tried(witnesses: Sequence[Witness], spare: int = 0) -> None:
    """A repeat overwrites itself, so that nothing is there twice; and no attempt stores anything more than once.

    That an attempt leaves out what an earlier one wrote down is held by tests/integration/transfer: here it cannot be
    told how much of a killed attempt's work had been written down.
    """
    tries = _tries(each.job for each in witnesses)
    for witness in witnesses:
        for study, instances in witness.studies.items():
            most = tries[study] + spare
            often = {uid: witness.stored[uid] for uid in instances.values() if witness.stored[uid] > most}
            assert not often, f"of a study that was begun {tries[study]} times were stored so often: {often}"


def last_change(destination: OrthancRest) -> int:
    """Where its journal ends."""
    return int(destination.get("/changes?last")["Last"])


def _tries(jobs: Iterable[Job]) -> Counter[str]:
    """How often each study was begun."""
    return Counter(each.study_instance_uid for job in jobs for each in attempts_of(job) if each.begun_at is not None)


def _instances(pacs: OrthancRest, study: str) -> dict[str, str]:
    """The SOP Instance UIDs by Orthanc's names, a hash of four identifiers: the same wherever an instance is."""
    found = pacs.find("Instance", StudyInstanceUID=study)
    assert found, f"the source does not have the study {study}"
    return {each["ID"]: each["MainDicomTags"]["SOPInstanceUID"] for each in found}
