"""Admission: order, fairness, and budgets that hold whatever the snapshot looks like."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from adit.dispatch.admit import AdmissionSettings, admit
from adit.dispatch.shares import slots
from adit.dispatch.window import is_open
from adit.ledger.records import AdmissionSnapshot, Candidate, Grant, NodeKey, NodeLoad
from adit.model.assignment import Share
from adit.model.dicom_node import Limits, Window
from adit.model.identifiers import bytes_of
from adit.model.transfer_job import Priority
from tests.unit.dispatch.nouns import NAMESPACE, NOW, candidate, folder_node, load, snapshot, transfer_job

WIDE = Limits(tasks=100, associations=400)


def two_loads(limits: Limits = WIDE) -> tuple[NodeLoad, NodeLoad]:
    return load(folder_node("pacs", limits)), load(folder_node("research", limits))


def jobs_started(grants: list[Grant]) -> list[int]:
    return [grant.job_id.int for grant in grants]


# --- order ---


def test_urgent_starts_before_high_normal_and_low() -> None:
    candidates = [
        candidate(1, transfer_job("low", priority=Priority.LOW), age_seconds=400),
        candidate(2, transfer_job("normal", priority=Priority.NORMAL), age_seconds=300),
        candidate(3, transfer_job("high", priority=Priority.HIGH), age_seconds=200),
        candidate(4, transfer_job("urgent", priority=Priority.URGENT), age_seconds=100),
    ]
    grants = admit(snapshot(*candidates, loads=two_loads(), owner_running={"default": 50}))
    assert jobs_started(grants) == [4, 3, 2, 1]


def test_urgent_goes_first_even_for_the_owner_who_has_most_running() -> None:
    candidates = [
        candidate(1, transfer_job("a", owner="anna", priority=Priority.URGENT)),
        candidate(2, transfer_job("b", owner="ben"), age_seconds=900),
    ]
    grants = admit(snapshot(*candidates, loads=two_loads(), owner_running={"anna": 90}))
    assert jobs_started(grants) == [1, 2]


def test_owners_take_turns_and_the_one_with_fewest_running_catches_up_first() -> None:
    candidates = [
        candidate(1, transfer_job("a", owner="anna"), due=10, age_seconds=100),
        candidate(2, transfer_job("b", owner="ben"), due=10),
    ]
    grants = admit(snapshot(*candidates, loads=two_loads(), owner_running={"anna": 2}), AdmissionSettings(max_starts=6))
    assert jobs_started(grants) == [2, 2, 1, 2, 1, 2]


def test_within_an_owner_the_oldest_job_is_first() -> None:
    candidates = [
        candidate(1, transfer_job("new", parallelism=2), due=5, age_seconds=1),
        candidate(2, transfer_job("old", parallelism=2), due=5, age_seconds=2),
    ]
    assert jobs_started(admit(snapshot(*candidates, loads=two_loads()))) == [2, 2, 1, 1]


def test_a_job_whose_node_is_full_does_not_hold_up_others() -> None:
    candidates = [
        candidate(1, transfer_job("blocked", source="busy"), due=5, age_seconds=100),
        candidate(2, transfer_job("free"), due=1),
    ]
    busy = load(folder_node("busy", Limits(tasks=2, associations=2)), tasks=2)
    assert jobs_started(admit(snapshot(*candidates, loads=(busy, *two_loads())))) == [2]


# --- what keeps a task from starting ---


def test_a_dispatcher_of_some_jobs_leaves_the_others_alone() -> None:
    candidates = [
        candidate(1, transfer_job("other", priority=Priority.URGENT), due=3),
        candidate(2, transfer_job("ours"), due=2),
    ]
    both = snapshot(*candidates, loads=two_loads())
    assert jobs_started(admit(both, AdmissionSettings(jobs=frozenset({candidates[1].record.id})))) == [2, 2]
    assert admit(both, AdmissionSettings(jobs=frozenset())) == []


def test_a_closed_window_of_either_node_keeps_a_task_from_starting() -> None:
    night = (Window.model_validate({"from": "20:00", "to": "06:00", "timeZone": "Etc/UTC"}),)
    pacs, research = folder_node("pacs", WIDE, night), folder_node("research", WIDE)
    noon = snapshot(candidate(1, transfer_job()), loads=(load(pacs), load(research)))
    reverse = snapshot(
        candidate(1, transfer_job(source="research", destination="pacs")), loads=(load(pacs), load(research))
    )
    evening = snapshot(candidate(1, transfer_job()), loads=(load(pacs), load(research)), now=NOW.replace(hour=20))
    assert admit(noon) == []
    assert admit(reverse) == []
    assert jobs_started(admit(evening)) == [1]


def test_a_passed_deadline_keeps_a_task_from_starting() -> None:
    overdue = candidate(1, transfer_job(deadline_seconds=60), age_seconds=60)
    in_time = candidate(2, transfer_job(deadline_seconds=61), age_seconds=60)
    assert jobs_started(admit(snapshot(overdue, in_time, loads=two_loads()))) == [2]


def test_a_node_that_is_gone_keeps_a_task_from_starting() -> None:
    assert admit(snapshot(candidate(1, transfer_job()), loads=two_loads()[:1])) == []


def test_parallelism_counts_running_attempts() -> None:
    grants = admit(snapshot(candidate(1, transfer_job(parallelism=5), due=9, running=3), loads=two_loads()))
    assert len(grants) == 2


def test_the_global_cap_counts_running_attempts() -> None:
    full = snapshot(candidate(1, transfer_job(parallelism=50), due=50), loads=two_loads(), total_running=95)
    assert len(admit(full, AdmissionSettings(max_running=100))) == 5


def test_a_node_used_as_source_and_as_destination_counts_both() -> None:
    middle = load(folder_node("middle", Limits(tasks=3, associations=3)))
    candidates = [
        candidate(1, transfer_job("in", destination="middle"), due=9, age_seconds=9),
        candidate(2, transfer_job("out", source="middle", owner="ben"), due=9),
    ]
    grants = admit(snapshot(*candidates, loads=(middle, *two_loads())))
    assert sorted(jobs_started(grants)) in ([1, 1, 2], [1, 2, 2])


# --- shares ---


def test_a_lone_task_gets_all_associations_but_one_for_each_other_slot() -> None:
    loads = two_loads(Limits(tasks=4, associations=8))
    (grant,) = admit(snapshot(candidate(1, transfer_job()), loads=loads))
    assert grant.destination_share.associations == 5
    assert grant.source_share.associations == 1


def test_tasks_that_start_together_share_what_is_free() -> None:
    loads = two_loads(Limits(tasks=4, associations=9))
    grants = admit(snapshot(candidate(1, transfer_job(), due=4), loads=loads))
    assert [grant.destination_share.associations for grant in grants] == [3, 2, 2, 2]


def test_a_lone_task_gets_about_half_of_the_rates_and_its_part_of_the_rest() -> None:
    limits = Limits(tasks=4, associations=4, queries_per_second=8, bytes_per_second="8000")
    (grant,) = admit(snapshot(candidate(1, transfer_job()), loads=two_loads(limits)))
    for share in (grant.source_share, grant.destination_share):
        assert share.queries_per_second == 5.0
        assert share.bytes_per_second == 5000


def test_no_limit_means_no_share() -> None:
    (grant,) = admit(snapshot(candidate(1, transfer_job()), loads=two_loads()))
    assert grant.source_share == Share(associations=1)
    assert grant.destination_share.bytes_per_second is None


def test_a_lowered_limit_is_waited_for() -> None:
    """The node's owner lowered the rate while a task holds more than the new limit."""
    limits = Limits(tasks=4, associations=8, bytes_per_second="1000")
    held = load(folder_node("pacs", limits), tasks=1, bytes_per_second=5000)
    assert admit(snapshot(candidate(1, transfer_job()), loads=(held, two_loads()[1]))) == []


