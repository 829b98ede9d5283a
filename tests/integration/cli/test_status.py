"""`adit status` as people read it, and what the command says when the ledger refuses or warns."""

from __future__ import annotations

import re
import signal
from dataclasses import replace
from datetime import UTC, datetime

import psycopg
from sqlalchemy import make_url

from adit.cli.waiting import inherited
from adit.ledger.ledger import Ledger
from adit.model.outcome import Fault, FaultCode
from tests.integration.cli.command import Adit
from tests.integration.cli.manifests import document, documents, job
from tests.integration.ledger.scene import FAILURE, Scene, seeds, transfer_job

NODES = documents(
    *(
        document("DicomNode", name, {"dimse": {"aeTitle": "PEER", "host": "127.0.0.1", "port": 1}})
        for name in ("hospital", "research")
    )
)


def constrain(url: str, table: str, rule: str) -> None:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(f"ALTER TABLE {table} ADD CONSTRAINT strange CHECK ({rule})".encode())


def test_all_jobs_as_a_table(adit: Adit) -> None:
    text = NODES + job("first", "1.2.3", suspend=True) + job("second", "1.2.3")
    assert adit("apply", "-", stdin=text).code == 0
    ended = adit("status")
    assert ended.code == 0, ended.err
    header, *lines = ended.out.splitlines()
    assert header.split() == ["JOB", "STATE", "TASKS", "INSTANCES", "SIZE", "CREATED", "MESSAGE"]
    assert {line.split()[0]: line.split()[1] for line in lines} == {"first": "Pending", "second": "Pending"}
    assert "Waiting: suspended." in next(line for line in lines if line.startswith("first"))


def test_the_summary_of_faults_names_the_node_and_no_code_twice(adit: Adit, ledger: Ledger, worker_url: str) -> None:
    scene = Scene(ledger, worker_url)
    told = replace(FAILURE, message=str(FAILURE.fault))  # as every settlement of a fault
    scene.run(scene.apply(transfer_job("ct")).id, told)
    ended = adit("status", "ct")
    table = [line.strip() for line in ended.out.split("FAULT", 1)[1].splitlines()]
    assert table[1].split(maxsplit=2) == ["NodeUnreachable", "1", "No connection [node pacs]."]
    assert table[-1].split(maxsplit=5)[4:] == ["error", "NodeUnreachable  No connection [node pacs]."]


def test_a_refused_statement_shows_no_patient(adit: Adit, ledger_url: str) -> None:
    constrain(ledger_url, "job", "document::text NOT LIKE '%SECRET-7%'")
    selection = {"studies": [{"studyInstanceUID": "1.2.3", "patientID": "SECRET-7"}]}
    ended = adit("apply", "-", stdin=NODES + job("ct", selection=selection))
    assert ended.code == 1
    assert "CheckViolation (SQLSTATE 23514, table job, constraint strange)" in ended.err
    assert "SECRET-7" not in ended.err + ended.out
    assert "Traceback" not in ended.err


def test_a_run_says_until_when_it_waits_for_the_workers_of_a_killed_one(
    adit: Adit, ledger: Ledger, worker_url: str
) -> None:
    text = NODES + job("ct", "1.2.3")
    assert adit("apply", adit.write("job.yaml", text)).code == 0
    record = ledger.job(("default", "ct"))
    assert record is not None
    ledger.expand(record.id, seeds(record.job), datetime.now(UTC))
    assert Scene(ledger, worker_url).claim(record.id, now=datetime.now(UTC))
    run = adit.start("run", "job.yaml")
    assert run.stderr is not None
    said = ""
    while "is tried again" not in said:
        line = run.stderr.readline()
        assert line, said
        said += line
    assert re.search(r"1 task is with a worker that this call did not start\..* until \d\d:\d\d:\d\d the worker", said)
    adit.end(run, signal.SIGINT)  # it ends whatever it is about to start
    assert inherited(ledger, [], datetime.now(UTC)) == ""  # those of other jobs are none of this call's


def test_it_is_said_that_nothing_works_on_what_is_open(adit: Adit) -> None:
    assert adit("apply", "-", stdin=NODES + job("ct", "1.2.3")).code == 0
    for arguments in (("status",), ("status", "ct")):
        assert "`adit up` works on what is open: start it if none runs." in adit(*arguments).err
    assert "`adit up` does it: nothing happens while none runs." in adit("cancel", "ct").err


def test_a_retry_of_a_refused_or_cancelled_job_is_refused(adit: Adit, ledger: Ledger) -> None:
    now = datetime.now(UTC)
    text = NODES + job("late", "1.2.3") + job("dropped", "1.2.3", cancel="Drain")
    assert adit("apply", "-", stdin=text).code == 0
    late = ledger.job(("default", "late"))
    assert late is not None
    assert ledger.refuse(late.id, Fault(code=FaultCode.DEADLINE_EXCEEDED, message="It waited too long."), now)
    assert adit("run", "-", stdin=job("dropped", "1.2.3", cancel="Drain")).code == 1

    refused = adit("run", "-", stdin=job("again", selection={"failedOf": {"name": "late"}}))
    empty = adit("run", "-", stdin=job("empty", selection={"failedOf": {"name": "dropped"}}))

    assert refused.code == 2
    assert "JobNotRetriable: spec.selection.failedOf.name: TransferJob late was refused" in refused.err
    assert empty.code == 1, empty.err
    assert "empty: refused. JobNotRetriable: spec.selection.failedOf.name: nothing failed in TransferJob" in empty.err


def test_workers_that_are_owners_are_warned_of_once(adit: Adit) -> None:
    text = NODES + job("dropped", "1.2.3", cancel="Drain")
    warned = adit("run", "-", stdin=text, ADIT_WORKER_DATABASE_URL="")
    quiet = adit("run", "-", stdin=text.replace("dropped", "other"))
    assert warned.err.count("ADIT_WORKER_DATABASE_URL is not set") == 1
    assert "docs/single-machine.md" in warned.err
    assert "ADIT_WORKER_DATABASE_URL" not in quiet.err
