"""Both sides prove that they know the mailbox's secret, and neither says it. Called by `sender` and `listener`.

An address outlives who listened there: a pod's IP may be another's soon. So the receiver wants proof, before a single
byte of a patient's data is sent, that it speaks to the worker that opened the mailbox, and that worker wants proof too.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable
from typing import Final
from uuid import UUID

from adit.dicom.byte_stream import ByteStream

_MAGIC: Final = b"ADIT relay 1\r\n\r\n"  # 16 bytes
_NONCE: Final = 32
_PROOF: Final = 32
_PATIENCE: Final = 10.0  # seconds for all of it


class NotProven(ConnectionError):  # noqa: N818 - what the other side is
    """The other side does not know the mailbox's secret, or speaks something else."""


def new_secret() -> str:
    """Of a mailbox, in hex."""
    return secrets.token_hex(32)


def greet(stream: ByteStream, mailbox_id: UUID, secret: str) -> None:
    """The receiver's part. Raises OSError, of which NotProven is one."""
    stream.set_timeout(_PATIENCE)
    ours = secrets.token_bytes(_NONCE)
    stream.send(_MAGIC + mailbox_id.bytes + ours)
    theirs, proof = stream.take(_NONCE), stream.take(_PROOF)
    if not hmac.compare_digest(proof, _proof(secret, b"worker", ours, theirs)):
        raise NotProven("the other side is not the worker that opened this mailbox")
    stream.send(_proof(secret, b"receiver", ours, theirs))


def welcome(stream: ByteStream, secret_of: Callable[[UUID], str | None]) -> None:
    """The worker's part; `secret_of` knows the mailboxes that are open. Raises OSError, of which NotProven is one."""
    stream.set_timeout(_PATIENCE)
    if stream.take(len(_MAGIC)) != _MAGIC:
        raise NotProven("the other side speaks something else")
    secret = secret_of(UUID(bytes=stream.take(16)))
    theirs, ours = stream.take(_NONCE), secrets.token_bytes(_NONCE)
    if secret is None:
        raise NotProven("there is no such mailbox here")
    stream.send(ours + _proof(secret, b"worker", theirs, ours))
    if not hmac.compare_digest(stream.take(_PROOF), _proof(secret, b"receiver", theirs, ours)):
        raise NotProven("the other side does not know this mailbox's secret")


def _proof(secret: str, side: bytes, receivers: bytes, workers: bytes) -> bytes:
    return hmac.digest(bytes.fromhex(secret), side + b"\0" + receivers + workers, "sha256")
