"""One instance in, one out: the way into the engine, whatever the transfer syntax. No I/O of its own.

Called by `adit.cli.deid_files` and, for what is on its way to another node, by `adit.transfer.instance_engine`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from adit.deid.decision import Action
from adit.deid.dictionary import is_registered
from adit.deid.engine.byte_walk import ByteWalk, Insertion, IrregularError, Part, WholeNeededError
from adit.deid.engine.content_mode import Content
from adit.deid.engine.deflation import deflated, inflated
from adit.deid.engine.deidentified import Deidentified
from adit.deid.engine.given import Given, Read
from adit.deid.engine.patient import Patient
from adit.deid.engine.pixel_step import NewPixels, NoDecoder, PixelStep, ReadBlock, with_pixels
from adit.deid.engine.plan import Change, Level
from adit.deid.engine.scan import Buffer, items_of, malformed, values_of
from adit.deid.engine.syntax import DEFLATED, EXPLICIT_BE
from adit.deid.engine.trail import Trail
from adit.deid.engine.values import Subject, Values, text_of
from adit.deid.identifiers import Identifiers, Search, identifiers_of
from adit.deid.identifying import IDENTIFYING, OTHER_IDS, OTHER_PATIENT_IDS, PATIENT_ID, STUDY_DATE
from adit.deid.identity import Identity
from adit.deid.mapping import Kind
from adit.deid.marks import METHOD_CODES, encoded_marks, identity_removed
from adit.deid.pixels.decoder import Decoder
from adit.deid.pixels.facts import FACT_TAGS, REGION_TAGS, SEQUENCE_OF_ULTRASOUND_REGIONS
from adit.deid.policy import Policy, tags_of, vr_of
from adit.deid.quarantine import LeftOut, Quarantine, Reason, place_of
from adit.deid.verification import Expected, Verification, verify
from adit.model.deid_profile import Option

_CHARSET: Final = 0x00080005
_SOP_CLASS: Final = 0x00080016
_SOP_INSTANCE: Final = 0x00080018
_MODALITY: Final = 0x00080060
_SEQUENCE_END: Final = b"\xfe\xff\xdd\xe0\0\0\0\0"
_STUDY: Final = 0x0020000D
_SERIES: Final = 0x0020000E
WANTED: Final = IDENTIFYING | {_CHARSET, _SOP_CLASS, _MODALITY, STUDY_DATE}
_NOTED: Final = WANTED | FACT_TAGS
_REGIONS: Final = SEQUENCE_OF_ULTRASOUND_REGIONS
_APART: Final = 2**16  # a longer range of the original is not copied
_PATIENTS: Final = 100
_CLASSES: Final = 500
_SHORTEST_UID: Final = 4
_LONGEST_UID: Final = 64
_STEM: Final = 12
_NONE: Final[tuple[tuple[bytes, ...], frozenset[bytes]]] = (), frozenset()
_UID: Final = re.compile(r"[0-9]+(\.[0-9]+)*")
_OF_PATIENT: Final = (*sorted(IDENTIFYING - {_SOP_INSTANCE, _STUDY, _SERIES}), _CHARSET, STUDY_DATE)
_IN_COMMON: Final = (*_OF_PATIENT, _SOP_CLASS, _MODALITY)
"""What a trail's instances have in common: everything that a decision may depend on but the element itself."""
_KEYWORD: Final = re.compile(r"\{([A-Z][A-Za-z0-9]+)\}")
_NOT_FOR_INSTANCES: Final = frozenset({"1.2.840.10008.1.20"})  # Papyrus 3


