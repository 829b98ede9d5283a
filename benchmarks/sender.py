"""Our C-STORE SCU with the files of a folder, as a task has it that goes to a PACS. Used by `sending`, `receiving`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from adit.dicom.dimse.node import DimseNode
from adit.dicom.folder import FolderNode
from adit.dicom.node import Instance, Wanted
from adit.dicom.payload import MemoryPayload, ReceivedInstance
from adit.model.assignment import Share
from adit.model.dicom_node import Dimse
from benchmarks.studies import ct_study, study_uid


class Peer(Protocol):
    """As the peers of the tests have it."""

    @property
    def aet(self) -> str: ...
    @property
    def host(self) -> str: ...
    @property
    def dicom_port(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Address:
    """A Peer that can be told to another process."""

    aet: str
    host: str
    dicom_port: int


@dataclass(frozen=True, slots=True)
class Sent:
    """Moments of the clock that all processes of a machine share."""

    begun: float
    ended: float

    @property
    def seconds(self) -> float:
        return self.ended - self.begun


def study_folder(folder: Path, number: int, *, side: int = 512, study: int = 1) -> Path:
    """`number` CT slices, of 0.53 MB each if nothing else is said."""
    folder.mkdir(parents=True)
    for index, content in enumerate(ct_study(number, side=side, study=study)):
        (folder / f"{index:06}.dcm").write_bytes(content)
    return folder


def instances_of(folder: Path, study: int = 1) -> list[Instance]:
    found: list[Instance] = []
    FolderNode("study", folder, Share()).fetch(Wanted(study_uid(study)), found.append)
    return found


def in_memory(instances: Sequence[Instance]) -> list[Instance]:
    """As they are when a source has just sent them: the sender does not wait for a disk."""
    return [_loaded(each) for each in instances]


def _loaded(instance: Instance) -> Instance:
    with instance.open() as reader:
        payload = MemoryPayload(reader.read())
    return ReceivedInstance(
        instance.study_instance_uid,
        instance.series_instance_uid,
        instance.sop_class_uid,
        instance.sop_instance_uid,
        instance.transfer_syntax_uid,
        payload,
    )


def send(peer: Peer, instances: Sequence[Instance]) -> Sent:
    """On one association, from its request to its release."""
    node = DimseNode("peer", Dimse(ae_title=peer.aet, host=peer.host, port=peer.dicom_port), Share())
    begun = time.monotonic()
    with closing(node.open_store({each.sop_class_uid for each in instances})) as channel:
        for each in instances:
            assert channel.store(each).warning is None
    return Sent(begun, time.monotonic())
