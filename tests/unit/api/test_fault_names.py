"""A fault has the same names in the API's answers as in manifests, probes and statuses that the command line writes."""

from adit.model.outcome import Fault, FaultCode
from adit_api.job_view import FaultView

FAULT = Fault(
    code=FaultCode.STORE_FAILED, message="No.", cure="Yes.", node="pacs", sop_instance_uid="1.2.3", status=0xA700
)


def test_a_fault_is_told_alike_everywhere() -> None:
    assert FAULT.as_json() == FaultView.of(FAULT).model_dump(mode="json")
    assert not any("_" in name for name in FAULT.as_json())
