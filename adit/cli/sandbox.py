"""PACSs to play with: real Orthancs where one is installed, else pynetdicom's qrscp. Used by `adit demo`.

They listen on this machine only, keep everything in the folder they are given, and end with the block
that they are started in.
"""

from __future__ import annotations

import json
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from adit.cli.console import fail
from adit.model.dicom_node import DicomNode, DicomNodeSpec, Dimse
from adit.model.resource import ObjectMeta

HOST: Final = "127.0.0.1"
_START_SECONDS: Final = 30.0
_ORTHANCS: Final = ("Orthanc", "/usr/sbin/Orthanc")


class Product(StrEnum):
    """What a sandbox PACS is."""

    ORTHANC = "Orthanc"
    QRSCP = "qrscp"


def installed_orthanc() -> str | None:
    """The path of an Orthanc, if one is installed."""
    return next((path for each in _ORTHANCS if (path := shutil.which(each))), None)


@dataclass(frozen=True, slots=True)
class SandboxPacs:
    """One running PACS."""

    name: str
    ae_title: str
    product: Product
    dicom_port: int
    http_port: int
    folder: Path

    @property
    def node(self) -> DicomNode:
        """The DicomNode that stands for it."""
        dimse = Dimse(ae_title=self.ae_title, host=HOST, port=self.dicom_port)
        return DicomNode(metadata=ObjectMeta(name=self.name), spec=DicomNodeSpec(dimse=dimse))

    def instances_of(self, study_instance_uid: str) -> set[str]:
        """The SOP Instance UIDs that it holds of a study, by its own book-keeping and not by DICOM."""
        if self.product is Product.ORTHANC:
            return self._asked_by_rest(study_instance_uid)
        with closing(sqlite3.connect(f"file:{self.folder / 'index.sqlite'}?mode=ro", uri=True)) as index:
            rows = index.execute(
                "SELECT sop_instance_uid FROM instance WHERE study_instance_uid = ?", (study_instance_uid,)
            )
            return {str(uid) for (uid,) in rows}

    def _asked_by_rest(self, study_instance_uid: str) -> set[str]:
        query = {"Level": "Instance", "Query": {"StudyInstanceUID": study_instance_uid}, "Expand": True}
        request = urllib.request.Request(f"http://{HOST}:{self.http_port}/tools/find", json.dumps(query).encode())
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return {str(each["MainDicomTags"]["SOPInstanceUID"]) for each in json.load(answer)}


@contextmanager
def sandbox_pacs(name: str, ae_title: str, folder: Path, product: Product) -> Iterator[SandboxPacs]:
    """A PACS of that AE title, empty at first, until the block ends."""
    folder.mkdir(parents=True)
    dicom_port, http_port = _free_ports(2)
    pacs = SandboxPacs(name, ae_title, product, dicom_port, http_port, folder)
    command = _orthanc_command(pacs) if product is Product.ORTHANC else _qrscp_command(pacs)
    with (folder / "log").open("ab") as log:
        # in a session of its own: a Ctrl-C is for us, and the PACS must answer until we have stopped
        process = subprocess.Popen(
            [*_ends_with_us(), *command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait_for(process, pacs)
        yield pacs
    finally:
        _end(process)


def _ends_with_us() -> list[str]:
    """Where there is setpriv (util-linux), a PACS ends even if we are killed."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


def _orthanc_command(pacs: SandboxPacs) -> list[str]:
    program = installed_orthanc()
    if program is None:
        fail("No Orthanc is installed: apt-get install orthanc, or take --pacs qrscp.")
    path = pacs.folder / "orthanc.json"
    configuration = {
        "Name": pacs.name,
        "StorageDirectory": str(pacs.folder / "storage"),
        "IndexDirectory": str(pacs.folder / "storage"),
        "DicomAet": pacs.ae_title,
        "DicomPort": pacs.dicom_port,
        "HttpPort": pacs.http_port,
        "AuthenticationEnabled": False,
        "RemoteAccessAllowed": False,
        "DicomAlwaysAllowStore": True,
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "DicomCheckCalledAet": False,
        "UnknownSopClassAccepted": True,
        "OverwriteInstances": True,
        "Plugins": [],
    }
    path.write_text(json.dumps(configuration, indent=2), encoding="utf-8")
    return [program, str(path)]


def _qrscp_command(pacs: SandboxPacs) -> list[str]:
    configuration = pacs.folder / "qrscp.ini"
    configuration.write_text(
        "[DEFAULT]\n"
        f"ae_title: {pacs.ae_title}\nport: {pacs.dicom_port}\nbind_address: {HOST}\n"
        "max_pdu: 0\nacse_timeout: 30\ndimse_timeout: 30\nnetwork_timeout: 60\nlog_identifier: False\n"
        f"instance_location: {pacs.folder / 'instances'}\ndatabase_location: {pacs.folder / 'index.sqlite'}\n",
        encoding="utf-8",
    )
    return [sys.executable, "-m", "pynetdicom", "qrscp", "-q", "--config", str(configuration)]


def _free_ports(count: int) -> list[int]:
    """Ports that nobody uses now."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((HOST, 0))
        return [probe.getsockname()[1] for probe in probes]


def _wait_for(process: subprocess.Popen[bytes], pacs: SandboxPacs) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection((HOST, pacs.dicom_port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    fail(f"The sandbox PACS {pacs.name} ({pacs.product}) did not start; its log is {pacs.folder / 'log'}.")


def _end(process: subprocess.Popen[bytes]) -> None:
    """At once: nothing that it holds is needed any more."""
    process.kill()
    process.wait()