class Engine:
    """Treats instances of one project by one policy. Keeps nothing of them but decisions, pseudonyms of UIDs, and the
    identifiers of the patients that it met last."""

    def __init__(self, policy: Policy, identity: Identity, decoder: Decoder | None = None) -> None:
        """Without a decoder, instances whose compressed pixels must be masked are refused."""
        self.policy = policy
        self.pixel_step = PixelStep(policy.profile.spec.pixels, decoder or NoDecoder())
        self.identity = identity
        self._levels: dict[tuple[str, bool, bool], Level] = {}
        self._met: dict[bool, _Met] = {}
        self._verifications: dict[tuple[object, ...], Verification] = {}
        self.marks = {implicit: encoded_marks(policy, implicit=implicit) for implicit in (False, True)}
        spec = policy.profile.spec
        self._excluded_modalities = frozenset(spec.excluded_modalities)
        self._excluded_classes = frozenset(spec.excluded_sop_classes)
        self._retains_uids = Option.RETAIN_UIDS in policy.options

    def treat(
        self,
        data: Buffer,
        transfer_syntax_uid: str,
        *,
        start: int = 0,
        end: int | None = None,
        read: Read | None = None,
        pseudonym: str | None = None,
        patient_id: str | None = None,
    ) -> Deidentified:
        """The instance under its new name. Its data set is `data` from `start` to `end`, which may lie beyond it:
        the pixels need not be there, but `read` must be able to bring them. `patient_id` tells whose it is where it
        does not say itself.

        Raises Quarantine when it cannot be made safe, LeftOut when the profile excludes it, and WholeNeededError
        when that cannot be told without the rest of it.
        """
        if not _is_uid(transfer_syntax_uid) or transfer_syntax_uid in _NOT_FOR_INSTANCES:
            raise Quarantine(Reason.UNKNOWN_TRANSFER_SYNTAX, "00020010", "its transfer syntax cannot be told")
        given = Given(data, start, len(data) if end is None else end, transfer_syntax_uid, pseudonym, patient_id, read)
        try:
            return self._treat(given)
        except (Quarantine, IrregularError):
            if given.partial:
                raise WholeNeededError from None
            raise

    def _treat(self, given: Given) -> Deidentified:
        syntax = given.syntax
        if syntax in (DEFLATED, EXPLICIT_BE) and given.partial:
            raise WholeNeededError
        if syntax == DEFLATED:
            rest = inflated(given.data[given.start : given.end])
            made = self._treat_little(replace(given, data=rest, start=0, end=len(rest), read=None))
            return replace(made, source=b"", parts=(packed := deflated(made.pieces()),), size=len(packed))
        if syntax != EXPLICIT_BE:
            try:
                return self._treat_little(given)
            except IrregularError:
                if given.partial:
                    raise
        from adit.deid.engine.irregular import treat_irregular

        return treat_irregular(self, given.data[given.start : given.end], syntax, given.pseudonym, given.patient_id)

    def _treat_little(self, given: Given) -> Deidentified:
        met = self._met.get(given.implicit)
        if met is not None:
            made = self._as_before(met, given)
            if made is not None:
                return made
        try:
            known = values_of(given.data, given.start, given.end, WANTED, implicit=given.implicit)
        except struct.error:
            raise malformed((), "it ends within an element") from None
        patient = self.patient(known, given.pseudonym, given.patient_id)
        trail = Trail()
        walk, parts = self._walked(given, patient, None, trail)
        of_study = not (known.get(PATIENT_ID, b"").strip(b"\0 ") or given.patient_id)
        self._met[given.implicit] = _Met(_of_all(known), (given.pseudonym, given.patient_id), patient, of_study, trail)
        return self._finished(given, patient, known, walk, parts)

    def _as_before(self, met: _Met, given: Given) -> Deidentified | None:
        """For the next instance of the same patient and class: nothing needs to be known before the walk.

        None when it turns out to be another's.
        """
        if met.given != (given.pseudonym, given.patient_id):
            return None
        try:
            walk, parts = self._walked(given, met.patient, None, met.trail)
        except Quarantine:
            return None  # whether it is refused is not decided by another's charset
        known = walk.notes
        if _of_all(known) != met.known:
            return None
        sop_instance, study = _text(known, _SOP_INSTANCE), _text(known, _STUDY)
        if not sop_instance:
            return None
        if met.of_study and study != met.patient.study_instance_uid:
            return None  # without a PatientID, each study is of somebody else
        patient = Patient(
            met.patient.subject,
            met.patient.charset,
            met.patient.sop_class_uid,
            sop_instance,
            _text(known, _SERIES),
            study,
        )
        return self._finished(given, patient, known, walk, parts)

    def _finished(
        self, given: Given, patient: Patient, known: Mapping[int, bytes], walk: ByteWalk, parts: list[Part]
    ) -> Deidentified:
        verification = self._verification(given, patient, known, walk)
        joined, header = _joined(given.data, parts, walk)
        told = self._gone(known, walk.values.pairs, walk.harvest) if _has_stem(header, walk) else _NONE
        verified = verification.passes(header, *told, self._new_uids(patient))
        if not verified:
            gone = self._gone(known, walk.values.pairs, walk.harvest)
            identifiers = _with_uids(verification.identifiers, *gone)
            walk, parts = self._walked(given, patient, identifiers, None)
            joined, header = _joined(given.data, parts, walk)
        syntax = given.syntax
        new = self._pixels(given, walk)
        if new is not None:
            joined, header = self._repacked(given, joined, header, walk, new)
            syntax = syntax if syntax == DEFLATED else new.transfer_syntax_uid
        if new is not None or not verified:
            gone = self._gone(known, walk.values.pairs, walk.harvest)
            verify(header, self.expected(patient, _with_uids(verification.identifiers, *gone)), implicit=given.implicit)
        return self.made(given.data, tuple(joined), syntax, patient, walk.changes, walk.values.pairs)

    def _verification(self, given: Given, patient: Patient, known: Mapping[int, bytes], walk: ByteWalk) -> Verification:
        """Remembered, as what must not be found is the same for all of a patient's but for the UIDs."""
        if given.patient_id and not known.get(PATIENT_ID, b"").strip(b"\0 "):
            known = {**known, PATIENT_ID: given.patient_id.encode()}
        names, kept = self._names_and_kept(patient, walk.harvest)
        key = (given.implicit, patient.subject.pseudonym, *map(known.get, _OF_PATIENT), names, kept)
        found = self._verifications.get(key)
        if found is None:
            if len(self._verifications) >= _PATIENTS:
                self._verifications.clear()
            identifiers = identifiers_of(_with_other_ids(known, implicit=given.implicit), names, kept)
            found = Verification(self.expected(patient, identifiers), implicit=given.implicit)
            self._verifications[key] = found
        return found

    def _gone(
        self, known: Mapping[int, bytes], pairs: Mapping[tuple[Kind, str], str], harvest: Sequence[tuple[str, bytes]]
    ) -> tuple[tuple[bytes, ...], frozenset[bytes]]:
        """The instance's own UIDs, which must not be found any more, and all that were replaced or went with their
        sequence, which no text may tell any more."""
        if self._retains_uids:
            return _NONE
        uids = {original.encode("ascii", errors="replace") for kind, original in pairs if kind is Kind.UID}
        uids |= {each.strip(b"\0 ") for vr, value in harvest if vr == "UI" for each in value.split(b"\\")}
        own = [known.get(tag, b"").strip(b"\0 ") for tag in (_SOP_INSTANCE, _STUDY, _SERIES)]
        return tuple(filter(_names_something, own)), frozenset(filter(_names_something, uids))

    def _pixels(self, given: Given, walk: ByteWalk) -> NewPixels | None:
        """What stands in place of the pixels; None when they stay as they are."""
        regions: list[Mapping[int, bytes]] | None = None
        if (items := walk.noted_items.get(_REGIONS)) is not None:
            tags = frozenset(REGION_TAGS)
            regions = [values_of(given.data, *item, tags, implicit=given.implicit) for item in items]
        if walk.pixels is None:
            return self.pixel_step.pixels(given.syntax, walk.notes, regions, None, "OW", ReadBlock(0, given.bytes_at))
        entry, _, (start, stop) = walk.pixels

        def at(offset: int, count: int) -> bytes:
            return given.bytes_at(start + offset, min(count, stop - start - offset))

        vr = entry.vr if entry.encoded in (b"", b"UN") else entry.encoded.decode("ascii")
        return self.pixel_step.pixels(given.syntax, walk.notes, regions, entry.tag, vr, ReadBlock(stop - start, at))

    def _repacked(
        self, given: Given, joined: list[Part], header: bytes, walk: ByteWalk, new: NewPixels
    ) -> tuple[list[Part], bytes]:
        """The header and the pixels that belong together."""
        assert walk.pixels is not None  # noqa: S101 - there are new ones
        _, (begin, _), (start, _) = walk.pixels
        marks = {
            tag: mark
            for tag, mark in encoded_marks(self.policy, implicit=given.implicit, pixels_cleaned=new.masked)
            if tag == METHOD_CODES
        }
        header = with_pixels(header, new, marks, start - begin, implicit=given.implicit)
        walk.changes += new.changes
        parts = [part if isinstance(part, bytes) else (part[0] + start, part[1] + start) for part in new.parts]
        return [header, *parts], header

    def _walked(
        self, given: Given, patient: Patient, identifiers: Identifiers | None, trail: Trail | None
    ) -> tuple[ByteWalk, list[Part]]:
        values = Values(self.identity, patient.subject, patient.charset)
        search = None if identifiers is None else Search(identifiers)
        walk = ByteWalk(given.data, given.end, values, search)
        level = self.level(patient.sop_class_uid, implicit=given.implicit, scrubs=identifiers is not None)

        def find(tag: int) -> bytes | None:
            return values_of(given.data, given.start, given.end, frozenset({tag}), implicit=given.implicit).get(tag)

        values.templates = lambda text: self.template(values, level, find, text)
        return walk, walk.top(level, given.start, [Insertion(*mark) for mark in self.marks[given.implicit]], trail)

    # --- what both walks need ---

    def patient(self, known: Mapping[int, bytes], pseudonym: str | None, patient_id: str | None) -> Patient:
        """Whose the instance is, and which one. Raises Quarantine and LeftOut."""
        sop_class, sop_instance = _text(known, _SOP_CLASS), _text(known, _SOP_INSTANCE)
        if not sop_class or not sop_instance:
            raise Quarantine(Reason.IDENTIFIERS_MISSING, "00080018", "it has no SOP class or instance UID")
        _require_uid(_SOP_CLASS, sop_class)
        if sop_class in self._excluded_classes:
            raise LeftOut(f"SOP class {sop_class}")
        if (modality := _text(known, _MODALITY)) in self._excluded_modalities:
            raise LeftOut(f"modality {modality}")
        study = _text(known, _STUDY)
        own = text_of(known.get(PATIENT_ID, b""))
        # nobody's studies are nobody's in common
        whose = own or patient_id or f"study {study}"
        if pseudonym is None:
            pseudonym = self.identity.patient(whose)
        charset = tuple(term.strip() for term in _text(known, _CHARSET).split("\\"))
        return Patient(Subject(whose, pseudonym), charset, sop_class, sop_instance, _text(known, _SERIES), study)

    def identifiers(
        self,
        patient: Patient,
        known: Mapping[int, bytes],
        harvest: Sequence[tuple[str, bytes]],
        pairs: Mapping[tuple[Kind, str], str],
    ) -> Identifiers:
        """What must not be found any more."""
        whose = identifiers_of(known, *self._names_and_kept(patient, harvest))
        return _with_uids(whose, *self._gone(known, pairs, harvest))

    def _names_and_kept(
        self, patient: Patient, harvest: Sequence[tuple[str, bytes]]
    ) -> tuple[frozenset[bytes], frozenset[int]]:
        """What beside the patient's own attributes decides on the identifiers: others' names, and what the profile
        leaves where it is."""
        names = frozenset(value for vr, value in harvest if vr == "PN")
        return names, self.policy.for_class(patient.sop_class_uid).kept_identifiers

    def expected(self, patient: Patient, identifiers: Identifiers) -> Expected:
        return Expected(
            identifiers=identifiers,
            pseudonym=Values(self.identity, patient.subject, patient.charset).text(patient.subject.pseudonym),
            private_creators=self.policy.creators,
            overridden=self.policy.overridden,
            spares=self.policy.for_class(patient.sop_class_uid).spares,
            identity_removed=identity_removed(self.policy).encode(),
            uids=self._new_uids(patient),
        )

    def made(
        self,
        data: Buffer,
        parts: tuple[Part, ...],
        syntax: str,
        patient: Patient,
        changes: Sequence[Change],
        pairs: dict[tuple[Kind, str], str],
    ) -> Deidentified:
        return Deidentified(
            source=data,
            parts=parts,
            size=sum(len(part) if isinstance(part, bytes) else part[1] - part[0] for part in parts),
            transfer_syntax_uid=syntax,
            sop_class_uid=patient.sop_class_uid,
            sop_instance_uid=self._new_uid(_SOP_INSTANCE, patient.sop_instance_uid),
            series_instance_uid=self._new_uid(_SERIES, patient.series_instance_uid),
            study_instance_uid=self._new_uid(_STUDY, patient.study_instance_uid),
            changes=tuple(changes),
            pairs=pairs,
            subject=patient.subject,
        )

    def _new_uids(self, patient: Patient) -> dict[int, bytes]:
        return {
            _SOP_INSTANCE: self._new_uid(_SOP_INSTANCE, patient.sop_instance_uid).encode(),
            _STUDY: self._new_uid(_STUDY, patient.study_instance_uid).encode(),
            _SERIES: self._new_uid(_SERIES, patient.series_instance_uid).encode(),
        }

    def _new_uid(self, tag: int, original: str) -> str:
        """It may name files and folders, so that it must be one. Raises Quarantine."""
        if not self._retains_uids:
            return self.identity.uid(original)
        _require_uid(tag, original)
        return original

    def level(self, sop_class_uid: str, *, implicit: bool, scrubs: bool) -> Level:
        found = self._levels.get((sop_class_uid, implicit, scrubs))
        if found is None:
            if len(self._levels) >= _CLASSES:
                self._levels.clear()
            decisions = self.policy.for_class(sop_class_uid)
            found = Level(decisions, (), implicit=implicit, content=Content.NONE, notes=_NOTED, scrubs=scrubs)
            self._levels[sop_class_uid, implicit, scrubs] = found
        return found

    def template(self, values: Values, level: Level, find: Callable[[int], bytes | None], text: str) -> str:
        """The text with each {Keyword} replaced by what becomes of that attribute at the top level."""

        def value(match: re.Match[str]) -> str:
            (tag,) = tags_of(match[1])
            found = find(tag)
            decision = level.decisions.decide((), tag, "")
            if found is None or decision.action is Action.TEMPLATE:
                return ""
            made = values.replaced(decision, vr_of(tag) or "UN", found)
            return (made or b"").decode("ascii", errors="ignore").strip("\0 ")

        return _KEYWORD.sub(value, text)


