"""Compiles a DeidProfile and the standard's table into decisions, pure: by place, tag, VR and private creator.

Called by `adit.deid.engine` once for each kind of element that it meets, and by `adit deid explain`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Final

from adit.deid import dictionary
from adit.deid.decision import Action, Decision
from adit.deid.identifying import IDENTIFYING, IDENTITY, STUDY_DATE
from adit.deid.standard import Row, Standard, standard
from adit.model.deid_profile import DeidProfile, Option, Override, OverrideAction
from adit.model.guess import guess

PATIENT_NAME: Final = 0x00100010
PATIENT_ID: Final = 0x00100020
_PSEUDONYMS: Final = frozenset({PATIENT_NAME, PATIENT_ID})
_HASHED: Final = frozenset({0x00080050, 0x00200010})  # AccessionNumber, StudyID
_PATIENT_AGE: Final = 0x00101010
_CONTENT: Final = frozenset({0x0040A730, 0x00400555, 0x00400610, 0x0040B020})
"""Of content items: ContentSequence, AcquisitionContext-, SpecimenPreparation-, WaveformAnnotationSequence."""
_OURS: Final = frozenset({0x00120062, 0x00120063, 0x00120064, 0x00280303})
"""Written by the engine itself, so whatever stands there goes: PatientIdentityRemoved and the other marks."""
_TEMPORAL: Final = frozenset({"DA", "DT", "TM"})
_DATES: Final = frozenset({Option.RETAIN_FULL_DATES, Option.RETAIN_MODIFIED_DATES})
_BESIDES: Final = {
    0x00100033: Action.REMOVE,  # PatientBirthDateInAlternativeCalendar
    0x00100034: Action.REMOVE,  # PatientDeathDateInAlternativeCalendar
    0x00201070: Action.REMOVE,  # OtherStudyNumbers
    0x00401006: Action.REMOVE,  # order numbers, which are listed where they were moved to: PlacerOrderNumberProcedure,
    0x00401007: Action.REMOVE,  # FillerOrderNumberProcedure,
    0x00402006: Action.REMOVE,  # PlacerOrderNumberImagingServiceRequestRetired,
    0x00402007: Action.REMOVE,  # FillerOrderNumberImagingServiceRequestRetired
    0x0040E001: Action.HASH,  # HL7InstanceIdentifier: which document of the patient it was
    0x04000500: Action.REMOVE,  # EncryptedAttributesSequence: the original, for whoever has that key
    0x04000520: Action.REMOVE,  # EncryptedContent, wherever it stands
    0x00080051: Action.REMOVE,  # who issued numbers: IssuerOfAccessionNumberSequence,
    0x00100024: Action.REMOVE,  # IssuerOfPatientIDQualifiersSequence,
    0x00400026: Action.REMOVE,  # OrderPlacerIdentifierSequence,
    0x00400027: Action.REMOVE,  # OrderFillerIdentifierSequence,
    0x00400036: Action.REMOVE,  # AssigningFacilitySequence,
    0x00400039: Action.REMOVE,  # AssigningJurisdictionCodeSequence,
    0x0040003A: Action.REMOVE,  # AssigningAgencyOrDepartmentCodeSequence
    0x0008041B: Action.REMOVE,  # RecordKey, and
    0x0008041C: Action.REMOVE,  # PriorRecordKey: which record of an archive it was
    0x00102295: Action.REMOVE,  # BreedRegistrationNumber
    0x0040A028: Action.REMOVE,  # codes of people, documents and organisations in retired reports
    0x0040A066: Action.REMOVE,
    0x0040A068: Action.REMOVE,
    0x0040A070: Action.REMOVE,
    0x0040A076: Action.REMOVE,
    0x0040A992: Action.REMOVE,  # UniformResourceLocatorTrial
    0x00720008: Action.REMOVE,  # HangingProtocolCreator
    0x00720010: Action.REMOVE,  # HangingProtocolUserGroupName
    0x0074100C: Action.REMOVE,  # ContactDisplayName
    0x21000160: Action.REMOVE,  # OwnerID
    0x40080103: Action.REMOVE,  # ReferenceToRecordedSound
}
"""What table E.1-1 does not list although it tells who someone is. Most of it is retired."""
_CLEANING: Final = frozenset(
    {Option.CLEAN_DESCRIPTORS, Option.CLEAN_STRUCTURED_CONTENT, Option.CLEAN_GRAPHICS, Option.RETAIN_MODIFIED_DATES}
)
_SOP_CLASS: Final = 0x00080016
_OWN_UIDS: Final = frozenset({0x00080018, 0x0020000D, 0x0020000E})
"""SOPInstanceUID, StudyInstanceUID, SeriesInstanceUID: destinations file and prove instances by them."""
_FIRST_GROUP: Final = 0x0008
_PIXEL_GROUP: Final = 0x7FE0
_PIXELS: Final = frozenset({0x7FE00001, 0x7FE00002, 0x7FE00008, 0x7FE00009, 0x7FE00010})
_NUMBERS: Final = frozenset({"AT", "FD", "FL", "OB", "OD", "OF", "OL", "OV", "OW", "SL", "SS", "SV", "UL", "US", "UV"})
_TEXTS: Final = frozenset({"LO", "SH", "ST", "LT", "UT", "UC", "CS"})
_FREE_TEXTS: Final = _TEXTS - {"CS"}
_GRAPHICS: Final = 0x00700001  # GraphicAnnotationSequence
_GRAPHIC_TEXT: Final = 0x00700006  # UnformattedTextValue
_CLASS_UIDS: Final = (
    "ClassUID",
    "ClassesSupported",
    "SyntaxUID",
    "ContextUID",
    "ContextGroupExtensionCreatorUID",
    "MappingResourceUID",
    "CodingSchemeUID",
)
"""How the keywords of UIDs end that name no instance."""
_OVERRIDES: Final = {
    OverrideAction.REMOVE: Action.REMOVE,
    OverrideAction.EMPTY: Action.EMPTY,
    OverrideAction.REPLACE: Action.REPLACE,
    OverrideAction.KEEP: Action.KEEP,
    OverrideAction.HASH: Action.HASH,
    OverrideAction.MAP: Action.UID,
    OverrideAction.SHIFT: Action.SHIFT,
    OverrideAction.TEMPLATE: Action.TEMPLATE,
}

Path = tuple[int, ...]


class ProfileError(ValueError):
    """The profile names something that does not exist, or asks for what cannot be done; `field` is where it does."""

    def __init__(self, rule: str, field: str = "") -> None:
        super().__init__(f"{field}: {rule}" if field else rule)
        self.field = field


@dataclass(frozen=True, slots=True)
class _Selected:
    """An override with its tags found."""

    override: Override
    rule: str
    path: Path | None  # of the element itself; of length 1 for a tag anywhere
    anywhere: bool

    @property
    def decision(self) -> Decision:
        return Decision(_OVERRIDES[self.override.action], self.rule, self.override.value)


class Policy:
    """A compiled profile. Raises ProfileError when it cannot be compiled."""

    def __init__(self, profile: DeidProfile) -> None:
        self.profile = profile
        self.options = frozenset(profile.spec.options)
        self.standard: Standard = standard()
        self._selected = [
            _select(number, each, self.options) for number, each in enumerate(profile.spec.overrides, start=1)
        ]
        self._classes: dict[str, ClassPolicy] = {}

    def for_class(self, sop_class_uid: str) -> ClassPolicy:
        """The decisions for instances of one SOP class."""
        found = self._classes.get(sop_class_uid)
        if found is None:
            found = self._classes[sop_class_uid] = ClassPolicy(self, sop_class_uid, self._selected)
        return found

    @property
    def overridden(self) -> frozenset[int]:
        """The tags of elements that the site decides about itself."""
        return frozenset(each.path[-1] for each in self._selected if each.path is not None)

    @property
    def creators(self) -> frozenset[str]:
        """Of private blocks, of which anything may stay."""
        own = {each.override.private_creator or "" for each in self._selected} - {""}
        safe = self.standard.safe_private if Option.RETAIN_SAFE_PRIVATE in self.options else {}
        return frozenset(own | set(safe))

    @property
    def weakened(self) -> bool:
        """Whether an override keeps what the profile would not: then the standard's profile cannot be claimed."""
        return bool(self._keeping)

    @property
    def keeps_identity(self) -> bool:
        """Whether an override keeps what says outright who the patient is."""
        return bool(self.identity_kept)

    @property
    def identity_kept(self) -> tuple[str, ...]:
        """What overrides keep of that, as the profile names it."""
        found = [each.override for each in self._keeping if each.path is not None and each.path[-1] in IDENTITY]
        return tuple(each.keyword or each.path or each.tag or "" for each in found)

    def loosens(self, option: Option) -> bool:
        """Whether an override keeps what this option cleans: then the option cannot be claimed either."""
        if option is Option.RETAIN_SAFE_PRIVATE:
            return any(each.path is None for each in self._keeping)
        rows = [self.standard.attributes.get(each.path[-1]) for each in self._keeping if each.path is not None]
        return option in _CLEANING and any(row is not None and row.options.get(option) == "C" for row in rows)

    @property
    def _keeping(self) -> list[_Selected]:
        return [each for each in self._selected if each.override.action is OverrideAction.KEEP]

    def overrides_dates(self, action: OverrideAction) -> bool:
        """Whether an override does this to a date or time. (In private blocks none is kept as it is.)"""
        return any(
            each.override.action is action and each.path is not None and vr_of(each.path[-1]) in _TEMPORAL
            for each in self._selected
        )


