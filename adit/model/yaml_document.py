"""YAML text as plain values that remember where they stood, within fixed bounds of size and depth.

Called by `adit.model.manifest_file`. Reads parser events one by one (never recursing), and tells
where YAML readers disagree about an unquoted value: 20:00, 0104, 2026-01-01.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

Place = tuple[str | int, ...]
"""The keys and indexes that lead to a value."""

MAX_CHARACTERS: Final = 8 * 1024 * 1024
MAX_DEPTH: Final = 32
MAX_WEIGHT: Final = 4 * MAX_CHARACTERS  # what all aliases together may unfold to, in characters
_NODE_WEIGHT: Final = 8

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STRING_TAG: Final = "tag:yaml.org,2002:str"
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_TRUTHS: Final = {
    spelling: truth
    for words, truth in (("true yes on y", True), ("false no off n", False))
    for word in words.split()
    for spelling in (word, word.capitalize(), word.upper())
}
_UNREADABLE: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_WHOLE: Final = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_REAL: Final = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?")
_TRAPS: Final = (
    (re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"), "a number to base 60"),
    (re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt ].*)?"), "a date"),
    (re.compile(r"[-+]?(0x[0-9a-fA-F_]+|0b[01_]+|0o?[0-7_]+)"), "a number to another base"),
    (re.compile(r"[-+]?(\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN"), "not a number"),
    (re.compile(r"[-+]?[0-9][0-9_]*"), "a number of another value"),
)


class YamlFault(ValueError):  # noqa: N818 - it carries a rule
    """The text can't be read any further."""

    def __init__(self, rule: str, *, document: int | None = None, line: int | None = None) -> None:
        super().__init__(rule)
        self.rule = rule
        self.document = document
        self.line = line


@dataclass(frozen=True, slots=True)
class DocumentFault:
    """Something that is wrong whatever the document is meant to be."""

    place: Place
    rule: str


@dataclass(slots=True)
class Document:
    """One document of a text; mappings keep no null values, as Kubernetes drops them too."""

    number: int  # counted from 1
    value: Any = None
    faults: list[DocumentFault] = field(default_factory=list)
    lines: dict[Place, int] = field(default_factory=dict)
    unquoted: dict[Place, str] = field(default_factory=dict)  # how a value was written that isn't a string

    def line_of(self, place: Place) -> int | None:
        """The line of a place, or of the nearest thing around it."""
        while place not in self.lines and place:
            place = place[:-1]
        return self.lines.get(place)


def field_path(place: Place) -> str:
    """A place as people write it: spec.selection.studies[3].studyInstanceUID."""
    text = ""
    for step in place:
        text += f"[{step}]" if isinstance(step, int) else f".{step[:60]}"
    return text.removeprefix(".")


def documents(text: str) -> Iterator[Document]:
    """The text's documents one by one, empty ones left out. Raises YamlFault where reading must end."""
    if len(text) > MAX_CHARACTERS:
        raise YamlFault(f"must be at most {MAX_CHARACTERS // 2**20} MiB long")
    number, reader = 0, None
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, yaml.DocumentStartEvent):
                number += 1
                reader = _Reader(Document(number))
            elif isinstance(event, yaml.DocumentEndEvent) and reader is not None:
                if reader.document.value is not None:
                    yield reader.document
            elif reader is not None:
                reader.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = None if mark is None else mark.line + 1
        raise YamlFault(f"must be YAML: {error.problem or error.context}", document=number or None, line=line) from None
    except yaml.YAMLError:
        raise YamlFault("must be YAML: it holds characters that YAML forbids", document=number or None) from None


@dataclass(slots=True)
class _Open:
    """A mapping or list whose end has not come yet."""

    value: dict[str, Any] | list[Any]
    place: Place
    anchor: str | None
    weight: int = _NODE_WEIGHT
    key: str | None = None  # the mapping's key that waits for its value


