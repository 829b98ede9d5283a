"""The ledger's own Postgres killed in the middle of `adit run`, and started again: the transfer completes."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path

from tests.faults.system import Gate
from tests.integration.cli.command import Adit
from tests.integration.cli.manifests import document, documents, job
from tests.peers import Behaviour, ScriptedSCP
from tests.peers.server_process import free_port, wait_until
from tests.samples import ct_study

STUDY = ct_study(8, seed="ledger", size=64)


def test_postgres_killed_while_a_run_is_at_work(tmp_path: Path) -> None:
    adit = Adit(tmp_path, {"ADIT_DATA": str(tmp_path / "data")})
    gate = Gate("C-GET sub-operation", 5)
    source = ScriptedSCP(STUDY.instances, aet="HOSPITAL", behaviour=Behaviour(before=gate))
    with source, ScriptedSCP(aet="RESEARCH") as destination:
        nodes = (
            document("DicomNode", name, {"dimse": {"aeTitle": peer.aet, "host": peer.host, "port": peer.dicom_port}})
            for name, peer in (("hospital", source), ("research", destination))
        )
        run = adit.start("run", adit.write("job.yaml", documents(*nodes) + job("night", STUDY)))
        try:
            assert gate.reached.wait(90)
            wait_until(lambda: len(destination.holds) == 4, "half of it is stored")
            os.kill(postmaster(tmp_path), signal.SIGKILL)
            gate.opened.set()
            wait_until(lambda: len(destination.holds) == 8, "all is stored while the ledger is away")
            ended = adit.end(run)
        finally:
            adit.close()
    assert ended.code == 0, ended.err
    assert ended.json["job"]["verified"] == 8
    [task] = ended.json["tasks"]
    assert {each["state"] for each in task["instances"]} == {"Verified"}
    assert destination.stores() == Counter(STUDY.sop_instance_uids)


def test_postgres_killed_while_a_pacs_sends_to_the_receiver(tmp_path: Path) -> None:
    """Whose the objects are is known already; and where it is not, it is asked again until the ledger is back."""
    adit = Adit(tmp_path, {"ADIT_DATA": str(tmp_path / "data")})
    gate, port = Gate("C-MOVE sub-operation", 5), free_port()
    source = ScriptedSCP(STUDY.instances, aet="HOSPITAL", behaviour=Behaviour(before=gate))
    source.move.destinations["ADIT"] = ("127.0.0.1", port)
    services = ["Verification", "StudyRootFind", "StudyRootMove"]
    with source, ScriptedSCP(aet="RESEARCH") as destination:
        addresses: dict[str, dict[str, object]] = {
            name: {"aeTitle": peer.aet, "host": peer.host, "port": peer.dicom_port}
            for name, peer in (("hospital", source), ("research", destination))
        }
        addresses["hospital"]["services"] = services
        nodes = (document("DicomNode", name, {"dimse": dimse}) for name, dimse in addresses.items())
        manifests = adit.write("job.yaml", documents(*nodes) + job("night", STUDY))
        run = adit.start("run", "--receive", f"127.0.0.1:{port}", manifests)
        try:
            assert gate.reached.wait(90)
            wait_until(lambda: len(destination.holds) == 4, "half of it is stored")
            os.kill(postmaster(tmp_path), signal.SIGKILL)
            gate.opened.set()
            ended = adit.end(run)
        finally:
            adit.close()
    assert ended.code == 0, ended.err
    assert ended.json["job"]["verified"] == 8
    assert destination.stores() == Counter(STUDY.sop_instance_uids)


def postmaster(tmp_path: Path) -> int:
    return int((tmp_path / "data/postgres/cluster/postmaster.pid").read_text().splitlines()[0])