class ClassPolicy:
    def __init__(self, policy: Policy, sop_class_uid: str, selected: list[_Selected]) -> None:
        self._policy = policy
        self._standard = policy.standard
        self._options = policy.options
        self._types = policy.standard.types_of(sop_class_uid)
        mine = [each for each in reversed(selected) if each.override.sop_class in (None, sop_class_uid)]
        self._anywhere = {each.path[0]: each for each in reversed(mine) if each.path and each.anywhere}
        self._places = {each.path: each for each in reversed(mine) if each.path and not each.anywhere}
        self._private = [each for each in mine if each.path is None]  # the last one first
        self._order = {id(each): number for number, each in enumerate(reversed(mine))}

    def decide(self, path: Path, tag: int, vr: str, creator: str | None = None) -> Decision:
        """What happens to the element with this tag inside the sequences of `path`.

        `vr` is the one that its bytes are encoded by; UN or empty when they do not say. `creator` is the
        private creator of its block, where it has one.
        """
        if tag >> 16 & 1:
            return self._privately(tag, vr, creator)
        known = vr_of(tag)
        if tag & 0xFFFF == 0:
            return Decision(Action.REMOVE, "group length")
        if vr in ("", "UN"):
            vr = known or "UN"
        if tag in _OURS and not path:
            return Decision(Action.REMOVE, "mark")
        override = self._overridden(path, tag)
        if override is not None:
            return _fitting(override.decision, vr)
        return self._by_table(path, tag, vr, known)

    @cached_property
    def kept_identifiers(self) -> frozenset[int]:
        """Which of the attributes that are looked for stay at the top level on purpose: their values may stand
        anywhere."""
        return frozenset(tag for tag in (*IDENTIFYING, STUDY_DATE) if self.decide((), tag, "").action is Action.KEEP)

    def spares(self, path: Path, tag: int) -> bool:
        """Whether nobody is looked for in the element: an override writes it, or keeps it although, or because, it
        names someone. Texts that one keeps, or puts together of others, are looked through."""
        found = self._overridden(path, tag)
        if found is None or found.override.action is OverrideAction.TEMPLATE:
            return False
        return found.override.action is not OverrideAction.KEEP or names_someone(tag)

    def scrubs(self, decision: Decision, tag: int) -> bool:
        """Whether the element, which is kept, is emptied where it tells of someone. UIDs are not, as an instance may
        need them: with such a one it is refused."""
        if tag >> 16 & 1:
            return True
        if decision.rule.startswith("override") and names_someone(tag):
            return False
        return vr_of(tag) != "UI"

    def keeps_creator(self, creator: str) -> bool:
        """Whether anything in this creator's blocks may stay."""
        if any(each.override.private_creator == creator for each in self._private):
            return True
        return Option.RETAIN_SAFE_PRIVATE in self._options and creator in self._standard.safe_private

    @property
    def keeps_private(self) -> bool:
        return bool(self._private) or Option.RETAIN_SAFE_PRIVATE in self._options

    @property
    def retains_uids(self) -> bool:
        return Option.RETAIN_UIDS in self._options

    def lasting(self, tag: int) -> bool:
        """Whether what becomes of the element depends on no other element of its data set."""
        if tag >> 16 & 1:
            return all(each.override.action is not OverrideAction.TEMPLATE for each in self._private)
        override = self._overridden((), tag)
        return override is None or override.override.action is not OverrideAction.TEMPLATE

    def concept(self, scheme: str, code: str, value_type: str) -> Decision | None:
        """What happens to a content item with this concept; None when the standard does not list it."""
        row = self._standard.concepts.get((scheme, code, value_type))
        if row is None:
            return None
        code, name = self._code(row, "E.3.4-1")
        match code:
            case "K":
                return Decision(Action.KEEP, name)
            case "C":
                return Decision(Action.CLEAN, name)
            case "D" | "X/D":
                return Decision(Action.DUMMY, name)
            case _:
                return Decision(Action.REMOVE, name)

    def _overridden(self, path: Path, tag: int) -> _Selected | None:
        found = [each for each in (self._anywhere.get(tag), self._places.get((*path, tag))) if each is not None]
        return max(found, key=lambda each: self._order[id(each)], default=None)

    def _code(self, row: Row, table: str) -> tuple[str, str]:
        """The code that holds with the options that are on, and its name: to clean goes before to keep."""
        found = sorted((code, option) for option, code in row.options.items() if option in self._options)
        if found:
            code, option = found[0]  # C before K
            return code, f"{option} {code}"
        return row.basic, f"{table} {row.basic}"

    def _by_table(self, path: Path, tag: int, vr: str, known: str | None) -> Decision:
        group = tag >> 16
        if group & 0xFF00 == 0x6000:
            return Decision(Action.REMOVE, "overlay")  # a bitmap may show a name, and its rows alone mean nothing
        if group & 0xFF00 == 0x5000:
            return Decision(Action.REMOVE, "curve")  # retired; its labels may name someone
        if group < _FIRST_GROUP:
            return Decision(Action.REMOVE, "no data set")  # AE titles and more of messages, files, directories
        if group == _PIXEL_GROUP and path:
            return Decision(Action.REMOVE, "pixels in a sequence")  # an icon, whatever it is called: nobody looks at it
        if group == _PIXEL_GROUP and tag not in _PIXELS:
            return Decision(Action.REMOVE, "no pixels that anybody looks at")  # retired; and lengths of those there are
        if tag in _BESIDES:
            return Decision(_BESIDES[tag], "beside the table")
        row = self._standard.attributes.get(tag)
        if row is None and _GRAPHICS in path and (vr in _FREE_TEXTS or known in _FREE_TEXTS):
            row = self._standard.attributes[_GRAPHIC_TEXT]  # a tick's label is no better than the text beside it
        if row is None:
            return self._by_vr(tag, vr, known)
        code, name = self._code(row, "E.1-1")
        if code in ("K", "C"):
            return self._retained(code, name, tag, vr, known)
        if tag in _PSEUDONYMS:
            return Decision(Action.PSEUDONYM, name)
        if tag in _HASHED:
            return Decision(Action.HASH, name)
        return Decision(_resolved(code, self._type(path, tag)), name)

    def _type(self, path: Path, tag: int) -> int | None:
        """1, 2 or 3 in this class; None when that cannot be told."""
        if self._types is None:
            return None
        return self._types.get((*path, tag), None if path else 3)

    def _retained(self, code: str, name: str, tag: int, vr: str, known: str | None) -> Decision:
        if vr == "SQ" or known == "SQ":
            action = Action.CONTENT if code == "C" and tag in _CONTENT else Action.SEQUENCE
            return Decision(action, name, cleaned=code == "C")
        if vr in _TEMPORAL or known in _TEMPORAL:
            shifted = Option.RETAIN_MODIFIED_DATES in self._options
            return Decision(Action.SHIFT if shifted else Action.KEEP, name)
        if vr == "AS" or tag == _PATIENT_AGE:
            return Decision(Action.AGE, name)
        if code == "K":
            return Decision(Action.KEEP, name)
        if vr in _TEXTS:
            return Decision(Action.CLEAN, name)
        return Decision(Action.REMOVE, name)

    def _by_vr(self, tag: int, vr: str, known: str | None) -> Decision:
        """What the standard does not list is kept, unless its VR alone may name someone."""
        if known is None or not dictionary.keyword_of(tag):  # some tags are kept free by PS3.6
            return Decision(Action.REMOVE, "unknown")
        both = {vr, known}
        if both & {"SQ"}:
            return Decision(Action.SEQUENCE, "sequence")
        if both & {"PN"}:
            return Decision(Action.EMPTY, "VR PN")
        if both & _TEMPORAL:
            if Option.RETAIN_FULL_DATES in self._options:
                return Decision(Action.KEEP, "VR DA, DT, TM")
            shifted = Option.RETAIN_MODIFIED_DATES in self._options
            return Decision(Action.SHIFT if shifted else Action.EMPTY, "VR DA, DT, TM")
        if both & {"UI"}:
            if Option.RETAIN_UIDS in self._options or _names_a_class(tag):
                return Decision(Action.KEEP, "VR UI")
            return Decision(Action.UID, "VR UI")
        if both & {"UR"}:
            return Decision(Action.REMOVE, "VR UR")
        if both & {"AS"}:
            return Decision(Action.AGE, "VR AS")
        if vr == "UN":
            return Decision(Action.REMOVE, "VR UN")
        if vr in _NUMBERS and known not in _NUMBERS:
            return Decision(Action.REMOVE, f"text as VR {vr}")  # as such no name would be looked for in it
        return Decision(Action.KEEP, "not listed")

    def _privately(self, tag: int, vr: str, creator: str | None) -> Decision:
        element = tag & 0xFFFF
        if 0x0010 <= element <= 0x00FF and creator is None:
            return Decision(Action.REMOVE, "private")  # a creator: the engine keeps those of blocks that it keeps
        if creator is None:
            return Decision(Action.REMOVE, "private")
        if vr in ("", "UN"):
            vr = private_vr(tag, creator) or "UN"
        name = f"{tag >> 16:04X}xx{tag & 0xFF:02X}"
        for each in self._private:
            if each.override.private_creator == creator and each.override.element in (None, name):
                return (
                    self._guarded(each.decision, vr)
                    if each.override.action is OverrideAction.KEEP
                    else _fitting(each.decision, vr)
                )
        safe = self._standard.safe_private.get(creator, frozenset())
        if Option.RETAIN_SAFE_PRIVATE in self._options and tag & 0xFFFF00FF in safe:
            return self._guarded(Decision(Action.KEEP, "RetainSafePrivate C"), vr)
        return Decision(Action.REMOVE, "private")

    def _guarded(self, kept: Decision, vr: str) -> Decision:
        """A private element that is kept: what its VR alone gives away is treated all the same."""
        if vr == "SQ":
            return Decision(Action.SEQUENCE, kept.rule)
        if vr == "PN":
            return Decision(Action.EMPTY, f"{kept.rule}, VR PN")
        if vr == "UI" and Option.RETAIN_UIDS not in self._options:
            return Decision(Action.UID, f"{kept.rule}, VR UI")
        if vr in _TEMPORAL and Option.RETAIN_FULL_DATES not in self._options:
            shifted = Option.RETAIN_MODIFIED_DATES in self._options
            return Decision(Action.SHIFT if shifted else Action.EMPTY, f"{kept.rule}, VR {vr}")
        return kept


