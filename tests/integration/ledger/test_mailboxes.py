"""Mailboxes: a C-MOVE's objects go to the one worker that waits for them, whatever message id they come with."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import Engine, text

from adit.ledger.attempt_ledger import AttemptLedger, Fenced
from adit.ledger.connection import LedgerError, engine, transaction
from adit.ledger.mailbox_directory import MailboxDirectory
from adit.model.assignment import Assignment
from adit.model.dicom_node import DicomNode
from adit.model.mailbox import Mailbox
from tests.integration.ledger.scene import LOST, NOW, Scene, node, report, transfer_job

STUDY, SERIES, OTHER_SERIES = "1.2.1", "1.2.1.1", "1.2.1.2"
DENIED = "42501"


@pytest.fixture
def directory(receiver_url: str) -> Iterator[MailboxDirectory]:
    made = MailboxDirectory(receiver_url)
    yield made
    made.close()


@pytest.fixture
def claims(scene: Scene) -> list[Assignment]:
    """Two tasks of two jobs, both of the same study."""
    jobs = [scene.apply(transfer_job(name)) for name in ("one", "two")]
    return [scene.claim(job.id)[0] for job in jobs]


@pytest.fixture
def workers(scene: Scene, claims: list[Assignment]) -> Iterator[list[AttemptLedger]]:
    made = [scene.worker(each) for each in claims]
    yield made
    for each in made:
        each.close()


def mailbox(port: int = 4711) -> Mailbox:
    return Mailbox(uuid4(), "10.1.2.3", port, "ab" * 32)


def test_found_by_study_series_and_message_id(workers: list[AttemptLedger], directory: MailboxDirectory) -> None:
    ours = mailbox()
    message = workers[0].open_mailbox(ours, STUDY, None, NOW)
    assert message is not None
    assert 1 <= message <= 0xFFFF
    for sent in (message, None):
        assert directory.find(STUDY, SERIES, sent) == ours
    assert directory.find("1.2.2", SERIES, message) is None
    workers[0].close_mailbox(ours.id, NOW)
    assert directory.find(STUDY, SERIES, message) is None
    assert directory.find(STUDY, SERIES, None) is None


def test_of_a_series_only_that_series(workers: list[AttemptLedger], directory: MailboxDirectory) -> None:
    ours = mailbox()
    message = workers[0].open_mailbox(ours, STUDY, SERIES, NOW)
    assert directory.find(STUDY, SERIES, message) == ours
    assert directory.find(STUDY, OTHER_SERIES, message) is None


def test_a_message_id_that_a_peer_invents_counts_for_nothing(
    workers: list[AttemptLedger], directory: MailboxDirectory
) -> None:
    ours = mailbox()
    message = workers[0].open_mailbox(ours, STUDY, None, NOW)
    assert message is not None
    assert directory.find(STUDY, SERIES, message % 0xFFFF + 1) == ours


def test_two_tasks_of_one_study_take_turns(workers: list[AttemptLedger], directory: MailboxDirectory) -> None:
    first, second = mailbox(), mailbox()
    message = workers[0].open_mailbox(first, STUDY, None, NOW)
    for series in (None, SERIES):
        assert workers[1].open_mailbox(second, STUDY, series, NOW) is None
    assert directory.find(STUDY, SERIES, None) == first
    workers[0].close_mailbox(first.id, NOW)
    theirs = workers[1].open_mailbox(second, STUDY, None, NOW)
    assert theirs not in (None, message)
    assert directory.find(STUDY, SERIES, theirs) == second
    assert directory.find(STUDY, SERIES, message) is None  # a late object of the first is not the second's


def test_two_series_of_one_study_at_once(workers: list[AttemptLedger], directory: MailboxDirectory) -> None:
    first, second = mailbox(), mailbox()
    assert workers[0].open_mailbox(first, STUDY, SERIES, NOW)
    assert workers[1].open_mailbox(second, STUDY, OTHER_SERIES, NOW)
    assert directory.find(STUDY, SERIES, None) == first
    assert directory.find(STUDY, OTHER_SERIES, None) == second


def test_both_at_the_same_moment(workers: list[AttemptLedger]) -> None:
    opened: list[int | None] = []

    def open_one(number: int, each: Mailbox) -> None:
        opened.append(workers[number].open_mailbox(each, STUDY, None, NOW))

    for _ in range(10):
        opened.clear()
        made = [mailbox(), mailbox()]
        threads = [threading.Thread(target=open_one, args=each) for each in enumerate(made)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(90)
        assert sum(each is None for each in opened) == 1
        for worker, each in zip(workers, made, strict=True):
            worker.close_mailbox(each.id, NOW)


def test_a_worker_closes_what_it_left_open_when_it_opens_another(
    workers: list[AttemptLedger], directory: MailboxDirectory
) -> None:
    first, second = mailbox(), mailbox()
    workers[0].open_mailbox(first, STUDY, None, NOW)
    assert workers[0].open_mailbox(second, STUDY, None, NOW)
    assert directory.find(STUDY, SERIES, None) == second


@pytest.fixture
def sources(scene: Scene) -> list[Assignment]:
    """Three tasks of one study, the second from another PACS, each to a place of its own: they take no turns."""
    made = []
    for name, source in (("one", "pacs"), ("two", "mirror"), ("three", "pacs")):
        spec = {"dimse": {"aeTitle": source.upper(), "host": "pacs.example.org", "port": 104}}
        job = transfer_job(name, source={"node": source}, destination={"node": f"archive-{name}"})
        record = scene.apply(job)
        scene.ledger.apply_node(node(f"archive-{name}"), NOW)
        scene.ledger.apply_node(DicomNode.model_validate({"metadata": {"name": source}, "spec": spec}), NOW)
        made += scene.claim(record.id)
    return made


@pytest.mark.parametrize("ending", ["killed", "broke off", "asked again and ended"])
def test_what_a_source_still_sends_is_not_taken_for_anothers(
    scene: Scene, sources: list[Assignment], directory: MailboxDirectory, ending: str
) -> None:
    """A PACS without Move Originator ids: nothing tells its late objects from those of the next C-MOVE."""
    first, other, same = (scene.worker(each) for each in sources)
    broken = mailbox()
    assert first.open_mailbox(broken, STUDY, None, NOW)
    if ending == "killed":
        scene.ledger.declare_lost(sources[0].attempt_id, seen_heartbeat=None, fault=LOST, now=NOW)
    elif ending == "broke off":
        first.close_mailbox(broken.id, NOW, broke_off=True)
    else:
        again = mailbox()
        assert first.open_mailbox(again, STUDY, None, NOW)
        first.close_mailbox(again.id, NOW)
    for minutes in (0, 9):
        assert other.open_mailbox(mailbox(), STUDY, None, NOW + timedelta(minutes=minutes)) is None
    assert directory.find(STUDY, SERIES, None) is None  # refused, and asked for again
    ours = mailbox()
    assert same.open_mailbox(ours, STUDY, None, NOW)  # what comes late is what it asks for
    same.close_mailbox(ours.id, NOW)
    assert other.open_mailbox(mailbox(), STUDY, None, NOW + timedelta(minutes=11))
    for worker in (first, other, same):
        worker.close()


def test_a_source_that_sends_on_holds_others_up_until_it_is_silent(
    scene: Scene, sources: list[Assignment], receiver_url: str
) -> None:
    first, other, _ = (scene.worker(each) for each in sources)
    moment = NOW
    directory = MailboxDirectory(receiver_url, lambda: moment)

    def opens(minutes: int) -> bool:
        ours = mailbox()
        opened = other.open_mailbox(ours, STUDY, None, NOW + timedelta(minutes=minutes)) is not None
        other.close_mailbox(ours.id, NOW)
        return opened

    assert first.open_mailbox(mailbox(), STUDY, None, NOW)
    scene.ledger.declare_lost(sources[0].attempt_id, seen_heartbeat=None, fault=LOST, now=NOW)
    for minutes in (0, 8, 16, 3):  # the clocks of receivers differ
        moment = NOW + timedelta(minutes=minutes)
        assert directory.find(STUDY, SERIES, None) is None
    assert [opens(minutes) for minutes in (11, 25, 27)] == [False, False, True]
    moment = NOW + timedelta(minutes=60)  # of whatever source: that one was silent for long
    assert directory.find(STUDY, SERIES, None) is None
    assert opens(61)
    directory.close()
    for worker in (first, other):
        worker.close()


def test_a_c_move_that_ended_well_holds_nobody_up(scene: Scene, sources: list[Assignment]) -> None:
    first, other, _ = (scene.worker(each) for each in sources)
    ended = mailbox()
    assert first.open_mailbox(ended, STUDY, None, NOW)
    first.close_mailbox(ended.id, NOW)
    assert other.open_mailbox(mailbox(), STUDY, None, NOW)
    for worker in (first, other):
        worker.close()


def test_a_dead_attempts_mailbox_is_closed_with_it(
    scene: Scene, claims: list[Assignment], workers: list[AttemptLedger], directory: MailboxDirectory
) -> None:
    dead, next_one = mailbox(), mailbox()
    message = workers[0].open_mailbox(dead, STUDY, None, NOW)
    scene.ledger.declare_lost(claims[0].attempt_id, seen_heartbeat=None, fault=LOST, now=NOW)
    assert directory.find(STUDY, SERIES, None) is None
    with pytest.raises(Fenced):
        workers[0].open_mailbox(mailbox(), STUDY, None, NOW)
    assert workers[1].open_mailbox(next_one, STUDY, None, NOW)
    assert directory.find(STUDY, SERIES, message) is None  # what the PACS still sends for the dead one
    assert directory.find(STUDY, SERIES, None) == next_one


def test_a_worker_opens_none_for_a_study_that_is_not_its_tasks(workers: list[AttemptLedger]) -> None:
    with pytest.raises(Fenced):
        workers[0].open_mailbox(mailbox(), "1.2.99", None, NOW)


def test_a_worker_closes_no_others(workers: list[AttemptLedger], directory: MailboxDirectory) -> None:
    ours = mailbox()
    workers[0].open_mailbox(ours, STUDY, None, NOW)
    workers[1].close_mailbox(ours.id, NOW)
    assert directory.find(STUDY, SERIES, None) == ours


FIND = "SELECT * FROM adit_find_mailbox('1.2.1', '1.2.1.1', NULL)"
OPEN = "SELECT adit_open_mailbox(gen_random_uuid(), '1.2.1', NULL, 'x', 1, 'y', now())"


@pytest.mark.parametrize("statement", ["SELECT * FROM mailbox", "DELETE FROM mailbox", FIND])
def test_what_is_not_the_workers(worker_url: str, claims: list[Assignment], statement: str) -> None:
    denied(engine(worker_url, connections=1), statement)


@pytest.mark.parametrize(
    "statement",
    ["SELECT * FROM mailbox", "SELECT * FROM attempt", "SELECT * FROM task", "SELECT * FROM instance", OPEN],
)
def test_what_is_not_the_receivers(receiver_url: str, statement: str) -> None:
    denied(engine(receiver_url, connections=1), statement)


def denied(role: Engine, statement: str) -> None:
    with pytest.raises(LedgerError, match=DENIED), transaction(role) as connection:
        connection.execute(text(statement))
    role.dispose()


def test_a_closed_one_keeps_no_secret_and_is_forgotten_after_a_day(
    scene: Scene, claims: list[Assignment], workers: list[AttemptLedger], ledger_url: str
) -> None:
    workers[0].open_mailbox(mailbox(), STUDY, None, NOW)
    workers[0].open_mailbox(mailbox(), STUDY, None, NOW)

    def secrets() -> list[str]:
        source = engine(ledger_url, connections=1)
        with transaction(source) as connection:
            found = list(connection.execute(text("SELECT secret FROM mailbox ORDER BY secret")).scalars())
        source.dispose()
        return found

    assert secrets() == ["", "ab" * 32]
    scene.ledger.expire(NOW + timedelta(hours=23))
    assert len(secrets()) == 2
    scene.ledger.expire(NOW + timedelta(hours=25))
    assert secrets() == ["ab" * 32]  # open, and its attempt too
    scene.attempt(claims[0], [], report())
    scene.ledger.expire(NOW + timedelta(hours=25))
    assert secrets() == []
