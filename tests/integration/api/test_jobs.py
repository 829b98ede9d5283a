"""TransferJobs over REST, on one machine: created, listed, shown, steered, tried again."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest

from adit.ledger.ledger import Ledger
from adit.model.deid_profile import DeidProfile
from adit.model.instance import InstanceState
from adit.model.outcome import Outcome
from adit.model.state import TaskState
from adit.model.transfer_job import ListReference, TransferJob
from adit_api.app import application
from adit_api.ledger_registry import LedgerRegistry
from adit_api.registry import FoundJob, Key
from adit_api.services import utc_now
from adit_api.settings import Settings
from tests.integration.api.running import Facade, running
from tests.integration.ledger.scene import FAILURE, NOW, Scene, report, row, seeds, transfer_job

pytestmark = pytest.mark.usefixtures("nodes")
JOBS = "/v1/transferjobs"
RESEARCH: dict[str, Any] = {"metadata": {"name": "research"}, "spec": {"key": {"secretName": "key"}}}


def body(name: str = "ct", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {
            "source": {"node": "pacs"},
            "destination": {"node": "research"},
            "selection": {"studies": [{"studyInstanceUID": "1.2.1", "patientID": "PAT-77"}]},
            **spec,
        },
    }


def test_a_job_is_created_and_told(facade: Facade, admin: str, ledger: Ledger) -> None:
    created = facade.call("POST", JOBS, admin, json=body(parallelism=3, priority="High"))
    assert created.status_code == 201, created.text
    assert created.headers["location"] == f"{JOBS}/default/ct"
    shown = facade.call("GET", created.headers["location"], admin).json()
    assert (shown["state"], shown["parallelism"], shown["priority"]) == ("Pending", 3, "High")
    assert shown["selection"]["kind"] == "list"
    record = ledger.job(("default", "ct"))
    assert record is not None
    assert shown["uid"] == str(record.id)


def test_a_422_names_the_field_or_the_body(facade: Facade, admin: str) -> None:
    itself = body(selection={"failedOf": {"name": "ct"}})
    for sent, field in (
        (itself, "spec.selection.failedOf.name"),
        ([], "the body"),
        (body(destination={"node": "pacs"}), "spec"),
        ({}, "metadata"),
    ):
        told = facade.call("POST", JOBS, admin, json=sent)
        assert told.status_code == 422, told.text
        assert told.json()["errors"][0]["field"] == field


def test_studies_of_a_posted_job_stay_in_the_ledger(facade: Facade, admin: str, ledger: Ledger) -> None:
    facade.call("POST", JOBS, admin, json=body())
    record = ledger.job(("default", "ct"))
    assert record is not None
    document = record.job.model_dump_json(by_alias=True, exclude_none=True)
    assert "PAT-77" not in document
    assert "1.2.1" not in document
    listed = record.job.spec.selection.listed
    assert isinstance(listed, ListReference)
    selection = ledger.selection("default", listed)
    assert selection is not None
    assert selection.size == 1


def test_a_name_is_used_once(facade: Facade, admin: str) -> None:
    assert facade.call("POST", JOBS, admin, json=body()).status_code == 201
    again = facade.call("POST", JOBS, admin, json=body(parallelism=3))
    assert again.status_code == 409
    assert again.json()["type"] == "urn:adit:problem:exists"
    assert facade.call("GET", f"{JOBS}/default/ct", admin).json()["parallelism"] == 10


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ({"selection": {"list": {"name": "nobody"}}}, "SelectionNotFound"),
        ({"selection": {"studies": [{"studyInstanceUID": "1.2", "pseudonym": "P1"}]}}, "DeidentificationUnavailable"),
    ],
)
def test_what_can_never_run_is_refused(facade: Facade, admin: str, ledger: Ledger, spec: Any, code: str) -> None:
    refused = facade.call("POST", JOBS, admin, json=body(**spec))
    assert refused.status_code == 422
    assert refused.json()["code"] == code
    assert ledger.job(("default", "ct")) is None


def test_a_job_may_come_before_its_nodes(facade: Facade, admin: str) -> None:
    created = facade.call("POST", JOBS, admin, json=body(source={"node": "later"}))
    assert created.status_code == 201
    assert created.json()["refusal"]["code"] == "NodeNotFound"
    shown = facade.call("GET", f"{JOBS}/default/ct", admin).json()
    assert shown["refusal"] == created.json()["refusal"]


def test_what_breaks_a_rule_is_told_by_its_field(facade: Facade, admin: str) -> None:
    wrong = body(parallelism="5", deadlineSeconds=-1, sauce=1)
    wrong["spec"]["destination"] = {"node": "PACS"}
    told = facade.call("POST", JOBS, admin, json=wrong)
    assert told.status_code == 422
    errors = {each["field"]: each["rule"] for each in told.json()["errors"]}
    assert set(errors) == {"spec.parallelism", "spec.deadlineSeconds", "spec", "spec.destination.node"}
    assert errors["spec.parallelism"].startswith("must be a whole number")
    assert "sauce" not in errors["spec"]  # what is wrong may be anything, a patient's id too
    assert "it may have source, destination, selection" in errors["spec"]


def test_jobs_are_listed_in_pages_by_filters(facade: Facade, admin: str) -> None:
    for number in range(5):
        facade.call("POST", JOBS, admin, json=body(f"ct-{number}", owner=f"owner-{number % 2}"))
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = facade.call("GET", JOBS, admin, params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        found += [each["name"] for each in page["items"]]
        cursor = page.get("next")
        if cursor is None:
            break
    assert found == [f"ct-{number}" for number in reversed(range(5))]
    mine = facade.call("GET", JOBS, admin, params={"owner": "owner-1", "state": "Pending"}).json()["items"]
    assert [each["name"] for each in mine] == ["ct-3", "ct-1"]
    none = {"createdBefore": "2020-01-01T00:00:00Z"}
    assert facade.call("GET", JOBS, admin, params=none).json()["items"] == []
    for wrong in ("x", "", "e30", "WyJqIiwiMjAyNi0wMS0wMVQwMDowMDowMCIsICJ4Il0", "~" * 400):
        refused = facade.call("GET", JOBS, admin, params={"cursor": wrong})
        assert refused.status_code == 422, wrong
    assert facade.call("GET", JOBS, admin, params={"createdAfter": "yesterday"}).status_code == 422


def test_a_job_is_suspended_resumed_and_cancelled(facade: Facade, admin: str, ledger: Ledger) -> None:
    facade.call("POST", JOBS, admin, json=body())

    def steer(what: str, given: Any = None) -> tuple[int, Any]:
        answer = facade.call("POST", f"{JOBS}/default/ct/{what}", admin, **({} if given is None else {"json": given}))
        return answer.status_code, answer.json()

    assert steer("suspend")[1]["suspend"] is True
    assert steer("suspend")[0] == 200
    assert steer("resume")[1]["suspend"] is False
    assert steer("cancel", {"mode": "Drain"})[1]["cancel"] == "Drain"
    assert steer("cancel", {})[1]["cancel"] == "Terminate"
    status, told = steer("cancel", {"mode": "Drain"})
    assert (status, told["type"]) == (409, "urn:adit:problem:conflict")
    record = ledger.job(("default", "ct"))
    assert record is not None
    assert record.job.spec.cancel == "Terminate"
    assert steer("cancel", {"mode": "Never"})[0] == 422


def test_a_finished_job_is_frozen_and_what_failed_is_tried_again(facade: Facade, admin: str, scene: Scene) -> None:
    kept: dict[str, Any] = {"trial": {"protocolID": "STROKE"}, "deidentification": {"profile": "research"}}
    scene.ledger.apply_profile(DeidProfile.model_validate(RESEARCH), NOW)
    asked = transfer_job(studies=["1.2.1", "1.2.2"], parallelism=7, **kept)
    scene.ledger.apply_job(asked, NOW)
    job = scene.record()
    scene.ledger.expand(job.id, seeds(asked), NOW, DeidProfile.model_validate(RESEARCH))
    again = f"{JOBS}/default/ct/retry-failed"
    assert facade.call("POST", again, admin, json={"name": "ct"}).status_code == 409
    early = facade.call("POST", again, admin, json={"name": "again"})
    assert (early.status_code, early.json()["type"]) == (409, "urn:adit:problem:not-finished")
    scene.run(job.id)
    scene.run(job.id, FAILURE, outcome=report(Outcome.TRANSIENT_FAULT))
    scene.ledger.close_jobs(NOW)
    for steer in ("suspend", "resume", "cancel"):
        frozen = facade.call("POST", f"{JOBS}/default/ct/{steer}", admin, json={})
        assert (frozen.status_code, frozen.json()["type"]) == (409, "urn:adit:problem:finished")
    shown = facade.call("GET", f"{JOBS}/default/ct", admin).json()
    assert shown["state"] == "Failure"
    assert shown["failures"][0]["code"] == "NodeUnreachable"
    assert shown["tasks"]["failed"] == 1
    created = facade.call("POST", again, admin, json={"name": "again"})
    assert created.status_code == 201, created.text
    record = scene.record("again")
    assert record.job.spec.selection.failed_of is not None
    assert record.job.spec.parallelism == 7
    assert record.job.spec.trial == job.job.spec.trial
    assert record.job.spec.deidentification == job.job.spec.deidentification is not None


def test_where_nothing_failed_there_is_nothing_to_try_again(facade: Facade, admin: str, scene: Scene) -> None:
    scene.run(scene.apply().id)
    scene.ledger.close_jobs(NOW)
    refused = facade.call("POST", f"{JOBS}/default/ct/retry-failed", admin, json={"name": "again"})
    assert refused.status_code == 409


def test_tasks_attempts_and_their_logs(facade: Facade, admin: str, scene: Scene) -> None:
    job = scene.apply(transfer_job(studies=[f"1.2.{n}" for n in range(3)]))
    records = [row("1.2.1.1.1", size=10, sha256="ab"), row("1.2.1.1.2", InstanceState.LEFT_OUT)]
    task = scene.run(job.id, records=records)
    tasks = f"{JOBS}/default/ct/tasks"
    first = facade.call("GET", tasks, admin, params={"limit": 2}).json()
    rest = facade.call("GET", tasks, admin, params={"limit": 2, "cursor": first["next"]}).json()
    assert [each["studyInstanceUID"] for each in first["items"] + rest["items"]] == ["1.2.0", "1.2.1", "1.2.2"]
    assert "next" not in rest or rest["next"] is None
    done = facade.call("GET", tasks, admin, params={"state": "Success"}).json()["items"]
    assert [each["id"] for each in done] == [task]
    shown = facade.call("GET", f"{tasks}/{task}", admin).json()
    assert (shown["expected"], shown["verified"], shown["leftOut"]) == (1, 1, 1)
    assert facade.call("GET", f"{JOBS}/default/ct", admin).json()["instances"]["leftOut"] == 1
    attempts = facade.call("GET", f"{tasks}/{task}/attempts", admin).json()["items"]
    assert [(each["number"], each["outcome"]) for each in attempts] == [(1, "Success")]
    assert attempts[0]["log"][0]["code"] == "Claimed"
    assert "1003" not in json.dumps(attempts)
    scene.apply(transfer_job("other"))
    for path in (f"{JOBS}/default/other/tasks/{task}", f"{JOBS}/default/nobody/tasks/{task}", f"{tasks}/{2**63 - 1}"):
        assert facade.call("GET", path, admin).status_code == 404
    assert facade.call("GET", f"{tasks}/{2**63}", admin).status_code == 422


def test_the_manifest_is_streamed_as_json_and_csv(facade: Facade, admin: str, scene: Scene) -> None:
    job = scene.apply(transfer_job(studies=["1.2.1", "1.2.2"]))
    scene.run(job.id, records=[row("1.2.1.1.1", fault_message='=HYPERLINK("x"),', size=10, sha256="ab")])
    as_json = facade.call("GET", f"{JOBS}/default/ct/manifest", admin)
    assert as_json.json() == json.loads(json.dumps(scene.ledger.manifest(job.id)))
    told = application().openapi()["paths"][f"{JOBS}/{{namespace}}/{{name}}/manifest"]["get"]["responses"]["200"]
    assert _shape(as_json.json()) == _shape(told["content"]["application/json"]["example"])
    lines = facade.call("GET", f"{JOBS}/default/ct/manifest.csv", admin).text.splitlines()
    assert lines[0].startswith("studyInstanceUID,taskState,")
    assert len(lines) == 3
    assert lines[1].startswith("1.2.1,Success,1,1,")
    assert '"\'=HYPERLINK(""x""),"' in lines[1]
    assert lines[2].startswith("1.2.2,Pending,0,0,")
    assert "1003" not in as_json.text


def test_a_deleted_jobs_record_is_there_by_its_uid(facade: Facade, admin: str, scene: Scene) -> None:
    job = scene.apply()
    scene.ledger.delete_job(job.id, NOW)
    path = f"{JOBS}/default/ct"
    assert facade.call("GET", path, admin).status_code == 404
    gone = facade.call("GET", path, admin, params={"uid": str(job.id)})
    assert gone.json()["deletedAt"] is not None
    assert facade.call("GET", f"{path}/manifest", admin, params={"uid": str(job.id)}).status_code == 200
    other = facade.call("GET", f"{JOBS}/default/other", admin, params={"uid": str(job.id)})
    assert other.status_code == 404
    scene.apply()  # another one under its name, which must not be taken for it
    again = facade.call("POST", f"{path}/retry-failed", admin, params={"uid": str(job.id)}, json={"name": "again"})
    assert (again.status_code, again.json()["type"]) == (409, "urn:adit:problem:conflict")


@pytest.mark.parametrize(
    "metadata",
    [
        {"annotations": {"argocd.argoproj.io/tracking-id": "app:adit.dev/TransferJob:default/ct"}},
        {"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}},
    ],
)
def test_what_is_in_git_is_changed_in_git(facade: Facade, admin: str, ledger: Ledger, metadata: Any) -> None:
    kept = transfer_job(suspend=True).model_dump(mode="json", by_alias=True, exclude_none=True)
    kept["metadata"] |= metadata
    ledger.apply_job(TransferJob.model_validate(kept), utc_now())
    refused = facade.call("POST", f"{JOBS}/default/ct/resume", admin)
    assert refused.status_code == 409
    assert refused.json()["type"] == "urn:adit:problem:kept-in-git"
    assert "Change it in git" in refused.json()["detail"]
    assert facade.call("POST", f"{JOBS}/default/ct/cancel", admin).status_code == 200  # not in git
    del kept["spec"]["suspend"], kept["metadata"]["name"]
    kept["metadata"]["name"] = "free"
    ledger.apply_job(TransferJob.model_validate(kept), utc_now())
    for steer in ("suspend", "resume", "suspend"):
        assert facade.call("POST", f"{JOBS}/default/free/{steer}", admin).status_code == 200


def _shape(document: Any) -> Any:
    """Its keys; of a list, the first one's. The states that tasks are counted by are values."""
    if isinstance(document, list):
        return [_shape(each) for each in document[:1]]
    if isinstance(document, dict) and document.keys().isdisjoint(TaskState):
        return {key: _shape(value) for key, value in document.items()}
    return None


