"""Who may associate with us, and when: pure decisions. Asked by `listener` and `association`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from ipaddress import ip_address
from typing import Final, Protocol, TypeVar

from adit.dicom.dimse.negotiation import APPLICATION_CONTEXT
from adit_receiver.negotiation import Rejection, Request
from adit_receiver.settings import Network, ReceiverSettings


def may_connect(host: str, networks: Collection[Network]) -> bool:
    """Whether a connection from this address is taken at all; all are where no network is named."""
    if not networks:
        return True
    address = ip_address(host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)  # how an IPv4 peer looks to an IPv6 socket
    return any((mapped or address) in network for network in networks)


def refusal(request: Request, settings: ReceiverSettings) -> Rejection | None:
    """Why an association is refused for good, if it is."""
    if not request.version & 1:
        return Rejection.PROTOCOL_VERSION
    if request.application_context != APPLICATION_CONTEXT:
        return Rejection.APPLICATION_CONTEXT
    if settings.own_titles and request.called not in settings.own_titles:
        return Rejection.CALLED_AE_TITLE
    if settings.calling_titles and request.calling not in settings.calling_titles:
        return Rejection.CALLING_AE_TITLE
    return None


class Place(Protocol):
    """One association's, as far as it matters to who would like to have it."""

    @property
    def host(self) -> str: ...
    @property
    def silent_since(self) -> float | None:
        """None amid a message."""
        ...


_Place = TypeVar("_Place", bound=Place)
_KEPT: Final = 10  # one in so many


def is_free(host: str, taken: Collection[Place], places: int) -> bool:
    """Whether there is a place for one more from this address; the last ones are for addresses that have none.

    Else one that keeps all its associations busy, however slowly, would keep everybody else out.
    """
    kept = places // _KEPT if any(place.host == host for place in taken) else 0
    return places - len(taken) > kept


def place_for(host: str, taken: Collection[_Place], silent_before: float) -> _Place | None:
    """Which place goes to a newcomer where none is free; None if none does.

    The longest silent one's, of the address that has most of them: an address may have all places while nobody else
    wants any, and then keeps its share. What it loses says nothing, so that nothing of it is under way.
    """
    by_host = Counter(place.host for place in taken)
    most = max(by_host.values(), default=0)
    if most <= by_host[host] + 1:
        return None
    silent = [
        (since, place)
        for place in taken
        if by_host[place.host] == most and (since := place.silent_since) is not None and since < silent_before
    ]
    return min(silent, key=lambda each: each[0])[1] if silent else None