class _Reader:
    """Builds one document from its events."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._unfolded = 0

    def take(self, event: yaml.Event) -> None:
        line = event.start_mark.line + 1 if event.start_mark is not None else 0
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self._begin(event, line)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            ended = self._open.pop()
            self._put(ended.value, ended.place, ended.weight, ended.anchor)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event, line)
        elif isinstance(event, yaml.ScalarEvent):
            self._scalar(event, line)

    def _begin(self, event: yaml.MappingStartEvent | yaml.SequenceStartEvent, line: int) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise YamlFault(f"must be nested at most {MAX_DEPTH} deep", document=self.document.number, line=line)
        if self._expects_key():
            raise YamlFault("must have plain texts as keys", document=self.document.number, line=line)
        place = self._place()
        self.document.lines.setdefault(place, line)
        if event.tag is not None and not event.tag.startswith("tag:yaml.org,2002:"):
            self._fault(place, "must not have a YAML tag")
        self._open.append(_Open({} if isinstance(event, yaml.MappingStartEvent) else [], place, event.anchor))

    def _alias(self, event: yaml.AliasEvent, line: int) -> None:
        if event.anchor not in self._anchors:
            rule = "must use only aliases of values that stand before them"
            raise YamlFault(rule, document=self.document.number, line=line)
        value, weight = self._anchors[event.anchor]
        self._unfolded += weight
        if self._unfolded > MAX_WEIGHT:
            raise YamlFault("must not unfold to so much by its aliases", document=self.document.number, line=line)
        if self._expects_key():
            raise YamlFault("must have plain texts as keys", document=self.document.number, line=line)
        place = self._place()
        self.document.lines.setdefault(place, line)
        self._put(value, place, weight, None)

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        if self._expects_key():
            self._key(event.value, line)
            return
        place = self._place()
        self.document.lines.setdefault(place, line)
        value: Any = self._readable(event.value, place)
        if event.tag not in (None, "!", _STRING_TAG):
            self._fault(place, "must not have a YAML tag")
        elif event.tag is None and event.implicit[0]:
            value = self._resolved(value, place)
        self._put(value, place, len(event.value) + _NODE_WEIGHT, event.anchor)

    def _key(self, key: str, line: int) -> None:
        mapping = self._open[-1]
        key = self._readable(key, mapping.place)
        mapping.key = key
        place = (*mapping.place, key)
        if key == "<<":
            self._fault(place, "is a YAML merge key; write the fields out")
        if place in self.document.lines:
            self._fault(place, f"must stand only once, but is also in line {self.document.lines[place]}")
        self.document.lines[place] = line

    def _readable(self, text: str, place: Place) -> str:
        """The text without characters that neither Postgres nor a terminal takes; each is a fault."""
        readable = _UNREADABLE.sub("\N{REPLACEMENT CHARACTER}", text)
        if readable != text:
            self._fault(place, "must not hold control characters or surrogates")
        return readable

    def _resolved(self, text: str, place: Place) -> Any:
        """The value of an unquoted scalar as Kubernetes reads it (JSON's types)."""
        value: Any = text
        if text in _NULLS:
            return None
        if text in _TRUTHS:
            value = _TRUTHS[text]
        elif _WHOLE.fullmatch(text):
            value = int(text)
        elif _REAL.fullmatch(text):
            value = float(text)
            if value in (float("inf"), float("-inf")):
                value = text
        else:
            for pattern, reading in _TRAPS:
                if pattern.fullmatch(text):
                    self._fault(place, f"must be in quotes if it is a text: it is {reading} to some readers of YAML")
                    break
        if not isinstance(value, str):
            self.document.unquoted[place] = text
        return value

    def _expects_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].value, dict) and self._open[-1].key is None

    def _place(self) -> Place:
        if not self._open:
            return ()
        inside = self._open[-1]
        step = len(inside.value) if isinstance(inside.value, list) else inside.key
        return (*inside.place, "" if step is None else step)

    def _put(self, value: Any, place: Place, weight: int, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = (value, weight)
        if not self._open:
            self.document.value = value
            return
        inside = self._open[-1]
        inside.weight += weight
        if isinstance(inside.value, list):
            inside.value.append(value)
            return
        if inside.key is not None and value is not None:
            inside.value[inside.key] = value
        inside.key = None

    def _fault(self, place: Place, rule: str) -> None:
        self.document.faults.append(DocumentFault(place, rule))