def test_fetching_from_a_node_and_storing_to_it_share_its_associations() -> None:
    middle = load(folder_node("middle", Limits(tasks=2, associations=6)))
    candidates = [
        candidate(1, transfer_job("in", destination="middle"), age_seconds=9),
        candidate(2, transfer_job("out", source="middle")),
    ]
    into, out = admit(snapshot(*candidates, loads=(middle, *two_loads())))
    assert into.destination_share.associations == 5
    assert out.source_share.associations == 1


# --- properties ---

NAMES = ("north", "east", "south")
limits_of_a_node = st.builds(
    lambda tasks, more, queries, rate: Limits(
        tasks=tasks, associations=tasks + more, queries_per_second=queries, bytes_per_second=rate
    ),
    st.integers(1, 6),
    st.integers(0, 8),
    st.one_of(st.none(), st.integers(1, 20)),
    st.one_of(st.none(), st.sampled_from(("1", "7", "1000", "50Mi"))),
)
windows = st.sampled_from(
    (
        (),
        (Window.model_validate({"from": "20:00", "to": "06:00", "timeZone": "Etc/UTC"}),),
        (Window.model_validate({"from": "06:00", "to": "20:00", "timeZone": "Etc/UTC"}),),
    )
)
any_load = st.builds(
    lambda limits, shut, tasks, associations, queries, rate: (limits, shut, tasks, associations, queries, rate),
    limits_of_a_node,
    windows,
    st.integers(0, 7),
    st.integers(0, 10),
    st.floats(0, 10),
    st.integers(0, 2000),
)


