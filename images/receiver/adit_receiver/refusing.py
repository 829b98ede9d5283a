"""Where objects go that nobody can be asked about: nowhere. The receiver swallows nothing."""

from __future__ import annotations

from adit.dicom.dimse.status import OUT_OF_RESOURCES
from adit_receiver.counts import Fate
from adit_receiver.outlet import Arrival, Outlet, Refused


class Refusing:
    """Implements `Outlets`."""

    def open(self, arrival: Arrival) -> Outlet:
        raise Refused(Fate.UNCLAIMED, OUT_OF_RESOURCES)

    def close(self) -> None:
        return
