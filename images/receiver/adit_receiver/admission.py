"""Who may associate with us, and when: pure decisions. Asked by `listener` and `association`."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address

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
