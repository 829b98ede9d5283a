"""How what stands in a content item is treated (PS3.15 E.3.4), as far as its own tag does not tell. Pure.

Asked by both walks for each item of a sequence, and by `plan` for each element.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from adit.deid.decision import Action, Decision

_VALUES: Final = frozenset({0x0040A120, 0x0040A121, 0x0040A122, 0x0040A123, 0x0040A124, 0x0040A160})
"""DateTime, Date, Time, PersonName, UID, TextValue."""
_UID, _NAME, _TEXT = 0x0040A124, 0x0040A123, 0x0040A160
CODE_MEANINGS: Final = frozenset({0x00080104, 0x00080108})  # the second is ExtendedCodeMeaning
_MEASURED_VALUES: Final = 0x0040A300
_NUMBER: Final = 0x0040A30A
_SAME_NUMBER: Final = frozenset({0x0040A161, 0x0040A162, 0x0040A163})  # as floating point, or a fraction
_LOCAL: Final = ("", "L")
_PRIVATE_SCHEME: Final = "99"  # how private designators begin (PS3.16 8.2)
_AGES: Final = frozenset(
    {
        ("DCM", "121033"),  # Subject Age
        ("SCT", "397669002"),  # Age
        ("SCT", "424144002"),  # Current chronological age
        ("UMLS", "C0001779"),  # Age
        ("LN", "30525-0"),  # Age
        ("LN", "21611-9"),  # Age, estimated
        ("LN", "21612-7"),  # Age, reported
        ("LN", "29553-5"),  # Age, calculated
        ("LN", "63900-5"),  # Current age or age at death
    }
)


class Content(StrEnum):
    """What a level is in."""

    NONE = ""  # in no content item
    UNLISTED = "unlisted"
    KEEP = "keep"
    CLEAN = "clean"
    DUMMY = "dummy"
    INSIDE = "inside"  # in a sequence of such an item
    PRIVATE_CODE = "private code"
    AGE = "age"  # in years, or nobody knows
    AGE_IN_MONTHS = "age in months"
    AGE_IN_WEEKS = "age in weeks"
    AGE_IN_DAYS = "age in days"
    AGE_IN_HOURS = "age in hours"
    AGE_IN_MINUTES = "age in minutes"


_UNITS: Final = {
    "mo": Content.AGE_IN_MONTHS,
    "wk": Content.AGE_IN_WEEKS,
    "d": Content.AGE_IN_DAYS,
    "h": Content.AGE_IN_HOURS,
    "min": Content.AGE_IN_MINUTES,
}
_AGE_MODES: Final = {mode: unit for unit, mode in _UNITS.items()} | {Content.AGE: "a"}


def mode_of(decision: Decision | None, concept: tuple[str, str, str] | None, unit: str) -> tuple[Content, str | None]:
    """For a content item, by the decision on its concept: a mode, or the rule by which all of the item goes."""
    known = {Action.KEEP: Content.KEEP, Action.CLEAN: Content.CLEAN, Action.DUMMY: Content.DUMMY}
    mode = Content.UNLISTED if decision is None else known.get(decision.action)
    if mode is None:
        return Content.NONE, decision.rule if decision is not None else None
    if mode is not Content.DUMMY and concept is not None and concept[:2] in _AGES:
        return _age_in(unit), None
    return mode, None


def mode_below(mode: Content, tag: int, unit: str, *, private_code: bool, cleaned: bool) -> Content:
    """For an item of any other sequence with this tag, that stands in a content item, or is to be `cleaned`."""
    if mode in _AGE_MODES and tag == _MEASURED_VALUES:
        return _age_in(unit)
    if mode in (Content.NONE, Content.KEEP) and not cleaned:
        return Content.NONE
    return Content.PRIVATE_CODE if private_code else Content.INSIDE


def is_private(scheme: str) -> bool:
    """Whether a code's meaning may be whatever its maker wrote."""
    return scheme.upper() in _LOCAL or scheme.startswith(_PRIVATE_SCHEME)


def decided(mode: Content, tag: int, decision: Decision) -> Decision:
    """What happens to an element there: by the item's concept, else by what it is."""
    rule = f"content {mode}"
    if decision.rule.startswith("override"):
        return decision
    if mode is Content.PRIVATE_CODE and tag in CODE_MEANINGS:
        return Decision(Action.CLEAN, rule)
    if mode in _AGE_MODES and tag == _NUMBER:
        return Decision(Action.AGE, rule, _AGE_MODES[mode])
    if mode in _AGE_MODES and tag in _SAME_NUMBER:
        return Decision(Action.REMOVE, rule)
    return _of_value(mode, tag, decision, rule) if tag in _VALUES else decision


def _of_value(mode: Content, tag: int, decision: Decision, rule: str) -> Decision:
    if mode is Content.DUMMY:
        return Decision(Action.UID if tag == _UID else Action.DUMMY, rule)
    if mode is Content.KEEP:
        return Decision(Action.DUMMY if tag == _NAME else Action.KEEP, rule)
    return Decision(Action.CLEAN, rule) if tag == _TEXT else decision


def _age_in(unit: str) -> Content:
    return _UNITS.get(unit.partition("_")[0], Content.AGE)  # UCUM has mo_j and mo_s besides mo
