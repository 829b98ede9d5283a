"""What was done to which instance, element by element, as lines of JSON: the path, the action, the rule; never a value.

Written beside what leaves. Slices of a series are treated alike, so the records of an instance are kept once for all
that have the same: a `pattern` line has them, one text for each changed element, and instances name its number.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any, Protocol

from adit.deid.engine.deidentified import Deidentified
from adit.deid.engine.instance import Engine
from adit.deid.engine.plan import Change
from adit.deid.quarantine import LeftOut, Quarantine


class Lines(Protocol):
    def write(self, text: str, /) -> object: ...


class Audit:
    """Each line tells the digest of all lines before it, so that none can be changed, left out or added unseen."""

    def __init__(self, file: Lines, engine: Engine) -> None:
        self._file = file
        self._identity = engine.identity
        self._patterns: dict[tuple[Change, ...], int] = {}
        self._last: tuple[tuple[Change, ...], int] = ((), 0)  # to compare is cheaper than to hash
        self._chain = sha256()
        self._line(
            profile=engine.policy.profile.metadata.name,
            generation=engine.policy.profile.metadata.generation,
            project=engine.identity.project,
            keyId=engine.identity.key_id,
            edition=engine.policy.standard.edition,
        )

    def treated(self, made: Deidentified) -> None:
        changes, number = self._last
        if changes != made.changes or not number:
            number = self._number(made.changes)
            self._last = made.changes, number
        self._line(instance=made.sop_instance_uid, pattern=number)

    def refused(self, source: str, why: Quarantine | LeftOut) -> None:
        """`source` tells which it was to whoever has the key: a keyed pseudonym of it is written."""
        if isinstance(why, LeftOut):
            self._line(leftOut=self._identity.value(source), what=why.what)
        else:
            told = {"reason": str(why.reason), "place": why.place, "detail": why.detail}
            self._line(quarantined=self._identity.value(source), **told)

    def _number(self, changes: tuple[Change, ...]) -> int:
        number = self._patterns.get(changes)
        if number is None:
            number = self._patterns[changes] = len(self._patterns) + 1
            self._line(pattern=number, changes=[change.text for change in changes])
        return number

    def _line(self, **record: Any) -> None:
        line = json.dumps({"before": self._chain.hexdigest()[:16], **record})
        self._chain.update(line.encode())
        self._file.write(f"{line}\n")
