"""The status writer: turns at once, numbers seldom, nothing twice, and no fault of one that stops the others."""

from __future__ import annotations

import gc
import tracemalloc
from collections import Counter
from uuid import UUID

import pytest

from adit.model.deid_profile import DeidProfile
from adit.model.findings import Findings, learned, observation
from adit.model.outcome import Fault
from adit.model.state import TaskState
from adit_operator.kubernetes_api import Refusal
from adit_operator.problem import Problem
from adit_operator.status_writer import AT_ONCE, REFRESH
from tests.unit.dispatch.nouns import folder_node
from tests.unit.model.specs import PROFILE, resource
from tests.unit.operator.cluster import Cluster, at, job_body, node_body, profile_body, running
from tests.unit.operator.views import INVALID, MISSING, NOW, QUOTA, summary

WAITING = summary({TaskState.PENDING: 1000})
DONE = summary({TaskState.SUCCESS: 1000}, ended=True, instances=(1000, 1000))


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def pass_seconds(cluster: Cluster, first: int, last: int) -> None:
    for second in range(first, last + 1):
        cluster.writer.write_due(at(second))


def test_a_job_is_told_of_at_once_and_then_left_alone(cluster: Cluster) -> None:
    uid = cluster.job(1, WAITING)
    cluster.writer.write_due(NOW)
    assert cluster.status(uid)["state"] == "Pending"
    assert cluster.status(uid)["observedGeneration"] == 1
    pass_seconds(cluster, 1, 59)
    assert cluster.writes(uid) == 1
    assert cluster.ledger.asked_of[UUID(int=1)] == 1


def test_numbers_are_written_every_five_seconds_and_turns_at_once(cluster: Cluster) -> None:
    uid = cluster.job(1, WAITING)
    cluster.writer.write_due(at(0))
    cluster.ledger.attempts[UUID(int=1)] = 10
    for second in range(1, 62):
        cluster.set(1, running(second * 10))
        cluster.writer.touch(uid)
        cluster.writer.write_due(at(second))
    assert cluster.writes(uid) == 2 + 12
    assert cluster.status(uid)["bytesPerSecond"] == 1000
    cluster.set(1, DONE)
    cluster.ledger.attempts.clear()
    cluster.writer.write_due(at(62))
    assert cluster.status(uid)["state"] == "Success"


def test_nothing_is_written_where_nothing_changed(cluster: Cluster) -> None:
    uid = cluster.job(1, running(10))
    cluster.ledger.attempts[UUID(int=1)] = 1
    pass_seconds(cluster, 0, 4)
    assert cluster.writes(uid) == 1
    pass_seconds(cluster, 5, 120)
    assert cluster.writes(uid) == 2  # the rate became known


def test_five_hundred_open_jobs(cluster: Cluster) -> None:
    """A hundred of them run, all numbers change all the time."""
    uids = [cluster.job(number, running(0)) for number in range(1, 501)]
    for number in range(1, 101):
        cluster.ledger.attempts[UUID(int=number)] = 1
    pass_seconds(cluster, 0, 9)
    written = Counter(uid for uid, _ in cluster.api.applied)
    assert set(written) == set(uids)
    cluster.api.applied.clear()
    cluster.ledger.asked.clear()
    cluster.ledger.asked_of.clear()
    for second in range(10, 40):
        for number in range(1, 101):
            cluster.set(number, running(second))
            cluster.writer.touch(uids[number - 1])
        cluster.writer.write_due(at(second))
    written = Counter(uid for uid, _ in cluster.api.applied)
    assert set(written) == set(uids[:100])
    assert max(written.values()) <= 7
    assert min(written.values()) >= 5
    assert sum(cluster.ledger.asked_of[UUID(int=number)] for number in range(101, 501)) == 0
    assert cluster.ledger.asked["summary"] <= 700
    assert cluster.ledger.asked["running"] == cluster.ledger.asked["stages"] == 30


