"""What is proposed to a source fits one association and leaves no class and no syntax out."""

from collections import defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adit.dicom.dimse.contexts import (
    COMMON_STORAGE,
    TRANSFER_SYNTAXES,
    UNCOMPRESSED,
    for_get,
    for_store,
    rare_storage,
    rounds_for_get,
)
from adit.dicom.node import CLASSES_AT_ONCE

MODEL = "1.2.840.10008.5.1.4.1.2.2.3"


@given(st.integers(1, 127))
def test_every_class_is_offered_in_every_syntax_within_128_contexts(count: int) -> None:
    classes = {f"1.2.3.{number}" for number in range(count)}
    query, *storage = for_get(MODEL, classes)
    assert (query.abstract_syntax, query.transfer_syntaxes, query.as_scp) == (MODEL, UNCOMPRESSED, False)
    assert len(storage) <= 127
    offered: dict[str, set[str]] = defaultdict(set)
    for proposal in storage:
        assert proposal.as_scp
        assert not offered[proposal.abstract_syntax] & set(proposal.transfer_syntaxes)
        offered[proposal.abstract_syntax] |= set(proposal.transfer_syntaxes)
    assert offered == {each: set(TRANSFER_SYNTAXES) for each in classes}


@pytest.mark.parametrize("count", range(1, CLASSES_AT_ONCE + 1))
def test_each_pair_has_a_context_of_its_own_while_there_is_room(count: int) -> None:
    storage = for_get(MODEL, {f"1.2.3.{number}" for number in range(count)})[1:]
    assert all(len(proposal.transfer_syntaxes) == 1 for proposal in storage)


def test_the_likeliest_syntaxes_stay_alone_when_room_is_short() -> None:
    storage = for_get(MODEL, {f"1.2.3.{number}" for number in range(40)})[1:]
    alone = {proposal.transfer_syntaxes for proposal in storage if len(proposal.transfer_syntaxes) == 1}
    assert alone == {(TRANSFER_SYNTAXES[0],), (TRANSFER_SYNTAXES[1],)}


def test_common_classes_are_offered_when_the_plan_knows_none() -> None:
    offered = {proposal.abstract_syntax for proposal in for_get(MODEL, ())[1:]}
    assert offered == set(COMMON_STORAGE)


def test_unknown_classes_are_all_offered_in_the_end_and_the_common_ones_in_each_syntax_alone() -> None:
    alone: set[tuple[str, str]] = set()
    offered: set[str] = set()
    for query, *storage in rounds_for_get(MODEL, ()):
        assert query.abstract_syntax == MODEL
        assert len(storage) <= 127
        offered |= {proposal.abstract_syntax for proposal in storage}
        alone |= {
            (each.abstract_syntax, *each.transfer_syntaxes) for each in storage if len(each.transfer_syntaxes) == 1
        }
    assert offered == {*COMMON_STORAGE, *rare_storage()}
    assert len(offered) > 150
    assert {(uid, syntax) for uid in COMMON_STORAGE for syntax in TRANSFER_SYNTAXES} <= alone


def test_known_classes_are_offered_once() -> None:
    assert list(rounds_for_get(MODEL, {"1.2.3"})) == [for_get(MODEL, {"1.2.3"})]


def test_a_store_association_proposes_the_pairs_one_by_one_and_the_latest_128() -> None:
    pairs = [(f"1.2.{number}", "1.2.840.10008.1.2") for number in range(200)]
    proposals = for_store(pairs)
    assert [(each.abstract_syntax, *each.transfer_syntaxes) for each in proposals] == pairs[72:]
    assert not any(proposal.as_scp for proposal in proposals)