@st.composite
def snapshots(draw: st.DrawFn) -> AdmissionSnapshot:
    loads = []
    for name in NAMES:
        limits, shut, tasks, associations, queries, rate = draw(any_load)
        loads.append(
            load(
                folder_node(name, limits, shut),
                tasks=tasks,
                associations=associations,
                queries_per_second=queries if limits.queries_per_second else 0,
                bytes_per_second=rate if limits.bytes_per_second else 0,
            )
        )
    pairs = st.permutations((*NAMES, "missing"))
    candidates = []
    for number in range(draw(st.integers(0, 8))):
        source, destination = draw(pairs)[:2]
        job = transfer_job(
            f"job{number}",
            source=source,
            destination=destination,
            owner=draw(st.sampled_from(("anna", "ben", "cleo"))),
            priority=draw(st.sampled_from(Priority)),
            parallelism=draw(st.integers(1, 4)),
            deadline_seconds=draw(st.one_of(st.none(), st.just(60))),
        )
        candidates.append(
            candidate(
                number + 1,
                job,
                due=draw(st.integers(1, 9)),
                running=draw(st.integers(0, 3)),
                age_seconds=draw(st.integers(0, 100)),
            )
        )
    running = {owner: draw(st.integers(0, 5)) for owner in ("anna", "ben")}
    return snapshot(*candidates, loads=tuple(loads), owner_running=running, total_running=draw(st.integers(0, 20)))


caps = st.builds(AdmissionSettings, max_running=st.integers(1, 40), max_starts=st.integers(1, 20))


def held_after(key: NodeKey, taken: AdmissionSnapshot, grants: list[Grant]) -> NodeLoad:
    """The node's load once the grants are claimed."""
    jobs = {candidate.record.id: candidate for candidate in taken.candidates}
    parts = [grant.source_share for grant in grants if jobs[grant.job_id].source == key]
    parts += [grant.destination_share for grant in grants if jobs[grant.job_id].destination == key]
    before = taken.nodes[key]
    return NodeLoad(
        before.node,
        before.tasks + len(parts),
        before.associations + sum(part.associations for part in parts),
        before.queries_per_second + sum(part.queries_per_second or 0 for part in parts),
        before.bytes_per_second + sum(part.bytes_per_second or 0 for part in parts),
    )


def startable(candidate: Candidate, taken: AdmissionSnapshot, grants: list[Grant]) -> bool:
    """Whether one more task of the job could start after the grants, by the rules read anew."""
    mine = sum(grant.job_id == candidate.record.id for grant in grants)
    if candidate.due <= mine or candidate.running + mine >= candidate.record.job.spec.parallelism:
        return False
    if candidate.record.deadline is not None and candidate.record.deadline <= taken.now:
        return False
    for key in (candidate.source, candidate.destination):
        if key not in taken.nodes or not is_open(taken.nodes[key].node.spec.windows, taken.now):
            return False
        if slots(taken.nodes[key]) <= held_after(key, taken, grants).tasks - taken.nodes[key].tasks:
            return False
    return True