def test_a_finished_job_is_forgotten_and_its_late_events_too(cluster: Cluster) -> None:
    uid = cluster.job(1, DONE)
    early = job_body(1)
    cluster.writer.write_due(at(0))
    assert cluster.writer.open == 0
    cluster.writer.seen(early)
    cluster.writer.seen(job_body(1, cluster.status(uid)))
    pass_seconds(cluster, 1, 10)
    assert cluster.writes(uid) == 1
    assert cluster.writer.open == 0


def test_an_edited_finished_job_is_looked_at_again(cluster: Cluster) -> None:
    uid = cluster.job(1, DONE)
    cluster.writer.write_due(at(0))
    cluster.set(1, summary({TaskState.SUCCESS: 1000}, generation=2, ended=True, instances=(1000, 1000), suspend=True))
    cluster.writer.seen(job_body(1, cluster.status(uid), generation=2))
    cluster.writer.write_due(at(1))
    assert cluster.status(uid)["observedGeneration"] == 2
    assert cluster.status(uid)["conditions"][3]["status"] == "True"
    assert cluster.writer.open == 0


def test_finished_jobs_cost_nothing_after_a_restart(cluster: Cluster) -> None:
    uid = cluster.job(1, DONE)
    cluster.writer.write_due(at(0))
    status = cluster.status(uid)
    cluster.restart()
    cluster.ledger.asked.clear()
    bodies = [job_body(number, status) for number in range(1, 1001)]
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for body in bodies:
        cluster.writer.seen(body)
    cluster.writer.write_due(at(1))
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert cluster.ledger.asked == Counter()
    assert cluster.writes(uid) == 1
    assert after - before < 10_000


def test_an_open_job_is_not_written_again_after_a_restart(cluster: Cluster) -> None:
    uid = cluster.job(1, WAITING)
    cluster.writer.write_due(at(0))
    status = cluster.status(uid)
    foreign = {"type": "Reviewed", "status": "True", "reason": "ByHand", "lastTransitionTime": "2026-03-02T12:00:00Z"}
    shown = {**status, "conditions": [foreign, *reversed(status["conditions"])]}
    cluster.restart()
    cluster.job(1, status=shown)
    pass_seconds(cluster, 1, 130)
    assert cluster.writes(uid) == 1
    cluster.set(1, DONE)
    pass_seconds(cluster, 131, 131)
    conditions = {each["type"]: each for each in cluster.status(uid)["conditions"]}
    assert conditions["Expanded"]["lastTransitionTime"] == "2026-03-02T12:00:00Z"
    assert "Reviewed" not in conditions


def test_a_status_that_someone_spoiled_is_mended(cluster: Cluster) -> None:
    uid = cluster.job(1, WAITING)
    cluster.writer.write_due(at(0))
    cluster.writer.seen(job_body(1, {**cluster.status(uid), "state": "Success"}))
    cluster.writer.write_due(at(REFRESH.total_seconds()))
    assert cluster.writes(uid) == 2
    cluster.writer.seen(job_body(1, cluster.status(uid)))
    cluster.writer.write_due(at(3 * REFRESH.total_seconds()))
    assert cluster.writes(uid) == 2


def test_a_job_that_the_ledger_does_not_know_yet_waits(cluster: Cluster) -> None:
    uid = cluster.job(1)
    pass_seconds(cluster, 0, 3)
    assert cluster.api.applied == []
    cluster.set(1, WAITING)
    cluster.writer.write_due(at(4))
    assert cluster.writes(uid) == 1


def test_an_invalid_job_is_told_what_is_wrong(cluster: Cluster) -> None:
    body = job_body(1)
    cluster.writer.seen(body, INVALID)
    pass_seconds(cluster, 0, 200)
    uid = body["metadata"]["uid"]
    assert cluster.writes(uid) == 1
    assert cluster.status(uid)["conditions"][0]["reason"] == "Invalid"
    cluster.set(1, summary({TaskState.PENDING: 1}, generation=2))
    cluster.writer.seen(job_body(1, cluster.status(uid), generation=2))
    cluster.writer.write_due(at(201))
    assert cluster.status(uid)["conditions"][0]["reason"] == "Accepted"


