"""Every final status of a query, a fetch and a store leads to the fault that says what to do."""

import pytest

from adit.dicom.dimse.peer import Peer
from adit.dicom.dimse.status import fetch_faults, find_fault, store_fault
from adit.dicom.node import FetchReport
from adit.model.dicom_node import Dimse
from adit.model.outcome import FaultCode

PEER = Peer("pacs", Dimse(ae_title="PACS", host="localhost", port=104))


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (0xA700, FaultCode.OUT_OF_RESOURCES),
        (0xA900, FaultCode.QUERY_FAILED),
        (0xC001, FaultCode.QUERY_FAILED),
        (0xFE00, FaultCode.QUERY_FAILED),
        (0x0122, FaultCode.SERVICE_NOT_OFFERED),
        (0x0124, FaultCode.PERMISSION_DENIED),
    ],
)
def test_a_query(status: int, code: FaultCode) -> None:
    fault = find_fault(PEER, status)
    assert (fault.code, fault.node, fault.status) == (code, "pacs", status)
    assert fault.cure


@pytest.mark.parametrize(
    ("status", "counts", "delivered", "codes"),
    [
        (0x0000, (3, 0, 0), 3, []),
        (0x0000, (0, 0, 0), 0, [FaultCode.NOTHING_RECEIVED]),
        (0x0000, (0, 3, 0), 0, [FaultCode.FETCH_FAILED]),  # GE, Synapse
        (0x0000, (2, 1, 0), 2, [FaultCode.INCOMPLETE]),
        (0x0000, (3, 0, 0), 2, [FaultCode.INCOMPLETE]),  # it says more than it did
        (0x0000, (1, 0, 2), 3, [FaultCode.FETCHED_WITH_WARNING]),
        (0xB000, (0, 0, 0), 3, [FaultCode.FETCHED_WITH_WARNING]),
        (0xB000, (2, 1, 0), 2, [FaultCode.INCOMPLETE]),
        (0xB000, (0, 3, 0), 0, [FaultCode.FETCH_FAILED]),
        (0xA701, (0, 0, 0), 0, [FaultCode.OUT_OF_RESOURCES]),
        (0xA702, (1, 2, 0), 1, [FaultCode.OUT_OF_RESOURCES]),
        (0xA900, (0, 0, 0), 0, [FaultCode.FETCH_FAILED]),
        (0xC001, (0, 0, 0), 0, [FaultCode.FETCH_FAILED]),
        (0xFE00, (1, 0, 0), 1, [FaultCode.FETCH_FAILED]),
        (0x0122, (0, 0, 0), 0, [FaultCode.SERVICE_NOT_OFFERED]),
        (0x0124, (0, 0, 0), 0, [FaultCode.PERMISSION_DENIED]),
    ],
)
def test_a_fetch(status: int, counts: tuple[int, int, int], delivered: int, codes: list[FaultCode]) -> None:
    completed, failed, warning = counts
    faults = fetch_faults(PEER, status, FetchReport("C-GET", completed, failed, warning), delivered)
    assert [fault.code for fault in faults] == codes


@pytest.mark.parametrize("status", [0x0000, 0xB000, 0xA702])
def test_what_could_not_be_sent_is_named_and_the_cure_is_not_to_ask_less(status: int) -> None:
    report = FetchReport("C-GET", 1, 2, 0, ("1.2.3", "1.2.4"))
    [fault] = fetch_faults(PEER, status, report, 1, 3)
    assert "2 of 3 instances (1.2.3, 1.2.4)" in fault.message
    assert "presentation context" in fault.cure
    assert "limits" not in fault.cure


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (0x0000, None),
        (0xB000, FaultCode.STORED_WITH_WARNING),
        (0xB006, FaultCode.STORED_WITH_WARNING),
        (0xB007, FaultCode.STORED_WITH_WARNING),
        (0x0111, FaultCode.STORED_WITH_WARNING),
        (0xA700, FaultCode.OUT_OF_RESOURCES),
        (0xA7FF, FaultCode.OUT_OF_RESOURCES),
        (0xA900, FaultCode.INSTANCE_REFUSED),
        (0xC000, FaultCode.INSTANCE_REFUSED),
        (0xCFFF, FaultCode.INSTANCE_REFUSED),
        (0x0122, FaultCode.SOP_CLASS_REFUSED),
        (0x0124, FaultCode.PERMISSION_DENIED),
        (0x0110, FaultCode.STORE_FAILED),
        (0xFF00, FaultCode.STORE_FAILED),
    ],
)
def test_a_store(status: int, code: FaultCode | None) -> None:
    fault = store_fault(PEER, "1.2.3", "CT Image Storage", status)
    assert (fault.code if fault else None) == code
    if fault is not None:
        assert (fault.sop_instance_uid, fault.node, fault.status) == ("1.2.3", "pacs", status)
        assert fault.cure
