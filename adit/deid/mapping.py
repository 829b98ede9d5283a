"""Which original each pseudonym stands for, readable only with the project's key (AES-SIV, RFC 5297).

Kept by those who asked for a reversible profile; `adit deid mapping` writes it out as CSV. The same pair is always
sealed to the same text, so that two attempts at a task do not keep it twice.
"""

from __future__ import annotations

import csv
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TextIO

from adit.deid.identity import Identity


class Kind(StrEnum):
    """What was replaced; UIDs and patients are never written into one file."""

    PATIENT = "patient"
    NUMBER = "number"  # an accession number, a study's ID, and what an override hashes
    UID = "uid"


class MappingError(ValueError):
    """A line of a mapping cannot be opened: it was changed, or is none."""


@dataclass(frozen=True, slots=True)
class Pair:
    kind: Kind
    original: str
    replacement: str


@dataclass(slots=True)
class Opened:
    """`foreign` counts the lines of other keys and projects, which were skipped, by the id that the two have."""

    pairs: list[Pair]
    foreign: Counter[str] = field(default_factory=Counter)


def sealed(pairs: Iterable[Pair], identity: Identity) -> Iterator[str]:
    """One line of JSON for each pair: whose key it is, its kind, the replacement, and the original under the key."""
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV

    cipher = AESSIV(identity.mapping_key)
    for pair in pairs:
        bound = [identity.project.encode(), pair.kind.encode(), pair.replacement.encode()]
        text = urlsafe_b64encode(cipher.encrypt(pair.original.encode(), bound)).decode("ascii")
        yield json.dumps({"key": identity.key_id, "kind": pair.kind, "replacement": pair.replacement, "sealed": text})


def opened(lines: Iterable[str], identity: Identity) -> Opened:
    """The pairs again. Raises MappingError."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV

    cipher = AESSIV(identity.mapping_key)
    found = Opened([])
    for number, line in enumerate(lines, start=1):
        try:
            document = json.loads(line)
            if document.get("key", identity.key_id) != identity.key_id:
                found.foreign[str(document["key"])] += 1
                continue
            kind, replacement = Kind(document["kind"]), str(document["replacement"])
            bound = [identity.project.encode(), kind.encode(), replacement.encode()]
            original = cipher.decrypt(urlsafe_b64decode(document["sealed"]), bound).decode()
        except (ValueError, KeyError, TypeError, AttributeError, InvalidTag):
            raise MappingError(f"line {number} cannot be opened with this key for project {identity.project}") from None
        found.pairs.append(Pair(kind, original, replacement))
    return found


def write_csv(pairs: Iterable[Pair], kind: Kind, file: TextIO) -> int:
    """Two columns, original and replacement; returns how many rows were written."""
    writer = csv.writer(file)
    writer.writerow(("original", "replacement"))
    rows = sorted({(pair.original, pair.replacement) for pair in pairs if pair.kind is kind})
    writer.writerows(rows)
    return len(rows)