@cache
def vr_of(tag: int) -> str | None:
    """The VR by PS3.6; None for what it does not know. Of several possible ones, the first."""
    if not dictionary.is_known(tag):
        row = standard().attributes.get(tag)
        return None if row is None else "UN"
    return dictionary.vr_of(tag).partition(" ")[0]


def names_someone(tag: int) -> bool:
    """Whether the attribute is there to say who someone is."""
    return tag in IDENTIFYING or vr_of(tag) == "PN"


def tags_of(path: str) -> Path:
    """The tags of a path of tags and keywords. Raises ProfileError for a keyword that PS3.6 does not know."""
    tags = []
    for part in path.split("."):
        tag = int(part, 16) if len(part) == 8 and all(letter in "0123456789ABCDEF" for letter in part) else None
        if tag is None:
            tag = dictionary.tag_of(part)
        if tag is None:
            raise ProfileError(f"there is no attribute {part} in PS3.6{guess(part, dictionary.keywords(), 0.8)}")
        tags.append(tag)
    return tuple(tags)


def _select(number: int, override: Override, options: frozenset[Option]) -> _Selected:
    rule = f"override {number}"
    if override.private_creator is not None:
        return _Selected(override, rule, None, anywhere=True)
    given = override.tag or override.keyword or override.path or ""
    field = f"spec.overrides[{number - 1}]"
    try:
        path = tags_of(given)
    except ProfileError as error:
        raise ProfileError(str(error), field) from None
    if path[-1] >> 16 & 1:
        raise ProfileError("a private element is named by its privateCreator, as its block may lie anywhere", field)
    of_instance = len(path) == 1 or not override.path
    mapped = override.action is OverrideAction.MAP and Option.RETAIN_UIDS not in options
    if path[-1] in _OWN_UIDS and of_instance and not mapped:
        raise ProfileError(f"{given} names the instance itself: it is mapped, or kept by RetainUIDs", field)
    if path[-1] == _SOP_CLASS and of_instance and override.action is not OverrideAction.KEEP:
        raise ProfileError(f"{given} tells what the instance is: it stays, or its instances are excluded", field)
    if path[-1] >> 16 <= 0x0002 or path[-1] >> 16 >= 0x7FE0:
        raise ProfileError(f"{given} cannot be overridden", field)
    return _Selected(override, rule, path, anywhere=override.path is None)


