"""What a PACS lists is asked for until all is there: by series, by name where it may be, by series again."""

from __future__ import annotations

from collections.abc import Iterator

from adit.dicom.dimse.verify import verify
from adit.dicom.node import Answer, Query, Stored
from adit.model.outcome import Fault, FaultCode, TransferFault


class _Peer:
    def describe(
        self, code: FaultCode, message: str, cure: str, *, instance: str | None = None, status: int | None = None
    ) -> Fault:
        return Fault(code=code, message=message, cure=cure, sop_instance_uid=instance, status=status)


def _stored(uid: str) -> Stored:
    return Stored(uid, "1.2.1", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2", 1, "")


def test_a_pacs_that_lists_late_and_takes_no_lists_of_names_is_asked_for_the_series_again() -> None:
    asked: list[str | None] = []

    def find(query: Query) -> Iterator[Answer]:
        names = query.keys.get("SOPInstanceUID")
        asked.append(names)
        if names is not None:
            raise TransferFault(_Peer().describe(FaultCode.QUERY_FAILED, "The query failed.", "See its log."))
        yield {"SOPInstanceUID": "1"}
        if len(asked) > 2:
            yield {"SOPInstanceUID": "2"}
            yield {"SOPInstanceUID": "3"}

    stored = [_stored(uid) for uid in "123"]
    proofs = list(verify(_Peer(), find, lambda seconds: None, (0.0, 0.0), "1.2", stored, lists=True))
    assert [(proof.sop_instance_uid, proof.present) for proof in proofs] == [("1", True), ("2", True), ("3", True)]
    assert asked == [None, None, "2\\3", None]
