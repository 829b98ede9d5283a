"""Instances in, treated instances out, whatever their size: the engine of `adit.deid` and the bytes around it.

Made by `deidentification`. Small instances are treated in memory; of big ones the header is, and the rest is read where
it lies.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO, Final

from adit.deid.engine.byte_walk import Part, WholeNeededError
from adit.deid.engine.deidentified import Deidentified
from adit.deid.engine.instance import Engine
from adit.deid.identity import Identity
from adit.deid.pixels.decoder import Decoder
from adit.deid.policy import Policy, ProfileError
from adit.deid.splice import Edit, SplicedInstance
from adit.dicom.node import Instance
from adit.dicom.payload import SPOOL_ABOVE, MemoryPayload, Payload, Spool
from adit.model.deid_profile import DeidProfile
from adit.transfer.refusal import unavailable

_HEADS: Final = (2**16, 2**22)
"""Bytes of a big instance that are read before all of it is: the header of most is among the first, of nearly all
among the second."""

_JOINED: Final = 2**20
"""Up to so many bytes a treated instance is held as one: cheaper than to put it together as it is read."""

_PIECE: Final = 2**20


class InstanceEngine:
    """Not safe for threads. Raises TransferFault when the profile cannot be used."""

    def __init__(self, profile: DeidProfile, identity: Identity, decoder: Decoder, spool: Spool | None) -> None:
        try:
            policy = Policy(profile)
        except ProfileError as error:
            raise unavailable(
                f"The profile {profile.metadata.name} cannot be used: {error}.", "Correct it, and make a new job."
            ) from None
        self.edition = policy.standard.edition
        self.keeps_identity = policy.keeps_identity
        self._engine = Engine(policy, identity, decoder)
        self._spool = spool

    def treat(self, instance: Instance, pseudonym: str | None, patient_id: str | None) -> tuple[Deidentified, Payload]:
        """Its new bytes, which may be ranges of the given instance's. Raises as the engine does, and OSError."""
        size = instance.size
        with instance.open() as reader:
            if size <= SPOOL_ABOVE:
                made = self._treated(reader.read(), instance, pseudonym, patient_id, None)
                return made, _payload(made, instance)
            head = b""
            for length in _HEADS:
                reader.seek(len(head))  # the engine may have read elsewhere
                head += reader.read(length - len(head))
                try:
                    made = self._treated(head, instance, pseudonym, patient_id, reader)
                    return made, _payload(made, instance)
                except WholeNeededError:
                    continue
            with self._mapped(instance) as whole:
                made = self._treated(whole, instance, pseudonym, patient_id, None)
                return made, _payload(made, instance)

    def _treated(
        self,
        data: bytes | mmap.mmap,
        instance: Instance,
        pseudonym: str | None,
        patient_id: str | None,
        reader: BinaryIO | None,
    ) -> Deidentified:
        def read(start: int, count: int) -> bytes:
            assert reader is not None  # noqa: S101 - asked only where the beginning was given
            reader.seek(start)
            return reader.read(count)

        return self._engine.treat(
            data,
            instance.transfer_syntax_uid,
            end=instance.size,
            read=None if reader is None else read,
            pseudonym=pseudonym,
            patient_id=patient_id,
        )

    @contextmanager
    def _mapped(self, instance: Instance) -> Iterator[mmap.mmap]:
        """The whole of a big instance whose header is long, where the engine can look at it without holding it."""
        with (self._spool or Spool()).file() as file:
            with instance.open() as reader:
                while piece := reader.read(_PIECE):
                    file.write(piece)
            file.flush()
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
                yield whole


def _payload(made: Deidentified, instance: Instance) -> Payload:
    """The treated bytes: as one where they are few, else new bytes and ranges of the original."""
    if made.size <= _JOINED and not _is_partial(made):
        source = memoryview(made.source)
        return MemoryPayload(
            b"".join(part if isinstance(part, bytes) else source[part[0] : part[1]] for part in made.parts)
        )
    return SplicedInstance(instance, _edits(made.parts, instance.size), deflated=False, size=made.size)


def _is_partial(made: Deidentified) -> bool:
    return any(not isinstance(part, bytes) and part[1] > len(made.source) for part in made.parts)


def _edits(parts: Sequence[Part], size: int) -> tuple[Edit, ...]:
    """What is between the ranges that stay becomes the new bytes."""
    edits: list[Edit] = []
    taken, pending = 0, b""
    for part in (*parts, (size, size)):
        if isinstance(part, bytes):
            pending += part
            continue
        if part[0] < taken:
            raise ValueError("ranges of an original are out of order")
        if pending or part[0] > taken:
            edits.append(Edit(taken, part[0], pending))
        taken, pending = part[1], b""
    return tuple(edits)