def _fitting(decision: Decision, vr: str) -> Decision:
    """A sequence that is kept is cleaned inside all the same, and cannot become a text."""
    if vr == "SQ" and decision.action is Action.KEEP:
        return Decision(Action.SEQUENCE, decision.rule)
    if vr == "SQ" and decision.action not in (Action.REMOVE, Action.EMPTY):
        return Decision(Action.REMOVE, decision.rule)
    return decision


def _resolved(code: str, kind: int | None) -> Action:
    """The mildest action of a compound code that leaves the instance valid (PS3.15 E.1.1), by the attribute's type.

    Of what is not known the one that keeps an attribute present, as it may be of type 1.
    """
    codes = code.split("/")
    actions = {"X": Action.REMOVE, "Z": Action.EMPTY, "D": Action.DUMMY, "U": Action.UID, "U*": Action.SEQUENCE}
    order = {1: ("U", "D", "U*"), 2: ("U", "Z", "D", "U*"), 3: ("U", "X", "Z", "D")}.get(
        kind or 0, ("U", "D", "U*", "Z", "X")
    )
    for each in order:
        if each in codes:
            return actions[each]
    return Action.DUMMY if kind == 1 and "Z" in codes else actions[codes[0]]


def _names_a_class(tag: int) -> bool:
    """A UID of something that is no instance: a class, a syntax, a coding scheme."""
    return dictionary.keyword_of(tag).endswith(_CLASS_UIDS)


def private_vr(tag: int, creator: str) -> str | None:
    """The VR by what is known of the creator's elements. Of several possible ones, the first."""
    vr = dictionary.private_vr_of(tag, creator)
    return None if vr is None else vr.partition(" ")[0]
