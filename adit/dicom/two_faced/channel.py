"""Storing at a peer by C-STORE or STOW-RS: the better of what works, the other where that fails. Made by `node`.

Nothing that was acknowledged is sent again. An instance whose form one way refuses (its SOP class, its transfer
syntax) is offered by the other; one that is refused for what it is stays refused.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from adit.dicom.node import BatchChannel, Instance, StoreChannel, Stored
from adit.dicom.roads import worth_telling
from adit.model.outcome import Fault, FaultCode, TransferFault

_OF_THE_FORM: Final = frozenset({FaultCode.SOP_CLASS_REFUSED, FaultCode.TRANSFER_SYNTAX_REFUSED})
_NO_WAY_IN: Final = frozenset(
    {
        FaultCode.NODE_UNREACHABLE,
        FaultCode.ASSOCIATION_REJECTED,
        FaultCode.ASSOCIATION_REJECTED_TRANSIENT,
        FaultCode.SERVICE_NOT_OFFERED,
        FaultCode.PERMISSION_DENIED,
        FaultCode.TLS_FAILED,
        FaultCode.SECRET_MISSING,
    }
)
"""Nothing was sent: the other way is taken at once."""
_ON_THE_WAY: Final = frozenset(
    {FaultCode.ASSOCIATION_ABORTED, FaultCode.NODE_TIMEOUT, FaultCode.STORE_FAILED, FaultCode.OUT_OF_RESOURCES}
)
"""Something was sent: who sends it again counts how often, because the instance itself may be the cause; and waits a
while, because a way that is busy may be so behind both.
"""
Form = tuple[str, str]  # SOP class, transfer syntax


@dataclass(frozen=True, slots=True)
class Way:
    name: str  # such as STOW-RS
    open: Callable[[Collection[str]], StoreChannel]


class Ways:
    """What is known of a node's ways to store; shared by its channels, so that each need not find out."""

    def __init__(self, best_first: Sequence[Way]) -> None:
        self._lock = threading.Lock()
        self._order = list(best_first)
        self._refused: set[tuple[str, Form]] = set()
        self._met: dict[str, FaultCode | None] = {}

    @property
    def met(self) -> Mapping[str, FaultCode | None]:
        """Each way that was tried, and what was wrong with it the last time; None where nothing was."""
        with self._lock:
            return dict(self._met)

    def try_last(self, names: Collection[str]) -> None:
        with self._lock:
            self._order.sort(key=lambda way: way.name in names)

    def in_order(self, form: Form | None = None) -> list[Way]:
        """The best first, those that refused such an instance last."""
        with self._lock:
            return sorted(self._order, key=lambda way: form is not None and (way.name, form) in self._refused)

    @property
    def refuse_some(self) -> bool:
        with self._lock:
            return bool(self._refused)

    def refuses(self, way: Way, form: Form) -> None:
        with self._lock:
            self._refused.add((way.name, form))

    def works(self, way: Way) -> None:
        with self._lock:
            self._met[way.name] = None

    def fails(self, way: Way, code: FaultCode) -> None:
        """It is taken last from now on."""
        with self._lock:
            self._met[way.name] = code
            self._order.remove(way)
            self._order.append(way)


class Channel:
    """Implements `adit.dicom.node.BatchChannel`. Holds an association of one way at a time at most."""

    def __init__(self, ways: Ways, sop_class_uids: Collection[str]) -> None:
        self._ways = ways
        self._sop_class_uids = sop_class_uids
        self._channels: dict[str, StoreChannel] = {}
        self._at: str | None = None

    @property
    def instances_at_once(self) -> int:
        """One, too, once a form was refused: then each instance goes its own way."""
        best = self._peek(self._ways.in_order()[0])
        return best.instances_at_once if isinstance(best, BatchChannel) and not self._ways.refuse_some else 1

    @property
    def bytes_at_once(self) -> int:
        best = self._peek(self._ways.in_order()[0])
        return best.bytes_at_once if isinstance(best, BatchChannel) else 0

    def store(self, instance: Instance) -> Stored:
        met: list[Fault] = []
        form = instance.sop_class_uid, instance.transfer_syntax_uid
        for way in self._ways.in_order(form):
            try:
                stored = self._by(way).store(instance)
            except TransferFault as error:
                fault = error.fault
                if fault.sop_instance_uid is not None:
                    if fault.code not in _OF_THE_FORM:
                        raise
                    self._ways.refuses(way, form)
                else:
                    if fault.code in _NO_WAY_IN or fault.code in _ON_THE_WAY:
                        self._ways.fails(way, fault.code)
                    if fault.code not in _NO_WAY_IN:
                        raise
                met.append(fault)
            else:
                self._ways.works(way)
                return stored
        raise TransferFault(_of_all(met, instance))

    def store_all(self, instances: Sequence[Instance]) -> Sequence[Stored | Fault | None]:
        """By the best way, where it takes several; what it cannot take is to be sent alone."""
        way = self._ways.in_order()[0]
        channel = self._by(way)
        if not isinstance(channel, BatchChannel):
            return [None] * len(instances)
        try:
            outcomes = channel.store_all(instances)
        except TransferFault as error:
            fault = error.fault
            if fault.sop_instance_uid is None and (fault.code in _NO_WAY_IN or fault.code in _ON_THE_WAY):
                self._ways.fails(way, fault.code)
                if fault.code in _NO_WAY_IN:
                    return [None] * len(instances)
            raise
        self._ways.works(way)
        return [self._unless_of_form(way, one, outcome) for one, outcome in zip(instances, outcomes, strict=True)]

    def close(self) -> None:
        self._leave()

    def _unless_of_form(self, way: Way, instance: Instance, outcome: Stored | Fault | None) -> Stored | Fault | None:
        if isinstance(outcome, Fault) and outcome.code in _OF_THE_FORM:
            self._ways.refuses(way, (instance.sop_class_uid, instance.transfer_syntax_uid))
            return None
        return outcome

    def _by(self, way: Way) -> StoreChannel:
        if self._at != way.name:
            self._leave()
            self._at = way.name
        return self._peek(way)

    def _peek(self, way: Way) -> StoreChannel:
        """Opening one connects to nobody yet."""
        if way.name not in self._channels:
            self._channels[way.name] = way.open(self._sop_class_uids)
        return self._channels[way.name]

    def _leave(self) -> None:
        """One that is closed associates anew when it is used again."""
        if self._at is not None:
            self._channels[self._at].close()
            self._at = None


def _of_all(met: Sequence[Fault], instance: Instance) -> Fault:
    """Where one way refused the instance's form and the other could not be tried, only the instance is at fault."""
    worst = worth_telling(met)
    if any(fault.sop_instance_uid is not None for fault in met):
        return worst.model_copy(update={"sop_instance_uid": instance.sop_instance_uid})
    return worst