def test_a_job_waits_for_its_node(cluster: Cluster) -> None:
    uid = cluster.job(1, summary(expanded=False))
    cluster.writer.write_due(at(0))
    assert cluster.status(uid)["conditions"][0]["reason"] == "NodeNotFound"
    assert cluster.status(uid)["conditions"][-1]["type"] == "Reconciling"
    pass_seconds(cluster, 1, 70)
    assert cluster.status(uid)["conditions"][-1]["type"] == "Stalled"
    assert cluster.writes(uid) == 2
    cluster.ledger.known_nodes = [folder_node("pacs"), folder_node("research")]
    pass_seconds(cluster, 71, 76)
    assert cluster.status(uid)["conditions"][0]["reason"] == "Accepted"


def test_a_job_whose_node_went_away_says_so_at_once(cluster: Cluster) -> None:
    """What runs keeps its node; what waits has none to start with."""
    cluster.ledger.known_nodes = [folder_node("pacs"), folder_node("research")]
    cluster.writer.seen(node_body("research", 100))
    uid = cluster.job(1, WAITING)
    cluster.writer.write_due(at(0))
    assert cluster.status(uid)["conditions"][-1]["type"] == "Failed"
    cluster.ledger.known_nodes = [folder_node("pacs")]
    cluster.writer.gone(str(UUID(int=100)))
    cluster.writer.write_due(at(1))
    assert cluster.status(uid)["conditions"][-1]["reason"] == "NodeNotFound"
    cluster.ledger.known_nodes = [folder_node("pacs"), folder_node("research")]
    cluster.writer.seen(node_body("research", 101))
    cluster.writer.write_due(at(2))
    assert cluster.status(uid)["conditions"][-1]["type"] == "Failed"


def test_a_job_waits_for_its_profile(cluster: Cluster) -> None:
    cluster.ledger.known_nodes = [folder_node("pacs"), folder_node("research")]
    waiting = summary(expanded=False, deidentification={"profile": "basic"})
    uid = cluster.job(1, waiting)
    cluster.writer.write_due(at(0))
    accepted = cluster.status(uid)["conditions"][0]
    assert (accepted["type"], accepted["status"], accepted["reason"]) == ("Accepted", "False", "ProfileNotFound")
    cluster.ledger.known_profiles = [ready_profile()]
    cluster.writer.seen(profile_body("basic", 100))
    cluster.writer.write_due(at(1))
    assert cluster.status(uid)["conditions"][0]["status"] == "True"
    (conditions, keeps) = (cluster.status(str(UUID(int=100)))[name] for name in ("conditions", "keeps"))
    assert [(each["type"], each["status"]) for each in conditions] == [("Accepted", "True"), ("Ready", "True")]
    assert keeps == []


def ready_profile() -> DeidProfile:
    return DeidProfile.model_validate(resource("DeidProfile", PROFILE) | {"metadata": {"name": "basic"}})


def test_a_profile_is_told_of_once_and_left_alone(cluster: Cluster) -> None:
    cluster.ledger.known_profiles = [ready_profile()]
    cluster.writer.seen(profile_body("basic", 100))
    for second in range(0, 200):
        cluster.writer.write_due(at(second))
    assert cluster.writes(str(UUID(int=100))) == 1
    assert cluster.ledger.asked["profiles"] <= 5
    cluster.writer.seen(profile_body("basic", 100, generation=2), Problem(INVALID.reason, "spec.overrides: no.", 2))
    cluster.writer.write_due(at(201))
    status = cluster.status(str(UUID(int=100)))
    assert [each["type"] for each in status["conditions"]] == ["Accepted", "Ready", "Stalled"]
    assert cluster.api.told() == ["NotAccepted"]


