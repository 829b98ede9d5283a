"""What the destination holds already under the UIDs that will be sent to it. Asked once by `attempt`, after the plan.

A proof by C-FIND is the presence of a UID. An archive that keeps what it has under a UID, and still
answers Success to a store, would pass it with other content: so presence before the store is noted.
"""

from __future__ import annotations

from collections.abc import Collection

from adit.dicom.node import Level, Node, Query
from adit.transfer.plan import Plan


def holdings(destination: Node, plan: Plan, known: Collection[str]) -> frozenset[str]:
    """The SOP Instance UIDs that the destination lists in those planned series that are not wholly `known`.

    Asked without the patience of `Node.verify`: to have nothing is the usual answer. Empty where the
    node's proof compares content, and where it cannot be asked. Raises TransferFault when it cannot be
    asked now.
    """
    if destination.verifies_content or not destination.can_verify:
        return frozenset()
    held: set[str] = set()
    for series in plan.series:
        if series.instances and all(instance.sop_instance_uid in known for instance in series.instances):
            continue
        keys = {"StudyInstanceUID": plan.study_instance_uid, "SeriesInstanceUID": series.series_instance_uid}
        held.update(str(answer.get("SOPInstanceUID", "")) for answer in destination.find(Query(Level.IMAGE, keys)))
    return frozenset(held)
