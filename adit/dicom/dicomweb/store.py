"""STOW-RS (PS3.18 10.5): instances as they are, and the server's word on each. Made by `node`.

A channel has no connection of its own: each request takes one of the attempt's share, most often one that is open.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from adit.dicom.dicomweb import json_answer
from adit.dicom.dicomweb.client import Answer, Client, TooLongError
from adit.dicom.dicomweb.outcome import Outcomes, outcomes, verdict
from adit.dicom.dicomweb.status import refusal
from adit.dicom.dicomweb.upload import Upload
from adit.dicom.node import Instance, Stored
from adit.model.dicom_web import WebService
from adit.model.outcome import Fault, FaultCode, TransferFault

ROAD: Final = "STOW-RS"
_ACCEPT: Final = "application/dicom+json"
_MAX_BODY: Final = 16 * 2**20
_ITEMIZED: Final = frozenset({200, 202, 400, 409})
"""Statuses with which a server lists what became of each instance; some answer 400 where 409 or 202 is meant."""
_OF_THE_INSTANCE: Final = frozenset({400, 409, 413, 415, 422})
"""What a server may say of a request because of the one instance in it."""


class Batching:
    """How much a server takes in one request; shared by a node's channels, so that each need not find out."""

    def __init__(self) -> None:
        self.instances = 16
        self.size = 8 * 2**20

    def end(self) -> None:
        self.instances = 1


class Channel:
    """Implements `adit.dicom.node.BatchChannel`.

    A request with several instances saves a round trip for each: on the same machine nothing, over 50 ms most of
    the time. Of a server that refuses one as a whole none is asked for again.
    """

    def __init__(self, client: Client, batching: Batching) -> None:
        self._client = client
        self._server = client.server
        self._batching = batching

    @property
    def instances_at_once(self) -> int:
        return self._batching.instances

    @property
    def bytes_at_once(self) -> int:
        return self._batching.size

    def store(self, instance: Instance) -> Stored:
        [outcome] = self.store_all([instance])
        if isinstance(outcome, Stored):
            return outcome
        raise TransferFault(outcome)

    def close(self) -> None:
        """Nothing is held between requests."""

    def store_all(self, instances: Sequence[Instance]) -> list[Stored | Fault]:
        """In one request; an instance that stands in it twice has the server's one word for both."""
        path = self._server.path(WebService.STOW, "studies")
        uploads: list[Upload] = []

        def body() -> Upload:
            uploads.append(Upload(self._server, instances, self._client.meter))
            return uploads[-1]

        with self._client.exchange("POST", path, accept=_ACCEPT, body=body) as answer:
            upload = uploads[-1]
            if answer.status in _ITEMIZED and (found := self._outcomes(answer)) is not None:
                return [self._outcome(upload, place, found, answer.status) for place in range(len(instances))]
            if answer.status in _OF_THE_INSTANCE:
                if len(instances) == 1:
                    return [self._refused(instances[0], answer.status)]
                self._batching.end()
            raise TransferFault(refusal(self._server, answer.status, "the storage", FaultCode.STORE_FAILED))

    def _outcomes(self, answer: Answer) -> Outcomes | None:
        """None where the answer says nothing about any instance."""
        try:
            found = outcomes(answer.content(_MAX_BODY))
        except (json_answer.MalformedError, TooLongError):
            found = Outcomes()
        if not found.stored and not found.failed and answer.status >= 400:
            return None
        return found

    def _outcome(self, upload: Upload, place: int, found: Outcomes, http_status: int) -> Stored | Fault:
        instance = upload.instances[place]
        uid = instance.sop_instance_uid
        fault = verdict(self._server, uid, instance.sop_class_uid, found, http_status)
        if fault is not None and fault.code is not FaultCode.STORED_WITH_WARNING:
            return fault
        if place >= len(upload.sent):
            return self._server.describe(
                FaultCode.STORE_FAILED,
                "The node says that it stored the instance before it had all of it",
                "The server breaks PS3.18 10.5; report it to its vendor.",
                instance=uid,
            )
        return Stored(
            sop_instance_uid=uid,
            series_instance_uid=instance.series_instance_uid,
            sop_class_uid=instance.sop_class_uid,
            transfer_syntax_uid=instance.transfer_syntax_uid,
            size=instance.size,
            sha256=upload.sent[place],
            warning=fault,
            road=ROAD,
        )

    def _refused(self, instance: Instance, status: int) -> Fault:
        return self._server.describe(
            FaultCode.INSTANCE_REFUSED,
            f"The node refuses the instance and does not say why (HTTP {status})",
            "Look for this moment in the node's log.",
            instance=instance.sop_instance_uid,
        )
