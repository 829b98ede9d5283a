"""What can be watched of a receiver: every number that /metrics shows, by its one name.

Set by the rooms that know the number; served by `health`. No label holds what a peer sent.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from prometheus_client import Counter, Gauge


class Fate(StrEnum):
    """What became of an object that a peer sent."""

    TAKEN = "taken"  # by a worker, or by the inbox: acknowledged with success
    UNCLAIMED = "unclaimed"  # nobody waits for it: refused
    REFUSED = "refused"  # by the worker that waits for its study
    LOST = "lost"  # the worker that waited for it is gone, or went while it took it over: refused
    LEDGER_AWAY = "ledger-away"  # nobody could be asked who waits for it: refused
    UNREADABLE = "unreadable"  # it does not say which instance of which study it is, or says two things
    TOO_BIG = "too-big"
    NO_ROOM = "no-room"  # the inbox cannot keep it


CONNECTIONS: Final = Counter("adit_receiver_connections", "Connections by what became of them", ["result"])
ASSOCIATIONS: Final = Gauge("adit_receiver_open_associations", "Associations that are open")
OBJECTS: Final = Counter("adit_receiver_objects", "Objects that peers sent, by what became of them", ["fate"])
BYTES: Final = Counter("adit_receiver_received_bytes", "Bytes of data sets that peers sent")
