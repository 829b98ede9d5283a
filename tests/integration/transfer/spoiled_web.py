"""Orthanc's DICOMweb with an answer spoiled here and there, and whether a study came through it as it was.

Used by the tests of DICOMweb and of roads."""

from __future__ import annotations

from collections.abc import Callable

from tests.peers import Orthanc, ScriptedWeb
from tests.peers.scripted_web import Asked, Reply, relayed
from tests.samples import Study

BRIEF = {"connectSeconds": 5, "answerSeconds": 20, "networkSeconds": 20, "busySeconds": 3}
Spoil = Callable[[Asked], Reply | None]


def spoiled(server: Orthanc, spoil: Spoil) -> ScriptedWeb:
    """Stands before the server, and answers itself where `spoil` says how."""
    return ScriptedWeb(lambda asked: spoil(asked) or relayed(server.dicomweb_url, asked))


def assert_arrived(destination: Orthanc, source: Orthanc, study: Study) -> None:
    assert destination.instances_of(study.study_instance_uid) == study.sop_instance_uids
    for uid in study.sop_instance_uids:
        assert data_set(destination.instance_file(uid)) == data_set(source.instance_file(uid))


def data_set(file: bytes) -> bytes:
    return file[144 + int.from_bytes(file[140:144], "little") :]


def once(reply: Callable[[Asked], Reply], resource: str) -> Spoil:
    """Spoils the first request for this resource."""
    left = [reply]

    def spoil(asked: Asked) -> Reply | None:
        path = asked.path.partition("?")[0]
        return left.pop()(asked) if left and path.endswith(resource) else None

    return spoil