def test_a_change_of_suspend_is_told_at_once(cluster: Cluster) -> None:
    uid = cluster.job(1, WAITING)
    cluster.writer.write_due(at(0))
    cluster.set(1, summary({TaskState.PENDING: 1000}, generation=2, suspend=True))
    cluster.writer.seen(job_body(1, cluster.status(uid), generation=2))
    cluster.writer.write_due(at(1))
    assert cluster.status(uid)["conditions"][2]["status"] == "True"


def test_trouble_is_told_at_once_and_taken_back(cluster: Cluster) -> None:
    trouble: list[Fault | None] = [None]
    cluster.writer._trouble = lambda job_id: trouble[0]
    cluster.ledger.known_nodes = [folder_node("pacs"), folder_node("research")]
    uid = cluster.job(1, WAITING)
    cluster.writer.write_due(at(0))
    trouble[0] = QUOTA
    cluster.writer.write_due(at(1))
    assert cluster.status(uid)["conditions"][-1]["reason"] == "LaunchRefused"
    trouble[0] = None
    cluster.writer.write_due(at(2))
    assert cluster.status(uid)["conditions"][-1]["type"] == "Failed"
    assert cluster.api.told() == ["Expanded", "Stalled", "GoingOn"]


def test_a_resource_that_is_gone_is_forgotten(cluster: Cluster) -> None:
    cluster.job(1, WAITING)
    cluster.api.refusal = Refusal.NOT_FOUND
    cluster.writer.write_due(at(0))
    assert cluster.writer.open == 0


def test_a_deleted_resource_is_forgotten(cluster: Cluster) -> None:
    uid = cluster.job(1, WAITING)
    cluster.writer.gone(uid)
    cluster.writer.touch(uid)
    assert cluster.writer.open == 0


def test_an_ended_job_that_somebody_wrote_to_is_compared_once_and_mended(cluster: Cluster) -> None:
    uid = cluster.job(1, DONE)
    cluster.writer.write_due(at(0))
    true = cluster.status(uid)
    cluster.restart()

    def listed(status: dict[str, object], version: str) -> None:
        body = job_body(1, status)
        cluster.writer.seen({**body, "metadata": body["metadata"] | {"resourceVersion": version}})

    listed(true, "7")
    pass_seconds(cluster, 1, 70)
    assert (cluster.writes(uid), cluster.writer.open) == (1, 0)
    asked = cluster.ledger.asked_of[UUID(int=1)]
    listed(true, "7")
    cluster.writer.write_due(at(71))
    assert cluster.ledger.asked_of[UUID(int=1)] == asked
    forged = true | {"progress": "0/1000", "state": "Failure"}
    listed(forged, "8")
    cluster.writer.write_due(at(72))
    assert (cluster.writes(uid), cluster.status(uid)) == (2, true)
    assert cluster.writer.open == 0


def test_ended_jobs_that_are_compared_hold_up_nobody(cluster: Cluster) -> None:
    for number in range(10, 10 + 2 * AT_ONCE):
        cluster.set(number, DONE)
        body = job_body(number, {"observedGeneration": 1, "completionTime": "2026-03-02T12:00:00Z", "conditions": []})
        cluster.writer.seen({**body, "metadata": body["metadata"] | {"resourceVersion": "7"}})
    uid = cluster.job(1, WAITING)
    cluster.writer.write_due(at(0))
    assert cluster.writes(uid) == 1
    cluster.writer.write_due(at(1))
    cluster.writer.write_due(at(2))
    assert cluster.writer.open == 1


@pytest.mark.parametrize("refusal", sorted(set(Refusal) - {Refusal.NOT_FOUND}))
def test_refused_writes_are_tried_again_with_growing_pauses(cluster: Cluster, refusal: Refusal) -> None:
    uid = cluster.job(1, WAITING)
    cluster.api.refusal = refusal
    pass_seconds(cluster, 0, 600)
    assert 10 <= cluster.api.tried <= 20
    cluster.api.refusal = None
    pass_seconds(cluster, 601, 661)
    assert cluster.writes(uid) == 1