class _Holding(LedgerRegistry):
    """As a cluster where somebody's finalizer holds what was deleted."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger, utc_now)
        self._holds = ledger
        self.held: UUID | None = None

    def find(self, key: Key) -> FoundJob | None:
        record = None if self.held is None else self._holds.job_by_id(self.held)
        return None if record is None else FoundJob(record.job, record.created_at, str(record.id))


def test_a_job_that_is_deleted_and_held_is_told_by_its_name_as_by_its_uid(
    ledger: Ledger, settings: Settings, scene: Scene
) -> None:
    registry = _Holding(ledger)
    with running(ledger, settings, registry) as facade:
        token = facade.token("admin", name="admin")
        ledger.create_job(transfer_job("ct"), NOW)
        record = scene.record("ct")
        ledger.expand(record.id, seeds(record.job), NOW)
        registry.held = record.id
        ledger.delete_job(record.id, NOW)
        by_name = facade.call("GET", f"{JOBS}/default/ct", token).json()
        assert by_name == facade.call("GET", f"{JOBS}/default/ct?uid={record.id}", token).json()
        assert by_name["state"] == "Canceling"
        assert facade.call("GET", f"{JOBS}/default/ct/tasks", token).status_code == 200
        assert facade.call("POST", f"{JOBS}/default/ct/suspend", token).status_code == 409
