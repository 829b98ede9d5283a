"""Keyed pseudonyms: the same on any machine and in any attempt, without shared state, and unrelated between projects.

Made by whoever has the project's key, for `adit.deid.engine`. Without the key nobody can tell, not even by trying all
identifiers, whose a pseudonym is (HMAC-SHA-256, RFC 2104).
"""

from __future__ import annotations

import hmac
from base64 import b32encode
from typing import Final

from adit.deid.dictionary import is_registered

MIN_KEY: Final = 32
"""Bytes of a project's key."""

_MOST_DAYS: Final = 3650
_REMEMBERED: Final = 50_000


class WeakKeyError(ValueError):
    """The project's key is too short to keep a secret."""


class Identity:
    """The pseudonyms of one project.

    Each kind of identifier has a key of its own, so that a patient and an accession number of the same text
    do not get the same pseudonym.
    """

    def __init__(self, key: bytes, project: str) -> None:
        """Raises WeakKeyError."""
        if len(key) < MIN_KEY:
            raise WeakKeyError(f"the project's key must have at least {MIN_KEY} bytes, not {len(key)}")
        self.project = project
        self._key = key
        self._uid_key = self._derived("uid")
        self._keys = {kind: self._derived(kind) for kind in ("patient", "number", "value", "offset", "mapping")}
        self._uids: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"Identity({self.project})"  # never the key

    @property
    def key_id(self) -> str:
        """Tells two keys apart, and nothing else about them."""
        return self._derived("key id")[:6].hex()

    def uid(self, original: str) -> str:
        """A UID of the form 2.25.<UUID> (PS3.5 B.2), the same for the same original; those registered in PS3.6 stay."""
        found = self._uids.get(original)
        if found is None:
            if not original or is_registered(original):
                return original
            if len(self._uids) >= _REMEMBERED:
                self._uids.clear()
            digest = bytearray(hmac.digest(self._uid_key, original.encode(), "sha256")[:16])
            digest[6] = digest[6] & 0x0F | 0x80  # version 8, the one for names of one's own making (RFC 9562)
            digest[8] = digest[8] & 0x3F | 0x80
            found = self._uids[original] = f"2.25.{int.from_bytes(digest)}"
        return found

    def patient(self, patient_id: str) -> str:
        """16 letters and digits."""
        return self._name("patient", patient_id)

    def number(self, value: str) -> str:
        """For accession numbers and study IDs: 16 letters and digits, which an SH can hold."""
        return self._name("number", value) if value else ""

    def value(self, value: str) -> str:
        return self._name("value", value) if value else ""

    def days(self, patient_id: str) -> int:
        """By how many days a patient's dates are shifted: 1 to 3,650 into the past."""
        digest = hmac.digest(self._keys["offset"], _bytes_of(patient_id), "sha256")
        return -1 - int.from_bytes(digest[:8]) % _MOST_DAYS

    @property
    def mapping_key(self) -> bytes:
        """For `adit.deid.mapping`: 64 bytes, AES-SIV with 256 bits."""
        return self._keys["mapping"] + self._derived("mapping, second half")

    def _name(self, kind: str, value: str) -> str:
        digest = hmac.digest(self._keys[kind], _bytes_of(value), "sha256")
        return b32encode(digest[:10]).decode("ascii")

    def _derived(self, purpose: str) -> bytes:
        return hmac.digest(self._key, b"\0".join((b"adit deid 1", self.project.encode(), purpose.encode())), "sha256")


def _bytes_of(text: str) -> bytes:
    """Of any text, also of a file's name that is no text."""
    return text.encode("utf-8", "surrogateescape")
