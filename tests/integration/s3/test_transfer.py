"""Whole attempts to and from a bucket, with a real ledger: proven, resumed, and never green without proof."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from adit.deid.profiles import ready
from adit.ledger.ledger import Ledger
from adit.model.instance import InstanceState
from adit.model.outcome import EXIT_CODES, FaultCode, Outcome
from tests import samples
from tests.integration.s3.conftest import OpenNode
from tests.integration.s3.test_destination import store
from tests.integration.s3.test_source import fill
from tests.integration.transfer.planted import is_clean, planted
from tests.integration.transfer.scene import Scene, dimse, folder, s3, scene_of
from tests.peers import Orthanc
from tests.peers.bucket_proxy import SLOW_DOWN, BucketProxy, Reaction
from tests.peers.seaweedfs import OWNER, Bucket
from tests.peers.server_process import wait_until


@pytest.fixture
def scene(ledger: Ledger, worker_url: str, tmp_path: Path, secrets: Path) -> Iterator[Scene]:
    with scene_of(ledger, worker_url, tmp_path) as scene:
        scene.secrets = secrets
        yield scene


def written(bucket: Bucket) -> set[str]:
    """The SOP Instance UIDs that the keys end with."""
    return {key.rsplit("/", 1)[-1].removesuffix(".dcm") for key in bucket.holds()}


def test_from_a_folder_to_a_bucket(scene: Scene, bucket: Bucket, proxy: BucketProxy, tmp_path: Path) -> None:
    study = samples.mixed_study()
    study.write(tmp_path / "source")
    task = scene.task(
        folder("source", tmp_path / "source"), s3("lake", bucket.name, proxy.url), study.study_instance_uid
    )
    report = task.run()
    assert (report.outcome, report.faults, report.warnings) == (Outcome.SUCCESS, (), ())
    assert task.states() == dict.fromkeys(study.sop_instance_uids, InstanceState.VERIFIED)
    assert {row.location for row in task.rows().values()} == bucket.holds()


def test_from_a_bucket_that_adit_filled_to_an_orthanc(
    scene: Scene, bucket: Bucket, proxy: BucketProxy, open_node: OpenNode, tmp_path: Path
) -> None:
    study = samples.mixed_study()
    store(open_node(), study.instances)
    with Orthanc(tmp_path, aet="DESTINATION") as orthanc:
        lake = s3("lake", bucket.name, proxy.url, studyInKey=True)
        task = scene.task(lake, dimse("orthanc", orthanc), study.study_instance_uid, patient_id="1002")
        report = task.run()
        assert (report.outcome, report.faults, report.warnings) == (Outcome.SUCCESS, (), ())
        assert report.progress.road == "S3"
        assert orthanc.instances_of(study.study_instance_uid) == study.sop_instance_uids


def test_a_key_tells_nobody_whom_its_object_is_of(
    scene: Scene, bucket: Bucket, proxy: BucketProxy, tmp_path: Path
) -> None:
    """De-identified: the given pseudonym and the new UIDs stand in keys, and the proof asks by them."""
    study = planted(2)
    study.write(tmp_path / "source")
    scene.key()
    task = scene.task(
        folder("source", tmp_path / "source"),
        s3("lake", bucket.name, proxy.url, proof="Content"),
        study.study_instance_uid,
        profile=ready("research"),
        pseudonym="STROKE-001",
    )
    for again in (True, False):
        report = task.run(again=again)
        assert (report.outcome, report.faults, report.warnings) == (Outcome.SUCCESS, (), ())
    keys = bucket.holds()
    assert len(keys) == 2
    for key in keys:
        assert "/STROKE-001/2.25." in key
        content = bucket.client.get_object(Bucket=bucket.name, Key=key)["Body"].read()
        assert is_clean(key.encode() + content, study)


def test_from_an_orthanc_to_a_bucket(scene: Scene, bucket: Bucket, proxy: BucketProxy, tmp_path: Path) -> None:
    study = samples.ct_study(5, series=2)
    with Orthanc(tmp_path, aet="SOURCE") as orthanc:
        orthanc.upload(*study.files())
        lake = s3("lake", bucket.name, proxy.url, prefix="in", proof="Content")
        assert scene.task(dimse("orthanc", orthanc), lake, study.study_instance_uid).run().outcome is Outcome.SUCCESS
    assert written(bucket) == study.sop_instance_uids


def test_from_bucket_to_bucket(scene: Scene, bucket: Bucket, proxy: BucketProxy) -> None:
    study = samples.ct_study(4)
    fill(bucket, study)
    source = s3("source", bucket.name, proxy.url, prefix="in")
    report = scene.task(source, s3("lake", bucket.name, proxy.url, prefix="out"), study.study_instance_uid).run()
    assert report.outcome is Outcome.SUCCESS
    for item in study.instances:
        [key] = [each for each in bucket.holds() if each.startswith("out/") and item.SOPInstanceUID in each]
        assert bucket.get(key).endswith(samples.encoded(item))


def test_a_busy_bucket_ends_the_attempt_and_the_next_sends_what_is_missing(
    scene: Scene, bucket: Bucket, proxy: BucketProxy, tmp_path: Path
) -> None:
    study = samples.ct_study(12)
    study.write(tmp_path / "source")
    puts: list[str] = []

    def busy_later(method: str, path: str) -> Reaction:
        if method == "PUT" and path not in puts:
            puts.append(path)
        return SLOW_DOWN if method == "PUT" and path in puts[6:] else Reaction()

    proxy.react = busy_later
    scene.associations = 1
    task = scene.task(
        folder("source", tmp_path / "source"), s3("lake", bucket.name, proxy.url), study.study_instance_uid
    )
    report = task.run(again=True)
    assert (report.outcome, report.faults[0].code) == (Outcome.TRANSIENT_FAULT, FaultCode.OUT_OF_RESOURCES)
    assert len(written(bucket)) == 6
    proxy.react = lambda method, path: Reaction()
    proxy.requests.clear()
    assert task.run().outcome is Outcome.SUCCESS
    assert written(bucket) == study.sop_instance_uids
    assert proxy.count("PUT") == 6
    assert set(task.states().values()) == {InstanceState.VERIFIED}


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_worker_killed_while_it_writes_leaves_nothing_half_and_nothing_twice(
    moment: str, scene: Scene, bucket: Bucket, proxy: BucketProxy, tmp_path: Path
) -> None:
    """Killed before the server has its fourth object, or after, and before the worker knows."""
    study = samples.ct_study(8)
    study.write(tmp_path / "source")
    reached, released = threading.Event(), threading.Event()
    puts: list[str] = []

    def hang() -> None:
        reached.set()
        released.wait(60)

    def stop_at_fourth(method: str, path: str) -> Reaction:
        if method == "PUT":
            puts.append(path)
            if len(puts) == 4:
                if moment == "before":
                    return Reaction(before=hang, refuse=(503, "SlowDown"))
                reached.set()
                return Reaction(drop=True)
            if len(puts) > 4 and moment == "after":
                return Reaction(before=hang, refuse=(503, "SlowDown"))
        return Reaction()

    proxy.react = stop_at_fourth
    scene.associations = 1
    task = scene.task(
        folder("source", tmp_path / "source"), s3("lake", bucket.name, proxy.url), study.study_instance_uid
    )
    worker = task.start()
    assert reached.wait(90), worker.log.read_text()
    if moment == "after":
        wait_until(lambda: len(written(bucket)) == 4, "the server has it")
    worker.kill()
    released.set()
    before = {key: bucket.head(key)["LastModified"] for key in bucket.holds()}
    assert len(before) == (3 if moment == "before" else 4)
    proxy.react = lambda method, path: Reaction()
    task.lost(worker.assignment)
    assert task.run().outcome is Outcome.SUCCESS
    assert written(bucket) == study.sop_instance_uids
    assert {key: bucket.head(key)["LastModified"] for key in before} == before


def test_a_worker_tells_no_secret_and_no_patient(
    scene: Scene, bucket: Bucket, proxy: BucketProxy, tmp_path: Path
) -> None:
    study = samples.ct_study(2, patient_id="PAT4711")
    fill(bucket, study, prefix="in/")
    bucket.put("in/PAT4711/broken.dcm", b"x")
    (tmp_path / "destination").mkdir()
    lake = s3("lake", bucket.name, proxy.url, prefix="in")
    worker = scene.task(lake, folder("there", tmp_path / "destination"), study.study_instance_uid).start()
    assert worker.wait() == EXIT_CODES[Outcome.SUCCESS]
    log = worker.log.read_text()
    for hidden in ("PAT4711", "Apple", OWNER.secret_access_key, OWNER.access_key_id):
        assert hidden not in log
    # nor do its arguments
    assert "secret" not in " ".join(map(str, worker.process.args)).lower()  # type: ignore[arg-type]


def test_what_is_lost_between_the_write_and_the_proof_is_sent_again(
    scene: Scene, bucket: Bucket, proxy: BucketProxy, tmp_path: Path
) -> None:
    study = samples.ct_study(3)
    study.write(tmp_path / "source")
    heads: list[str] = []

    def lose_one(method: str, path: str) -> Reaction:
        """The second time that an object is asked for, it is for the proof."""
        if method == "HEAD":
            heads.append(path)
            if heads.count(path) == 2 and len(bucket.holds()) == 3 and len(heads) == 4:
                bucket.delete(path.split("/", 2)[2])
        return Reaction()

    proxy.react = lose_one
    scene.associations = 1
    task = scene.task(
        folder("source", tmp_path / "source"), s3("lake", bucket.name, proxy.url), study.study_instance_uid
    )
    report = task.run(again=True)
    assert (report.outcome, report.faults[0].code) == (Outcome.TRANSIENT_FAULT, FaultCode.NOT_PROVEN)
    assert task.run().outcome is Outcome.SUCCESS
    assert written(bucket) == study.sop_instance_uids


def test_a_foreign_object_in_the_way_is_no_success(
    scene: Scene, bucket: Bucket, proxy: BucketProxy, tmp_path: Path
) -> None:
    study = samples.ct_study(3)
    study.write(tmp_path / "source")
    lake = s3("lake", bucket.name, proxy.url)
    task = scene.task(folder("source", tmp_path / "source"), lake, study.study_instance_uid)
    assert task.run(again=True).outcome is Outcome.SUCCESS
    taken = sorted(bucket.holds())[0]
    bucket.put(taken, b"somebody else's")
    report = task.run(again=True)
    assert (report.outcome, report.faults[0].code) == (Outcome.TRANSIENT_FAULT, FaultCode.NOT_PROVEN)
    report = task.run()
    assert (report.outcome, report.faults[0].code) == (Outcome.PERMANENT_DATA_FAULT, FaultCode.INSTANCE_CONFLICT)
    assert bucket.get(taken) == b"somebody else's"


def test_an_object_that_is_replaced_meanwhile_arrives_as_it_is_now(
    scene: Scene, bucket: Bucket, proxy: BucketProxy, tmp_path: Path
) -> None:
    study = samples.ct_study(3)
    fill(bucket, study)
    last = sorted(bucket.holds())[-1]
    changed = study.instances[[item.SOPInstanceUID for item in study.instances].index(last.rsplit("/")[-1])]
    changed.SeriesDescription = "Mended"
    replaced: list[str] = []

    def replace_it(method: str, path: str) -> Reaction:
        """As soon as a first object is read to its end, after the plan."""
        if method == "GET" and "list-type" not in path:
            replaced.append(path)
            if len(replaced) == 4:
                bucket.put(last, samples.part10(changed))
        return Reaction()

    proxy.react = replace_it
    (tmp_path / "destination").mkdir()
    source = s3("source", bucket.name, proxy.url)
    task = scene.task(source, folder("there", tmp_path / "destination"), study.study_instance_uid)
    assert task.run().outcome is Outcome.SUCCESS
    there = {path.stem: path for path in (tmp_path / "destination").rglob("*.dcm")}
    assert set(there) == study.sop_instance_uids
    assert there[changed.SOPInstanceUID].read_bytes().endswith(samples.encoded(changed))


def test_wrong_credentials_end_it_as_configuration(
    scene: Scene, bucket: Bucket, proxy: BucketProxy, tmp_path: Path
) -> None:
    study = samples.ct_study(2)
    study.write(tmp_path / "source")
    lake = s3("lake", bucket.name, proxy.url, credentials={"secretName": "forger"})
    report = scene.task(folder("source", tmp_path / "source"), lake, study.study_instance_uid).run()
    assert (report.outcome, report.faults[0].code) == (
        Outcome.PERMANENT_CONFIGURATION_FAULT,
        FaultCode.PERMISSION_DENIED,
    )
    assert bucket.holds() == set()