@dataclass(frozen=True, slots=True)
class _Met:
    """The patient and class of the last instance, and the trail of theirs."""

    known: tuple[bytes | None, ...]
    given: tuple[str | None, str | None]
    patient: Patient
    of_study: bool  # nobody's by name: whose, the study tells
    trail: Trail


def _of_all(known: Mapping[int, bytes]) -> tuple[bytes | None, ...]:
    return tuple(map(known.get, _IN_COMMON))


def _with_other_ids(known: Mapping[int, bytes], *, implicit: bool) -> Mapping[int, bytes]:
    """With those of the items of OtherPatientIDsSequence among OtherPatientIDs, as far as they can be read."""
    found = known.get(OTHER_IDS)
    if not found:
        return known
    ids = [known.get(OTHER_PATIENT_IDS, b"")]
    ended = found.endswith(_SEQUENCE_END)
    for encoded in {implicit, True}:  # as UN it is implicit whatever the rest is (PS3.5 6.2.2)
        with suppress(Quarantine, struct.error):
            for begin, end in items_of(found, 0, len(found), (OTHER_IDS,), implicit=encoded, undefined=ended, ends={}):
                ids += values_of(found, begin, end, frozenset({PATIENT_ID}), implicit=encoded).values()
    return {**known, OTHER_PATIENT_IDS: b"\\".join(ids)}