def test_an_api_server_that_is_away_is_asked_once_a_pass(cluster: Cluster) -> None:
    for number in range(1, 101):
        cluster.job(number, WAITING)
    cluster.api.refusal = Refusal.UNAVAILABLE
    cluster.writer.write_due(at(0))
    assert cluster.api.tried == 1


def test_one_job_that_is_refused_does_not_hold_up_the_others(cluster: Cluster) -> None:
    for number in range(1, 11):
        cluster.job(number, WAITING)
    cluster.api.refusal = Refusal.INVALID
    cluster.writer.write_due(at(0))
    assert cluster.api.tried == 10


def test_a_ledger_that_is_away_is_waited_for(cluster: Cluster) -> None:
    uid = cluster.job(1, WAITING)
    cluster.ledger.away = True
    pass_seconds(cluster, 0, 100)
    cluster.ledger.away = False
    pass_seconds(cluster, 101, 161)
    assert cluster.writes(uid) == 1


def test_a_job_that_the_ledger_cannot_read_does_not_hold_up_the_others(cluster: Cluster) -> None:
    cluster.job(1, WAITING)
    del cluster.ledger.summaries[UUID(int=1)]
    cluster.set(1, WAITING)
    good = cluster.job(2, WAITING)
    original = cluster.ledger.summary

    def summary_of(job_id: UUID) -> object:
        if job_id == UUID(int=1):
            raise ValueError("a fault code that this version does not know")
        return original(job_id)

    cluster.ledger.summary = summary_of  # type: ignore[method-assign, assignment]
    cluster.writer.write_due(at(0))
    assert cluster.writes(good) == 1


def test_nodes_tell_how_many_tasks_use_them(cluster: Cluster) -> None:
    cluster.ledger.known_nodes = [folder_node("pacs"), folder_node("idle")]
    for number, name in enumerate(("pacs", "idle"), start=100):
        cluster.writer.seen(node_body(name, number))
    uids = [str(UUID(int=number)) for number in (100, 101)]
    cluster.job(1, running(0))
    cluster.ledger.attempts[UUID(int=1)] = 3
    pass_seconds(cluster, 0, 30)
    assert [cluster.status(uid)["activeTasks"] for uid in uids] == [3, 0]
    assert [cluster.writes(uid) for uid in uids] == [1, 1]
    for second in range(31, 61):
        cluster.ledger.attempts[UUID(int=1)] = second
        cluster.writer.write_due(at(second))
    assert 3 <= cluster.writes(uids[0]) - 1 <= 4
    assert cluster.writes(uids[1]) == 1


def test_a_node_that_is_invalid(cluster: Cluster) -> None:
    problem = Problem(INVALID.reason, "spec.windows[0].timeZone: no such IANA time zone.", 1)
    cluster.writer.seen(node_body("pacs", 100), problem)
    pass_seconds(cluster, 0, 30)
    uid = str(UUID(int=100))
    assert cluster.writes(uid) == 1
    assert [(each["type"], each["status"]) for each in cluster.status(uid)["conditions"]] == [
        ("Accepted", "False"),
        ("Ready", "False"),
        ("Stalled", "True"),
    ]


def test_a_refused_job_is_told_of_once(cluster: Cluster) -> None:
    uid = cluster.job(1, summary(expanded=False, ended=True, refusal=MISSING))
    pass_seconds(cluster, 0, 10)
    assert cluster.writes(uid) == 1
    assert cluster.api.told() == ["Refused"]


def test_what_is_found_of_a_node_is_told_within_a_minute_and_once(cluster: Cluster) -> None:
    cluster.ledger.known_nodes = [folder_node("pacs")]
    cluster.writer.seen(node_body("pacs", 100))
    pass_seconds(cluster, 0, 10)
    uid = str(UUID(int=100))
    seen = observation("pacs", ("Storage",), {"C-STORE": None})
    cluster.ledger.known_findings = {("default", "pacs"): learned(Findings(), seen, NOW)}
    pass_seconds(cluster, 11, 300)
    assert cluster.status(uid)["services"] == ["Storage"]
    assert cluster.writes(uid) == 2
