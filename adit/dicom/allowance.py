"""What an attempt may ask of a peer at once: connections, queries and bytes a second.

Used by the nodes of DIMSE peers and DICOMweb servers. A peer that has both faces has one allowance, so that the two
together stay within the attempt's share.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from adit.dicom.rate import TokenBucket
from adit.model.assignment import Share


class Allowance:
    """Safe for threads. `room` is held by each association, and by each exchange with a server while it lasts."""

    def __init__(self, share: Share, clock: Callable[[], float]) -> None:
        queries, size = share.queries_per_second, share.bytes_per_second
        self.associations = share.associations
        self.room = threading.BoundedSemaphore(share.associations)
        self.queries = TokenBucket(queries, max(1.0, queries), clock) if queries else None
        self.bytes = TokenBucket(size, size / 4, clock) if size else None
