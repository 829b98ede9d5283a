"""A pynetdicom SCP that does what its `Behaviour` says: the hostile PACS of the tests.

It runs in threads of the test's own process, on a real socket, so that a test can change its
behaviour while it serves and read afterwards what it received.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from socket import IPPROTO_TCP, TCP_NODELAY
from types import TracebackType
from typing import Any, Final, Self

from pydicom import Dataset, dcmread
from pydicom.multival import MultiValue
from pydicom.uid import AllTransferSyntaxes
from pynetdicom import AE, DEFAULT_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt, register_uid
from pynetdicom.presentation import PresentationContext
from pynetdicom.service_class import StorageServiceClass

import tests.peers.mended_pynetdicom  # noqa: F401  (mends it)
from tests.peers.scripted_move import SERVED, ScriptedMove
from tests.peers.truthful_find import find, select

VERIFICATION: Final = "1.2.840.10008.1.1"
STUDY_ROOT_FIND: Final = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_ROOT_GET: Final = "1.2.840.10008.5.1.4.1.2.2.3"
PATIENT_ROOT_FIND: Final = "1.2.840.10008.5.1.4.1.2.1.1"
STUDY_ROOT_MOVE: Final = "1.2.840.10008.5.1.4.1.2.2.2"
PATIENT_ROOT_GET: Final = "1.2.840.10008.5.1.4.1.2.1.3"
EVERY_KEY: Final = frozenset({"*"})
STORAGE_CLASSES: Final = tuple(str(context.abstract_syntax) for context in AllStoragePresentationContexts)


@dataclass
class Behaviour:
    """How it answers. The defaults are an honest PACS; every field may change while it runs."""

    # C-FIND
    find_answers: Sequence[Dataset] | None = None  # instead of the truth about what it holds
    find_status: int = 0x0000  # the final status
    find_abort_after: int | None = None  # answers, then A-ABORT
    find_at_most: int | None = None  # answers, and no word of the others; with `find_too_many` so much as that
    find_too_many: int = 0x0000
    find_lists: bool = True  # else nothing matches a list of UIDs
    ignored_keys: frozenset[str] = frozenset()  # keywords not matched; EVERY_KEY: none is
    omitted_keys: frozenset[str] = frozenset()  # keywords missing from the answers
    unlisted: frozenset[str] = frozenset()  # SOP Instance UIDs that it does not tell of, and sends
    # C-GET
    get_only: int | None = None  # delivers so many, without a word about the others
    get_announce: int | None = None  # number of sub-operations that it starts with
    get_silent_empty: bool = False  # Success with zero sub-operations
    get_abort_after: int | None = None  # sub-operations, then A-ABORT
    get_status: int | None = None  # final status, after `get_only` sub-operations
    get_twice: bool = False  # each instance two times
    get_stranger: Dataset | None = None  # an instance that nobody asked for, sent first
    # C-STORE
    store_status: Mapping[str, int] = field(default_factory=dict)  # by SOP Instance UID or SOP Class UID
    store_abort_after: int | None = None  # acknowledged, then A-ABORT instead of an answer; once
    lose_every: int | None = None  # acknowledges each k-th and forgets it
    lost: frozenset[str] = frozenset()  # acknowledges these SOP Instance UIDs and forgets them
    # all
    before: Callable[[str, int], None] | None = None
    """Called with the service (`C-FIND`, `C-GET`, `C-STORE`, or `C-GET sub-operation`) and its number from 1
    before it is answered; block or sleep in it to be slow."""


@dataclass(frozen=True)
class Received:
    """One C-STORE request as it arrived."""

    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    status: int | None  # None: aborted instead of answered
    data: bytes = field(repr=False)  # the encoded data set; empty with keep_bytes=False


class _Context(PresentationContext):
    """One that is quickly copied: pynetdicom copies all that a server supports, UID by UID, for each association.

    That took three quarters of the processor's time of tests with a scripted PACS.
    """

    @classmethod
    def of(cls, abstract_syntax: str, syntaxes: Sequence[str], *, both_roles: bool = False) -> Self:
        made = cls()
        made.abstract_syntax = abstract_syntax
        made.transfer_syntax = list(syntaxes)
        made.scu_role = made.scp_role = both_roles or None
        return made

    def __deepcopy__(self, memo: object) -> Self:
        copied = copy(self)
        copied._transfer_syntax = [*self._transfer_syntax]  # of what cannot change
        return copied


@cache
def _every_storage_class() -> list[_Context]:
    return [_Context.of(sop_class, AllTransferSyntaxes, both_roles=True) for sop_class in STORAGE_CLASSES]


def _services(*, offers_query: bool, offers_get: bool) -> Iterator[_Context]:
    yield _Context.of(VERIFICATION, DEFAULT_TRANSFER_SYNTAXES)
    queries = (STUDY_ROOT_FIND, PATIENT_ROOT_FIND, STUDY_ROOT_MOVE) if offers_query else ()
    for service in (*queries, *((STUDY_ROOT_GET, PATIENT_ROOT_GET) if offers_get else ())):
        yield _Context.of(service, DEFAULT_TRANSFER_SYNTAXES)


class ScriptedSCP:
    """Verification, C-FIND, C-GET, C-MOVE (see `move`) and C-STORE over what `holdings` and received instances make up.

    `accepts` maps SOP Class UIDs to the transfer syntaxes accepted for each (all storage classes with
    all syntaxes if absent); private classes are taught to pynetdicom. `required_calling` lists the AE
    titles it takes associations from; `required_called` makes it refuse another called AE title.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        holdings: Iterable[Dataset] = (),
        *,
        behaviour: Behaviour | None = None,
        aet: str = "SCRIPTED",
        accepts: Mapping[str, Sequence[str]] | None = None,
        offers_query: bool = True,
        offers_get: bool = True,
        required_calling: Sequence[str] = (),
        required_called: bool = False,
        maximum_associations: int = 20,
        keep_bytes: bool = True,
    ) -> None:
        self.aet = aet
        self.behaviour = behaviour or Behaviour()
        self.dicom_port = 0
        self.received: list[Received] = []
        self.requests: Counter[str] = Counter()  # by service
        self.queries: list[Dataset] = []
        self.calling_ae_titles: list[str] = []
        self.cancelled: list[str] = []  # services that it stopped because it was asked to
        self.asked_to_stop: Callable[[], bool] = lambda: False  # whether a C-CANCEL of the last C-GET has come
        self._held: dict[str, Dataset] = {str(item.SOPInstanceUID): item for item in holdings}
        self._lock = threading.Lock()
        self._server: Any = None
        self._keep_bytes = keep_bytes
        self._aborted = False
        self._ae = AE(ae_title=aet)
        self._ae.maximum_pdu_size = 0
        self._ae.maximum_associations = maximum_associations
        self._ae.require_calling_aet = list(required_calling)
        self._ae.require_called_aet = required_called
        self.move = ScriptedMove(aet, lambda query: select(self._holdings(), query), self._begin)
        SERVED[self._ae] = self.move
        self._contexts: list[PresentationContext] = [
            *_services(offers_query=offers_query, offers_get=offers_get),
            *self._storage(accepts),
        ]

    def _storage(self, accepts: Mapping[str, Sequence[str]] | None) -> Iterator[_Context]:
        if accepts is None:
            yield from deepcopy(_every_storage_class())
            held = {str(item.SOPClassUID) for item in self._held.values()} - set(STORAGE_CLASSES)
            accepts = dict.fromkeys(held, AllTransferSyntaxes)
        for sop_class, syntaxes in accepts.items():
            if sop_class not in STORAGE_CLASSES:
                register_uid(sop_class, f"Private{sop_class.replace('.', '')}", StorageServiceClass)
            yield _Context.of(sop_class, syntaxes, both_roles=True)

    # --- life ---

    def start(self) -> None:
        """On the port that it had before, if it had one."""
        handlers: list[Any] = [
            (evt.EVT_CONN_OPEN, self._on_connection),
            (evt.EVT_ACCEPTED, self._on_association),
            (evt.EVT_C_ECHO, self._on_echo),
            (evt.EVT_C_FIND, self._on_find),
            (evt.EVT_C_GET, self._on_get),
            (evt.EVT_C_STORE, self._on_store),
        ]
        self._server = self._ae.start_server(
            (self.host, self.dicom_port), block=False, evt_handlers=handlers, contexts=self._contexts
        )
        # Else it looks through all of the process's objects each 59 times that it waited for a connection in vain.
        self._server._gc = [0, -1]
        self.dicom_port = int(self._server.socket.getsockname()[1])

    def stop(self) -> None:
        """Aborts what is open and closes the port."""
        if self._server is not None:
            self._server.shutdown()
            for sending in self.move.later:
                sending.join(90)
            for association in self._server.active_associations:
                association.abort()
            self._server = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    # --- what it holds and received ---

    @property
    def holds(self) -> set[str]:
        """SOP Instance UIDs that it would find."""
        with self._lock:
            return set(self._held)

    def stores(self) -> Counter[str]:
        """How often each SOP Instance UID was sent and acknowledged with success or a warning."""
        with self._lock:
            acknowledged = [item for item in self.received if item.status in _STORED]
        return Counter(item.sop_instance_uid for item in acknowledged)

    def forget(self, sop_instance_uid: str) -> None:
        with self._lock:
            del self._held[sop_instance_uid]

    def take(self, *instances: Dataset) -> None:
        """They are there from now on, as if somebody had sent them."""
        with self._lock:
            self._held.update((str(item.SOPInstanceUID), item) for item in instances)

    def _holdings(self) -> list[Dataset]:
        with self._lock:
            return list(self._held.values())

    # --- services ---

    def _on_connection(self, event: Any) -> None:
        event.assoc.dul.socket.socket.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)

    def _on_association(self, event: Any) -> None:
        self.calling_ae_titles.append(str(event.assoc.requestor.ae_title))

    def _begin(self, service: str) -> int:
        with self._lock:
            self.requests[service] += 1
            number = self.requests[service]
        if self.behaviour.before is not None:
            self.behaviour.before(service, number)
        return number

    def _on_echo(self, event: Any) -> int:
        self._begin("C-ECHO")
        return 0x0000

    def _on_find(self, event: Any) -> Iterator[tuple[int, Dataset | None]]:
        query = event.identifier
        self.queries.append(query)
        self._begin("C-FIND")
        behaviour = self.behaviour
        answers = behaviour.find_answers
        if answers is None:
            found = find(self._holdings(), query, ignored=behaviour.ignored_keys)
            answers = [answer for answer in found if answer.get("SOPInstanceUID") not in behaviour.unlisted]
            if not behaviour.find_lists and isinstance(query.get("SOPInstanceUID"), MultiValue):
                answers = []
        cut = behaviour.find_at_most is not None and len(answers) > behaviour.find_at_most
        for number, answer in enumerate(answers[: behaviour.find_at_most]):
            if behaviour.find_abort_after == number:
                event.assoc.abort()
                return
            for keyword in behaviour.omitted_keys & set(answer.dir()):
                delattr(answer, keyword)
            yield 0xFF00, answer
        if behaviour.find_abort_after is not None and behaviour.find_abort_after >= len(answers):
            event.assoc.abort()
            return
        yield behaviour.find_too_many if cut else behaviour.find_status, None

    def _on_get(self, event: Any) -> Iterator[Any]:
        self.queries.append(event.identifier)
        self.asked_to_stop = lambda: event.request.MessageID in event.assoc.dimse.cancel_req
        self._begin("C-GET")
        behaviour = self.behaviour
        chosen = select(self._holdings(), event.identifier)
        if behaviour.get_stranger is not None:
            chosen.insert(0, behaviour.get_stranger)
        if behaviour.get_twice:
            chosen = [item for item in chosen for _ in range(2)]
        if behaviour.get_silent_empty:
            yield 0
            return
        announced = len(chosen) if behaviour.get_announce is None else behaviour.get_announce
        yield max(announced, 1) if behaviour.get_status is not None else announced
        for number, item in enumerate(chosen[: behaviour.get_only]):
            if behaviour.get_abort_after == number:
                event.assoc.abort()
                return
            self._begin("C-GET sub-operation")
            if event.is_cancelled:
                self.cancelled.append("C-GET")
                yield 0xFE00, None
                return
            yield 0xFF00, item
        if behaviour.get_abort_after is not None and behaviour.get_abort_after >= len(chosen):
            event.assoc.abort()
        elif behaviour.get_status is not None:
            yield behaviour.get_status, None

    def _on_store(self, event: Any) -> int:
        number = self._begin("C-STORE")
        behaviour = self.behaviour
        uid, sop_class = str(event.request.AffectedSOPInstanceUID), str(event.request.AffectedSOPClassUID)
        syntax = str(event.context.transfer_syntax)
        data = event.encoded_dataset(include_meta=False)
        abort = behaviour.store_abort_after is not None and number > behaviour.store_abort_after and not self._aborted
        status = behaviour.store_status.get(uid, behaviour.store_status.get(sop_class, 0x0000))
        kept = data if self._keep_bytes else b""
        with self._lock:
            self.received.append(Received(uid, sop_class, syntax, None if abort else status, kept))
        if abort:
            self._aborted = True
            event.assoc.abort()
            return 0xC000
        lost = uid in behaviour.lost or (behaviour.lose_every is not None and number % behaviour.lose_every == 0)
        if status in _STORED and not lost:
            header = event.encoded_dataset(include_meta=True)
            instance = dcmread(BytesIO(header), force=True, stop_before_pixels=not self._keep_bytes)
            with self._lock:
                self._held[uid] = instance
        return status


_STORED: Final = frozenset({0x0000, 0xB000, 0xB006, 0xB007})
