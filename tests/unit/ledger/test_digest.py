"""The digest is what its documentation says, so that others can compute it too."""

from __future__ import annotations

from hashlib import sha256

from adit.ledger.digest import digest
from adit.model.instance import InstanceRecord, InstanceState


def record(uid: str, **values: object) -> InstanceRecord:
    return InstanceRecord.model_validate(
        {"sop_instance_uid": uid, "series_instance_uid": "1", "state": InstanceState.VERIFIED, **values}
    )


def test_the_digest_is_over_sorted_lines() -> None:
    whole = record("1.2.10", size=7, transfer_syntax_uid="1.2.840.10008.1.2", sha256="ab")
    bare = record("1.2.2")
    text = "1.2.10\t7\t1.2.840.10008.1.2\tab\n1.2.2\t\t\t\n"
    assert digest([whole, bare]) == digest([bare, whole]) == sha256(text.encode()).hexdigest()


def test_any_difference_shows() -> None:
    one = record("1.2", size=7, sha256="ab")
    others = [record("1.3", size=7, sha256="ab"), record("1.2", size=8, sha256="ab"), record("1.2", size=7)]
    assert len({digest([each]) for each in [one, *others]}) == 4


def test_nothing_has_no_digest() -> None:
    assert digest([]) is None
