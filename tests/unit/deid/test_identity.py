"""Pseudonyms: the same everywhere, separated by project and kind, and reversible only with the key."""

from __future__ import annotations

import io
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adit.deid.identity import Identity, WeakKeyError
from adit.deid.mapping import Kind, MappingError, Opened, Pair, opened, sealed, write_csv

KEY = bytes(range(32))
_UIDS = st.lists(st.integers(0, 10**9), min_size=2, max_size=6).map(lambda parts: "1.2." + ".".join(map(str, parts)))


@given(_UIDS)
def test_a_uid_becomes_a_valid_uid_and_always_the_same(uid: str) -> None:
    made = Identity(KEY, "stroke").uid(uid)
    assert made == Identity(KEY, "stroke").uid(uid)
    assert made.startswith("2.25.")
    assert 6 < len(made) <= 44
    number = int(made[5:])
    assert str(number) == made[5:]
    assert number >> 76 & 0xF == 8  # the version of a UUID
    assert number >> 62 & 0b11 == 0b10  # its variant


def test_another_process_makes_the_same() -> None:
    code = (
        "from adit.deid.identity import Identity\n"
        "made = Identity(bytes(range(32)), 'stroke')\n"
        "print(made.uid('1.2.3.4'), made.patient('1003'), made.number('A1'), made.days('1003'), made.key_id)"
    )
    told = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout for _ in "ab"
    }
    here = Identity(KEY, "stroke")
    own = f"{here.uid('1.2.3.4')} {here.patient('1003')} {here.number('A1')} {here.days('1003')} {here.key_id}\n"
    assert told == {own}


def test_projects_keys_and_kinds_are_unrelated() -> None:
    one, two, three = Identity(KEY, "stroke"), Identity(KEY, "lung"), Identity(KEY[::-1], "stroke")
    assert len({each.uid("1.2.3") for each in (one, two, three)}) == 3
    assert len({each.patient("1003") for each in (one, two, three)}) == 3
    assert len({one.patient("1003"), one.number("1003"), one.value("1003")}) == 3


def test_the_standards_own_uids_stay() -> None:
    assert Identity(KEY, "stroke").uid("1.2.840.10008.5.1.4.1.1.2") == "1.2.840.10008.5.1.4.1.1.2"
    assert Identity(KEY, "stroke").uid("1.2.840.100080.1").startswith("2.25.")


def test_a_number_behind_dicoms_root_is_no_uid_of_the_standard() -> None:
    for uid in ("1.2.840.10008.999.19500312.4711", "1.2.840.10008.", "1.2.840.10008.5.1.4.1.1.2.73519284"):
        assert Identity(KEY, "stroke").uid(uid).startswith("2.25.")


def test_a_weak_key_is_refused_and_a_key_is_never_shown() -> None:
    with pytest.raises(WeakKeyError):
        Identity(b"secret", "stroke")
    assert "stroke" in repr(Identity(KEY, "stroke"))
    assert KEY.hex() not in repr(vars(Identity(KEY, "stroke")).keys())


@given(st.text(min_size=1, max_size=64))
def test_offsets_go_into_the_past(patient_id: str) -> None:
    assert -3650 <= Identity(KEY, "stroke").days(patient_id) <= -1


def test_a_mapping_opens_with_the_key_only_and_is_the_same_each_time() -> None:
    identity = Identity(KEY, "stroke")
    pairs = [Pair(Kind.PATIENT, "Müller 1003", "STROKE-001"), Pair(Kind.UID, "1.2.3", identity.uid("1.2.3"))]
    lines = list(sealed(pairs, identity))
    assert lines == list(sealed(pairs, identity))
    assert "1003" not in "".join(lines)
    assert opened(lines, identity).pairs == pairs
    for other in (Identity(KEY, "lung"), Identity(KEY[::-1], "stroke")):
        assert opened(lines, other) == Opened([], foreign=Counter({identity.key_id: 2}))
        disguised = lines[0].replace(identity.key_id, other.key_id)
        with pytest.raises(MappingError):
            opened([disguised], other)
    with pytest.raises(MappingError, match="line 1"):
        opened([lines[0].replace("STROKE-001", "STROKE-002")], identity)
    file = io.StringIO()
    assert write_csv(pairs, Kind.PATIENT, file) == 1
    assert file.getvalue().splitlines() == ["original,replacement", "Müller 1003,STROKE-001"]
