"""Elections: no two candidates lead at once, whatever is late, lost, frozen or told by a wrong clock."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from adit_operator.election import Election, ElectionSettings, Intent, Record

SETTINGS = ElectionSettings(lease=15, renew=10, retry=2)
A_RECORD = Record("1", "a", 15)


def candidate(identity: str = "me") -> Election:
    return Election(identity, SETTINGS)


def test_whoever_finds_no_lease_makes_one_and_leads() -> None:
    me = candidate()
    me.seen(None, 100)
    assert me.intend(100) is Intent.CREATE
    assert not me.leads(100)
    me.wrote(Record("1", "me", 15), begun_at=100)
    assert me.leads(109.9)
    assert me.seconds_left(107) == 3
    assert not me.leads(110)


def test_another_ones_lease_is_taken_once_it_has_stood_still_for_its_own_time() -> None:
    me = candidate()
    me.seen(Record("1", "a", 20), 100)
    me.seen(Record("1", "a", 20), 119)
    assert me.intend(119.9) is Intent.WAIT
    assert me.intend(120) is Intent.TAKE


def test_a_renewal_that_is_seen_starts_the_wait_anew() -> None:
    me = candidate()
    me.seen(A_RECORD, 100)
    me.seen(Record("2", "a", 15), 114)
    assert me.intend(128.9) is Intent.WAIT
    assert me.intend(129) is Intent.TAKE


def test_a_released_lease_is_taken_at_once() -> None:
    me = candidate()
    me.seen(Record("7", "", 1), 100)
    assert me.intend(100) is Intent.TAKE


def test_a_lease_without_a_duration_lasts_as_ours() -> None:
    me = candidate()
    me.seen(Record("7", "a", None), 100)
    assert me.intend(114.9) is Intent.WAIT
    assert me.intend(115) is Intent.TAKE


def test_a_restarted_candidate_takes_up_its_own_lease_at_once_but_leads_only_after_it_wrote() -> None:
    me = candidate()
    me.seen(Record("7", "me", 15), 100)
    assert me.intend(100) is Intent.RENEW
    assert not me.leads(100)


def test_a_lease_that_was_deleted_sets_nobody_free_before_its_time() -> None:
    me = candidate()
    me.seen(A_RECORD, 100)
    me.seen(None, 101)
    assert me.intend(114) is Intent.WAIT
    assert me.intend(115) is Intent.CREATE


def test_a_leader_whose_lease_was_deleted_makes_it_again() -> None:
    me = candidate()
    me.seen(None, 100)
    me.wrote(Record("1", "me", 15), begun_at=100)
    me.seen(None, 103)
    assert me.leads(103)
    assert me.intend(103) is Intent.CREATE


def test_a_leader_that_sees_another_one_leads_no_more() -> None:
    me = candidate()
    me.wrote(Record("1", "me", 15), begun_at=100)
    me.seen(Record("2", "a", 15), 101)
    assert not me.leads(101)
    assert me.seconds_left(101) == 0


def test_a_renewal_counts_from_when_it_was_begun() -> None:
    me = candidate()
    me.wrote(Record("1", "me", 15), begun_at=100)
    assert not me.leads(110.5)  # the answer may have come as late as that


@pytest.mark.parametrize(("lease", "renew", "retry"), [(10, 10, 2), (15, 16, 2), (15, 10, 10), (15, 10, 0)])
def test_a_leader_must_give_up_before_another_may_follow(lease: int, renew: float, retry: float) -> None:
    with pytest.raises(ValueError, match="ascending"):
        ElectionSettings(lease, renew, retry)


@dataclass
class _Write:
    """A request on its way: bound to the version that it was made from."""

    base: str | None  # None: create
    record: Record
    begun_at: float
    applied: bool | None = None  # whether the server took it, once it has arrived there


@dataclass
class _Candidate:
    election: Election
    offset: float
    rate: float
    version: str | None = None  # of the Lease as it holds it in hand
    looked: bool = False
    answer: tuple[Record | None] | None = None  # of a look, on its way back
    write: _Write | None = None
    strays: list[_Write] = field(default_factory=list)  # writes that it has given up waiting for


CANDIDATES = st.integers(0, 1)
PAUSES = st.sampled_from([0.0, 0.0, 0.5, 2.0, 9.9, 15.0, 16.0])
STAGES = st.sampled_from([5, 5, 5, 1, 2, 3, 4])


class TwoNeverLead(RuleBasedStateMachine):
    """Candidates whose clocks differ and drift, a server with optimistic locking, a network that delays and loses."""

    @initialize(clocks=st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(0.9, 1.1)), min_size=2, max_size=2))
    def start(self, clocks: list[tuple[float, float]]) -> None:
        self.time = 0.0
        self.stored: Record | None = None
        self.versions = 0
        self.identities = 0
        self.candidates = [_Candidate(self.new(), offset, rate) for offset, rate in clocks]

    def new(self) -> Election:
        self.identities += 1
        return Election(f"candidate-{self.identities}", SETTINGS)

    def local(self, candidate: _Candidate) -> float:
        return candidate.offset + candidate.rate * self.time

    @rule(seconds=PAUSES, index=CANDIDATES, stages=STAGES)
    def proceed(self, seconds: float, index: int, stages: int) -> None:
        """Time passes for all: who does nothing meanwhile is frozen, or its request is on its way.

        Then one looks, hears of it, sends a write, has it arrive, hears of it: so many stages of this.
        """
        self.time += seconds
        for _ in range(stages):
            self.proceed_once(self.candidates[index])

    def proceed_once(self, each: _Candidate) -> None:
        if each.write is not None:
            if each.write.applied is None:
                self.arrives(each.write)
            else:
                self.hear_of_the_write(each, each.write)
        elif each.answer is not None:
            self.hear_of_the_look(each, *each.answer)
        elif each.looked:
            self.send_a_write(each)
        else:
            each.answer = (self.stored,)

    def hear_of_the_look(self, each: _Candidate, record: Record | None) -> None:
        each.answer, each.looked = None, True
        each.version = None if record is None else record.version
        each.election.seen(record, self.local(each))

    def send_a_write(self, each: _Candidate) -> None:
        now = self.local(each)
        intent = each.election.intend(now)
        each.looked = False
        if intent is not Intent.WAIT:
            base = None if intent is Intent.CREATE else each.version
            each.write = _Write(base, Record("?", each.election.identity, SETTINGS.lease), now)

    def arrives(self, write: _Write) -> None:
        write.applied = write.base == (None if self.stored is None else self.stored.version)
        if write.applied:
            self.versions += 1
            write.record = Record(str(self.versions), write.record.holder, write.record.lease)
            self.stored = write.record

    def hear_of_the_write(self, each: _Candidate, write: _Write) -> None:
        each.write = None
        if write.applied:
            each.version = write.record.version
            each.election.wrote(write.record, write.begun_at)
        each.looked = bool(write.applied) and each.election.leads(self.local(each))  # then it need not look again

    @rule(index=CANDIDATES)
    def lose_patience(self, index: int) -> None:
        """It waits for its request no more, which may still arrive."""
        each = self.candidates[index]
        if each.write is not None:
            each.strays.append(each.write)
        each.write, each.answer, each.looked = None, None, False

    @precondition(lambda self: any(each.strays for each in self.candidates))
    @rule()
    def a_stray_arrives(self) -> None:
        write = next(each.strays.pop() for each in self.candidates if each.strays)
        if write.applied is None:
            self.arrives(write)

    @precondition(lambda self: self.stored is not None)
    @rule(index=CANDIDATES)
    def crash_and_start_anew(self, index: int) -> None:
        each = self.candidates[index]
        each.election, each.answer, each.looked, each.write = self.new(), None, False, None

    @invariant()
    def at_most_one_leads(self) -> None:
        leading = [each for each in self.candidates if each.election.leads(self.local(each))]
        assert len(leading) <= 1


TestTwoNeverLead = TwoNeverLead.TestCase
TestTwoNeverLead.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)


@given(begun_at=st.floats(0, 1e6), way=st.floats(0, 9), offset=st.floats(-1e6, 1e6))
def test_a_leader_has_given_up_before_whoever_saw_its_last_renewal_may_follow(
    begun_at: float, way: float, offset: float
) -> None:
    leader, follower = candidate("leader"), candidate("follower")
    record = Record("1", "leader", SETTINGS.lease)
    leader.wrote(record, begun_at)
    seen_at = begun_at + way  # at the earliest when it was written
    follower.seen(record, seen_at + offset)
    while leader.leads(seen_at):
        assert follower.intend(seen_at + offset) is Intent.WAIT
        seen_at += 0.5


def test_a_dead_leader_is_followed_within_a_lease_and_two_looks() -> None:
    other = candidate("b")
    now, record = 0.0, A_RECORD
    other.seen(record, now)
    while other.intend(now) is Intent.WAIT:
        now += SETTINGS.retry
        other.seen(record, now)
    assert now <= SETTINGS.lease + 2 * SETTINGS.retry
