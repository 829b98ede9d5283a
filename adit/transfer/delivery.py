"""Brings what is in the channel to the destination, by several store channels at once.

Started by `attempt` before the fetch; one thread per association of the destination's share.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from typing import Final

from adit.dicom.node import BatchChannel, Instance, Node, StoreChannel, Stored
from adit.model.outcome import Fault, FaultCode, Outcome, TransferFault
from adit.transfer.channel import Channel, Parcel
from adit.transfer.halt import Halt
from adit.transfer.intake import Treat
from adit.transfer.patience import Patience
from adit.transfer.plan import conflict
from adit.transfer.roster import Roster

_CASUALTIES: Final = 2
"""An instance that was on board of so many dying channels is taken for the cause and set aside."""

_ON_THE_WAY: Final = {FaultCode.ASSOCIATION_ABORTED, FaultCode.NODE_TIMEOUT, FaultCode.STORE_FAILED}
"""How a channel dies that existed: another fault says that there was none, which is no instance's doing."""

_EVERYONES: Final = {FaultCode.DISK_FULL, FaultCode.PERMISSION_DENIED, FaultCode.FOLDER_MISSING}
"""What one instance met, every other one will meet: fetching on would be in vain."""


class Delivery:
    """The store threads of one attempt.

    A thread whose channel cannot be had retires; when the last one does, the channel fails with its
    fault and the fetch ends. What was acknowledged is never sent again: a parcel goes back only when
    its store call ended without an acknowledgement.
    """

    def __init__(
        self,
        destination: Node,
        source: str,
        channel: Channel,
        roster: Roster,
        treat: Treat,
        halt: Halt,
        patience: Patience,
        *,
        associations: int,
        sop_class_uids: Collection[str],
        retired: Callable[[Fault], None],
    ) -> None:
        self._destination = destination
        self._source = source
        self._channel = channel
        self._roster = roster
        self._treat = treat
        self._halt = halt
        self._sop_class_uids = sop_class_uids
        self._retired = retired
        self._reopen = patience.reopen
        self._lock = threading.Lock()
        self._working = associations
        self.error: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._run, name=f"store-{n}", daemon=True) for n in range(associations)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        """Waits until every parcel is settled or the channel has failed."""
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        try:
            fault = self._work()
        except Exception as error:  # noqa: BLE001 - raised again by the attempt's main thread
            self.error = error
            fault = Fault(code=FaultCode.UNEXPECTED, message="A store thread failed.", node=self._destination.name)
            self._channel.fail(fault)
        if fault is not None:
            self._retire(fault)

    def _retire(self, fault: Fault) -> None:
        with self._lock:
            self._working -= 1
            last = self._working == 0
        if last:
            self._channel.fail(fault)
        else:
            self._retired(fault)

    def _work(self) -> Fault | None:
        """Stores until the channel is done; the fault that made it give up, if one did."""
        road: StoreChannel | None = None
        deaths = 0  # in a row
        try:
            while (parcel := self._channel.take()) is not None:
                load = [parcel]
                try:
                    if road is None:
                        road = self._destination.open_store(self._sop_class_uids)
                    load += self._more(road, parcel)
                    self._store(road, load)
                    deaths = 0
                except _ChannelDied as died:
                    if road is not None:
                        road.close()
                        road = None
                    self._give_back(load, died)
                    deaths += 1
                    if not self._try_again(died.fault, deaths):
                        return died.fault
                except TransferFault as unopened:
                    self._channel.put_back(parcel)
                    deaths += 1
                    if not self._try_again(unopened.fault, deaths):
                        return unopened.fault
                except BaseException:
                    for one in load:
                        self._channel.put_back(one)
                    raise
        finally:
            if road is not None:
                road.close()
        return None

    def _more(self, road: StoreChannel, parcel: Parcel) -> list[Parcel]:
        if parcel.alone or not isinstance(road, BatchChannel):
            return []
        return self._channel.take_more(parcel, road.instances_at_once, road.bytes_at_once)

    def _store(self, road: StoreChannel, load: list[Parcel]) -> None:
        """Each parcel to its end, acknowledged or refused; what is left in `load` got no answer.

        Raises _ChannelDied when the channel is of no use any more.
        """
        treated = [(parcel, instance) for parcel in list(load) if (instance := self._treated(parcel, load)) is not None]
        try:
            for (parcel, _), outcome in zip(treated, self._send(road, [one for _, one in treated]), strict=True):
                if outcome is None:
                    parcel.alone = True
                    load.remove(parcel)
                    self._channel.put_back(parcel)
                    continue
                self._note(parcel, outcome)
                self._settle(parcel, load)
        finally:
            for parcel, instance in treated:
                if instance is not parcel.instance:
                    instance.close()

    def _treated(self, parcel: Parcel, load: list[Parcel]) -> Instance | None:
        """What is to be sent of it; None when it ends here."""
        uid = parcel.instance.sop_instance_uid
        try:
            treated = self._treat(parcel.instance)
            if treated is not None:
                return treated
            self._roster.leave_out(uid)
        except TransferFault as fault:
            self._roster.fail(uid, fault.fault)
        self._settle(parcel, load)
        return None

    def _send(self, road: StoreChannel, instances: Sequence[Instance]) -> Sequence[Stored | Fault | None]:
        """An outcome for each; None for one that is to go alone."""
        try:
            if len(instances) > 1 and isinstance(road, BatchChannel):
                return road.store_all(instances)
            return [road.store(one) for one in instances]
        except TransferFault as fault:
            if fault.fault.sop_instance_uid is None:
                raise _ChannelDied(fault.fault) from fault
            culprit = fault.fault.sop_instance_uid
            return [
                fault.fault if len(instances) == 1 or one.sop_instance_uid == culprit else None for one in instances
            ]

    def _note(self, parcel: Parcel, outcome: Stored | Fault) -> None:
        uid = parcel.instance.sop_instance_uid
        if isinstance(outcome, Stored):
            if not self._roster.stored(outcome):
                self._roster.fail(uid, conflict(uid, self._source))
            return
        self._roster.fail(uid, outcome)
        if outcome.code in _EVERYONES:
            self._channel.fail(outcome.model_copy(update={"sop_instance_uid": None}))

    def _settle(self, parcel: Parcel, load: list[Parcel]) -> None:
        load.remove(parcel)
        self._channel.settle(parcel)

    def _give_back(self, load: list[Parcel], died: _ChannelDied) -> None:
        """To be tried again; not for ever, when it was alone on board of each channel that died."""
        for parcel in load:
            parcel.casualties += died.fault.code in _ON_THE_WAY and len(load) == 1
            parcel.alone = parcel.alone or len(load) > 1
            if parcel.casualties < _CASUALTIES:
                self._channel.put_back(parcel)
                continue
            uid = parcel.instance.sop_instance_uid
            self._roster.fail(uid, died.fault.model_copy(update={"sop_instance_uid": uid}))
            self._channel.settle(parcel)

    def _try_again(self, fault: Fault, deaths: int) -> bool:
        if fault.outcome is not Outcome.TRANSIENT_FAULT or fault.code is FaultCode.INTERRUPTED:
            return False
        if deaths > len(self._reopen) or self._halt.abrupt:
            return False
        self._halt.wait(self._reopen[deaths - 1])
        return not self._halt.abrupt


class _ChannelDied(Exception):  # noqa: N818 - it carries a Fault
    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault
