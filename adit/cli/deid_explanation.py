"""What a profile would do to each element of a file: decisions, no values. Called by `adit deid explain`.

The file is treated by the engine itself, and nothing written: whether it is refused, and what it empties because an
identifier stands in it, nobody else can tell.
"""

from __future__ import annotations

import secrets
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final

from pydicom.datadict import dictionary_has_tag, dictionary_keyword

from adit.cli.deid_files import treated_file
from adit.deid.dates import shifted
from adit.deid.decision import Action
from adit.deid.dictionary import vr_of
from adit.deid.engine.content_mode import Content, decided
from adit.deid.engine.deflation import inflated
from adit.deid.engine.instance import Engine
from adit.deid.engine.irregular import mode_in
from adit.deid.engine.syntax import DEFLATED, EXPLICIT_BE, IMPLICIT_LE
from adit.deid.identity import MIN_KEY, Identity
from adit.deid.pixels.decoder import DecoderProcess
from adit.deid.pixels.facts import FACT_TAGS, REGION_TAGS, SEQUENCE_OF_ULTRASOUND_REGIONS, PixelElement, facts_of
from adit.deid.pixels.plan import Leave, Mask, Plan, Refuse, plan
from adit.deid.pixels.quarantine import PixelQuarantine
from adit.deid.policy import ClassPolicy, Policy
from adit.deid.quarantine import LeftOut, Quarantine, path_text
from adit.dicom.file_meta import read_file_meta
from adit.dicom.tolerant_pydicom import Dataset

_PIXELS: Final = frozenset(PixelElement)


@dataclass(frozen=True, slots=True)
class Explanation:
    """One line for each element, in order: path, action, rule, keyword. Where the file is refused, as far as it can
    be read."""

    lines: list[str]
    refusal: Quarantine | None


def explained(file: Path, policy: Policy) -> Explanation:
    """Raises NotDicomError and OSError."""
    with DecoderProcess() as decoder, file.open("rb") as reader:
        # no pseudonym is shown, so any key does
        engine = Engine(policy, Identity(secrets.token_bytes(MIN_KEY), policy.profile.project), decoder)
        refusal, emptied = None, frozenset[str]()
        try:
            made = treated_file(reader.fileno(), engine)
            emptied = frozenset(path_text(each.path) for each in made.changes if each.rule == "identifier")
        except Quarantine as error:
            refusal = error
        except LeftOut:
            pass  # told by the lines
    lines = _as_told(_read_lines(file, policy, broken=refusal is not None), emptied)
    return Explanation(list(lines), refusal)


def _read_lines(file: Path, policy: Policy, *, broken: bool) -> Iterator[str]:
    try:
        yield from _lines_of(file, policy)
    except Exception:  # pydicom raises all kinds for what is broken; the engine has told what it is
        if not broken:
            raise


def _as_told(lines: Iterator[str], emptied: frozenset[str]) -> Iterator[str]:
    """Lines of kept elements in whose values, there or in one of several items, an identifier stands say so."""
    for line in lines:
        path, action, *_ = line.split()
        if path in emptied and action == Action.KEEP:
            yield _line(tuple(int(tag, 16) for tag in path.split(".")), Action.EMPTY, "identifier")
        else:
            yield line


def _lines_of(file: Path, policy: Policy) -> Iterator[str]:
    with file.open("rb") as reader:
        meta = read_file_meta(reader)
        reader.seek(meta.offset)
        syntax = meta.transfer_syntax_uid
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they may tell values
            found, pixels = _read(reader if syntax != DEFLATED else BytesIO(inflated(reader.read())), syntax)
            planned = _planned(found, syntax, pixels, policy)
            sop_class, modality = (str(found.get(keyword, "")) for keyword in ("SOPClassUID", "Modality"))
            lines = list(_lines(found, (), policy.for_class(sop_class), Content.NONE))
    spec = policy.profile.spec
    yield f"# profile {policy.profile.metadata.name}, PS3.15 {policy.standard.edition}, SOP class {sop_class}"
    if sop_class in spec.excluded_sop_classes or modality in spec.excluded_modalities:
        yield "# left out: the profile excludes its SOP class or modality"
    yield from lines
    if pixels is not None or isinstance(planned, Refuse):
        yield _line((pixels or 0x00080016,), *_told(planned))


def _read(reader: BinaryIO, syntax: str) -> tuple[Dataset, int | None]:
    """All before the pixels, and which element holds them."""
    from pydicom.filereader import read_dataset

    stopped: list[int] = []

    def stop(tag: int, vr: str | None, length: int) -> bool:
        if tag in _PIXELS:
            stopped.append(int(tag))
        return bool(stopped) or tag > max(_PIXELS)

    found = read_dataset(reader, syntax == IMPLICIT_LE, syntax != EXPLICIT_BE, stop_when=stop)
    return found, stopped[0] if stopped else None


def _planned(found: Dataset, syntax: str, pixels: int | None, policy: Policy) -> Plan:
    """As the engine decides; called before anything else has read a value, as pydicom then keeps no raw ones."""
    regions = None
    if SEQUENCE_OF_ULTRASOUND_REGIONS in found:
        items = found[SEQUENCE_OF_ULTRASOUND_REGIONS].value
        regions = [_raw(item, frozenset(REGION_TAGS)) for item in items]
    try:
        element = None if pixels is None else PixelElement(pixels)
        facts = facts_of(syntax, _raw(found, FACT_TAGS), element=element, regions=regions)
    except PixelQuarantine as refused:
        return Refuse(refused.reason, refused.detail)
    return plan(facts, policy.profile.spec.pixels)


def _raw(found: Dataset, tags: frozenset[int]) -> dict[int, bytes]:
    raw: dict[int, Any] = {tag: found.get_item(tag) for tag in tags if tag in found}
    return {tag: each.value or b"" for tag, each in raw.items()}


def _told(planned: Plan) -> tuple[str, str]:
    match planned:
        case Mask(rule):
            return Action.REPLACE, f"pixels {rule}"
        case Leave(rule):
            return Action.KEEP, f"pixels {rule}" if rule else "pixels: nothing tells of text in them"
        case Refuse(reason, detail):
            return "refuse", f"{reason}: {detail}"


def _lines(found: Dataset, path: tuple[int, ...], decisions: ClassPolicy, content: Content) -> Iterator[str]:
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
        if content and not tag.is_private:
            decision = decided(content, int(tag), decision)
        stays = decision.action is Action.SHIFT and _is_time_of_day(raw)
        yield _line((*path, tag), Action.KEEP if stays else decision.action, decision.rule)
        if decision.action in (Action.SEQUENCE, Action.CONTENT) and found[tag].VR == "SQ":
            for item in found[tag].value:
                mode, removed = mode_in(item, content, int(tag), decision, decisions)
                if removed is not None:
                    yield _line((*path, tag), Action.REMOVE, f"{removed}, an item")
                else:
                    yield from _lines(item, (*path, int(tag)), decisions, mode)


def _is_time_of_day(raw: Any) -> bool:
    """By whole days nothing of it is shifted."""
    vr = raw.VR if raw.VR not in (None, "UN") else vr_of(int(raw.tag))
    return vr == "TM" and shifted((raw.value or b"").decode("latin-1"), vr, 0) is not None


def _line(path: tuple[int, ...], action: str, rule: str) -> str:
    keyword = dictionary_keyword(path[-1]) if dictionary_has_tag(path[-1]) else ""
    return f"{path_text(tuple(int(tag) for tag in path))}  {action:<9}  {rule:<36}  {keyword}".rstrip()
