"""C-STORE as SCU on one association, to a storescp that throws all away: ours against pynetdicom's send_c_store."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

from pynetdicom import AE
from pynetdicom.transport import AssociationSocket

from benchmarks.result import Result
from benchmarks.sender import instances_of, send, study_folder
from tests.peers.dcmtk import Storescp

_SLICES = 200
_ROUNDS = 5
_GOAL = 10


@dataclass(frozen=True, slots=True)
class _Run:
    rate: float  # files a second
    cpu: float  # ms of ours for each file


def measure(folder: Path) -> Iterator[Result]:
    """From a disk's cache, association included; medians of five rounds in turn."""
    study = study_folder(folder / "study", _SLICES)
    instances, files = instances_of(study), sorted(study.iterdir())
    with Storescp(folder, "--ignore", "--max-pdu", "131072") as sink:
        stock, ours, unstalled = [], [], []
        for _ in range(_ROUNDS):
            stock.append(_run(lambda: _pynetdicom(sink, files)))
            ours.append(_run(lambda: send(sink, instances)))
            with _acknowledged_at_once():
                unstalled.append(_run(lambda: _pynetdicom(sink, files)))
    rate, anchor = median(run.rate for run in ours), median(run.rate for run in stock)
    cpu, anchor_cpu = median(run.cpu for run in ours), median(run.cpu for run in stock)
    yield Result(
        name=f"send-{_SLICES}-ct",
        ours=rate,
        anchor=anchor,
        unit="files/s",
        goal=f"ratio >= {_GOAL}",
        holds=rate / anchor >= _GOAL,
        anchor_is="pynetdicom's send_c_store as it comes, to the same storescp",
    )
    yield Result(
        name=f"send-{_SLICES}-ct-unstalled",
        ours=rate,
        anchor=median(run.rate for run in unstalled),
        unit="files/s",
        goal="none: what is left when our cure of storescp's 40 ms stall is lent to pynetdicom",
        holds=True,
        anchor_is="pynetdicom's send_c_store with TCP_QUICKACK set again after each send and receive",
    )
    yield Result(
        name=f"send-{_SLICES}-ct-cpu",
        ours=cpu,
        anchor=anchor_cpu,
        unit="CPU ms a file",
        goal=f"ratio <= {1 / _GOAL:g}",
        holds=cpu / anchor_cpu <= 1 / _GOAL,
        anchor_is="pynetdicom's send_c_store; a busy machine changes it less than the rate",
    )


def _run(sends: Callable[[], object]) -> _Run:
    began, used = time.monotonic(), time.process_time()
    sends()
    return _Run(_SLICES / (time.monotonic() - began), (time.process_time() - used) * 1000 / _SLICES)


def _pynetdicom(sink: Storescp, files: list[Path]) -> None:
    entity = AE()
    entity.add_requested_context("1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1")
    association = entity.associate(sink.host, sink.dicom_port, ae_title=sink.aet)
    assert association.is_established
    for path in files:
        assert association.send_c_store(path).Status == 0
    association.release()


@contextmanager
def _acknowledged_at_once() -> Iterator[None]:
    plain = AssociationSocket.send, AssociationSocket.recv

    def send(self: AssociationSocket, content: bytes) -> None:
        plain[0](self, content)
        _acknowledge(self)

    def receive(self: AssociationSocket, count: int) -> Any:
        received = plain[1](self, count)
        _acknowledge(self)
        return received

    with patch.object(AssociationSocket, "send", send), patch.object(AssociationSocket, "recv", receive):
        yield


def _acknowledge(association: AssociationSocket) -> None:
    if association.socket is not None:
        association.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
