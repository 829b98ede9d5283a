"""Whether a device rule's condition fits an instance. Asked by `plan`.

Linear in the text, whatever a rule's author writes: `matches` knows wildcards and no regular expressions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adit.model.pixel_policy import PixelAttribute, PixelCondition, PixelTest

Texts = Mapping[PixelAttribute, Sequence[str]]


def fits(condition: PixelCondition, texts: Texts) -> bool:
    return (
        all(_holds(test, texts) for test in condition.all)
        and (not condition.any or any(_holds(test, texts) for test in condition.any))
        and not any(_holds(test, texts) for test in condition.none)
    )


def _holds(test: PixelTest, texts: Texts) -> bool:
    values = [_plain(value) for value in texts.get(test.attribute, ())] or [""]
    if test.equals is not None:
        return _plain(test.equals) in values
    if test.starts_with is not None:
        return any(value.startswith(_plain(test.starts_with)) for value in values)
    if test.contains is not None:
        return any(_plain(test.contains) in value for value in values)
    assert test.matches is not None  # noqa: S101 - exactly one is given
    return any(_matches(_plain(test.matches), value) for value in values)


def _plain(text: str) -> str:
    return text.strip().casefold()


def _matches(pattern: str, text: str) -> bool:
    """Greedy with one step back: the last star takes up what does not fit."""
    at = begun = 0
    star = -1
    for_pattern = 0
    while at < len(text):
        if for_pattern < len(pattern) and pattern[for_pattern] in ("?", text[at]) and pattern[for_pattern] != "*":
            at, for_pattern = at + 1, for_pattern + 1
        elif for_pattern < len(pattern) and pattern[for_pattern] == "*":
            star, begun = for_pattern, at
            for_pattern += 1
        elif star >= 0:
            begun += 1
            at, for_pattern = begun, star + 1
        else:
            return False
    return not pattern[for_pattern:].strip("*")
