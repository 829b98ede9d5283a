"""What a profile would do to each element of a file: decisions, no values. Called by `adit deid explain`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydicom.datadict import dictionary_has_tag, dictionary_keyword

from adit.deid.decision import Action
from adit.deid.policy import ClassPolicy, Policy
from adit.deid.quarantine import place_of
from adit.dicom.file_meta import read_file_meta
from adit.dicom.tolerant_pydicom import Dataset


def explained(file: Path, policy: Policy) -> Iterator[str]:
    """One line for each element, in order: path, action, rule, keyword. Raises NotDicomError, OSError."""
    from pydicom.filereader import read_dataset

    with file.open("rb") as reader:
        meta = read_file_meta(reader)
        reader.seek(meta.offset)
        syntax = meta.transfer_syntax_uid
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they may tell values
            found = read_dataset(
                reader,
                syntax == "1.2.840.10008.1.2",
                syntax != "1.2.840.10008.1.2.2",
                stop_when=lambda tag, vr, length: tag >= 0x7FE00000,
            )
            sop_class = str(found.get("SOPClassUID", ""))
            lines = list(_lines(found, (), policy.for_class(sop_class)))
    yield f"# profile {policy.profile.metadata.name}, PS3.15 {policy.standard.edition}, SOP class {sop_class}"
    yield from lines


def _lines(found: Dataset, path: tuple[int, ...], decisions: ClassPolicy) -> Iterator[str]:
    creators: dict[int, str] = {}
    for tag in sorted(found.keys()):
        raw: Any = found.get_item(tag)
        creator = None
        if tag.is_private and 0x10 <= tag.element <= 0xFF:
            creators[tag.group << 8 | tag.element] = str(found[tag].value)
            kept = decisions.keeps_creator(creators[tag.group << 8 | tag.element])
            yield _line((*path, tag), "keep" if kept else "remove", "private creator")
            continue
        if tag.is_private:
            creator = creators.get(tag.group << 8 | tag.element >> 8)
        decision = decisions.decide(path, int(tag), raw.VR or "", creator)
        yield _line((*path, tag), decision.action, decision.rule)
        if decision.action in (Action.SEQUENCE, Action.CONTENT) and found[tag].VR == "SQ":
            for item in found[tag].value:
                yield from _lines(item, (*path, int(tag)), decisions)


def _line(path: tuple[int, ...], action: str, rule: str) -> str:
    keyword = dictionary_keyword(path[-1]) if dictionary_has_tag(path[-1]) else ""
    return f"{place_of(tuple(int(tag) for tag in path))}  {action:<9}  {rule:<36}  {keyword}".rstrip()
