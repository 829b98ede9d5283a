"""What happens to one element, and by which rule. Made by `adit.deid.policy`, carried out by `adit.deid.engine`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    KEEP = "keep"
    REMOVE = "remove"
    EMPTY = "empty"
    DUMMY = "dummy"  # a value of the same VR that says nothing
    UID = "uid"  # mapped; UIDs of the standard stay
    PSEUDONYM = "pseudonym"  # the patient's
    HASH = "hash"  # a keyed pseudonym of the value
    SHIFT = "shift"  # by the patient's offset
    AGE = "age"  # over 89 becomes 90
    CLEAN = "clean"  # words of the vocabulary stay
    REPLACE = "replace"
    TEMPLATE = "template"
    SEQUENCE = "sequence"  # kept, and each element inside decided for itself
    CONTENT = "content"  # likewise, and its items by their concept (PS3.15 E.3.4)


@dataclass(frozen=True, slots=True)
class Decision:
    action: Action
    rule: str  # such as "E.1-1 X/Z/D", "RetainUIDs K", "VR PN", "override 3"
    value: str | None = None  # of an override with a text; of an age that is a number, its unit
    cleaned: bool = False  # a sequence that an option keeps when it is cleaned: its private codes are texts, too