@settings(max_examples=60, deadline=None)
@given(taken=snapshots(), cap=caps)
def test_no_budget_is_ever_exceeded(taken: AdmissionSnapshot, cap: AdmissionSettings) -> None:
    grants = admit(taken, cap)
    assert len(grants) <= max(0, min(cap.max_starts, cap.max_running - taken.total_running))
    for key, before in taken.nodes.items():
        after, limits = held_after(key, taken, grants), before.node.spec.limits
        if after.tasks == before.tasks:
            continue
        assert after.tasks <= limits.tasks
        assert after.associations <= limits.associations
        assert limits.queries_per_second is None or after.queries_per_second <= limits.queries_per_second + 1e-9
        assert limits.bytes_per_second is None or after.bytes_per_second <= bytes_of(limits.bytes_per_second)
    for each in taken.candidates:
        mine = sum(grant.job_id == each.record.id for grant in grants)
        assert mine <= each.due
        assert mine == 0 or each.running + mine <= each.record.job.spec.parallelism


@settings(max_examples=60, deadline=None)
@given(taken=snapshots())
def test_every_share_lets_its_task_work(taken: AdmissionSnapshot) -> None:
    for grant in admit(taken):
        for share in (grant.source_share, grant.destination_share):
            assert share.associations >= 1
            assert share.queries_per_second is None or share.queries_per_second > 0
            assert share.bytes_per_second is None or share.bytes_per_second > 0


@settings(max_examples=60, deadline=None)
@given(taken=snapshots(), cap=caps)
def test_nothing_that_could_start_is_left_waiting(taken: AdmissionSnapshot, cap: AdmissionSettings) -> None:
    grants = admit(taken, cap)
    if len(grants) < min(cap.max_starts, cap.max_running - taken.total_running):
        assert [each.record.id for each in taken.candidates if startable(each, taken, grants)] == []


@settings(max_examples=60, deadline=None)
@given(taken=snapshots(), cap=caps)
def test_a_lower_priority_never_takes_what_a_higher_one_could_have_used(
    taken: AdmissionSnapshot, cap: AdmissionSettings
) -> None:
    """Take the lower ones' grants back, and still nothing of higher priority could start."""
    grants = admit(taken, cap)
    priority = {each.record.id: each.record.job.spec.priority for each in taken.candidates}
    order = list(Priority)[::-1]
    ranks = [order.index(priority[grant.job_id]) for grant in grants]
    assert ranks == sorted(ranks)
    for rank in range(len(order)):
        higher = [grant for grant, own in zip(grants, ranks, strict=True) if own <= rank]
        if len(higher) == len(grants):
            continue
        waiting = [each for each in taken.candidates if order.index(each.record.job.spec.priority) <= rank]
        assert [each.record.id for each in waiting if startable(each, taken, higher)] == []


@settings(max_examples=40, deadline=None)
@given(
    running=st.dictionaries(st.sampled_from(("anna", "ben", "cleo")), st.integers(0, 10)),
    starts=st.integers(1, 30),
)
def test_owners_who_all_wait_end_up_as_even_as_can_be(running: dict[str, int], starts: int) -> None:
    """No owner starves: whoever got a task had no more running than any other at that moment."""
    owners = ("anna", "ben", "cleo")
    candidates = [
        candidate(number + 1, transfer_job(owner, owner=owner, parallelism=500), due=500)
        for number, owner in enumerate(owners)
    ]
    grants = admit(
        snapshot(*candidates, loads=two_loads(), owner_running=running), AdmissionSettings(max_starts=starts)
    )
    assert len(grants) == starts
    owner_of = {UUID(int=number + 1): owner for number, owner in enumerate(owners)}
    now_running = Counter({owner: running.get(owner, 0) for owner in owners})
    for grant in grants:
        owner = owner_of[grant.job_id]
        assert now_running[owner] == min(now_running.values())
        now_running[owner] += 1


def test_nodes_of_two_namespaces_with_one_name_are_two_nodes() -> None:
    only = candidate(1, transfer_job())
    assert only.source == (NAMESPACE, "pacs")
    foreign = folder_node("pacs", WIDE).model_copy(
        update={"metadata": folder_node("pacs").metadata.model_copy(update={"namespace": "other"})}
    )
    assert admit(snapshot(only, loads=(load(foreign), two_loads()[1]))) == []