def _names_something(uid: bytes) -> bool:
    """Of the patient's."""
    return len(uid) > _SHORTEST_UID and not is_registered(uid.decode("latin-1"))


def _has_stem(header: bytes, walk: ByteWalk) -> bool:
    """Whether a UID that was replaced may still be told. Most have their stem in common, so that this is one look."""
    stems = {original[:_STEM] for kind, original in walk.values.pairs if kind is Kind.UID}
    for vr, value in walk.harvest:
        if vr == "UI":
            stems |= {each[:_STEM].strip(b"\0 ").decode("latin-1") for each in value.split(b"\\")}
    return any(stem.encode("ascii", errors="replace") in header for stem in stems if len(stem) >= _SHORTEST_UID)


def _with_uids(identifiers: Identifiers, uids: tuple[bytes, ...], replaced: frozenset[bytes]) -> Identifiers:
    return replace(identifiers, uids=uids, replaced=replaced)


def _require_uid(tag: int, text: str) -> None:
    if text and not _is_uid(text):
        raise Quarantine(Reason.IDENTIFIERS_MISSING, place_of((tag,)), "what stands there is no UID")


def _is_uid(text: str) -> bool:
    return len(text) <= _LONGEST_UID and _UID.fullmatch(text) is not None


def _text(known: Mapping[int, bytes], tag: int) -> str:
    return known.get(tag, b"").decode("ascii", errors="replace").strip("\0 ")


def _joined(data: Buffer, parts: Sequence[Part], walk: ByteWalk) -> tuple[list[Part], bytes]:
    """The parts with short ones put together, and all that stands before the pixels' value."""
    pixels = walk.pixels[2] if walk.pixels is not None else None
    together: list[Part] = []
    pending: list[bytes] = []
    for part in parts:
        if isinstance(part, tuple) and (part[1] - part[0] > _APART or part == pixels):
            if pending:
                together.append(b"".join(pending))
                pending = []
            together.append(part)
            continue
        pending.append(part if isinstance(part, bytes) else data[part[0] : part[1]])
    if pending:
        together.append(b"".join(pending))
    header: list[bytes] = []
    for part in together:
        if part == pixels:
            break
        header.append(part if isinstance(part, bytes) else data[part[0] : part[1]])
    return together, header[0] if len(header) == 1 else b"".join(header)
