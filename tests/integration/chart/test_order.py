"""What is done before what, for Helm and for Argo CD: a wrong order is an installation that never ends."""

from __future__ import annotations

from typing import Any

import pytest

from tests.peers.helm import Document, Helm


def hooks(documents: list[Document]) -> dict[str, tuple[str, int, str, int]]:
    """Helm's hook and weight, Argo CD's hook and wave."""
    found = {}
    for each in documents:
        notes = each["metadata"].get("annotations", {})
        if "helm.sh/hook" in notes:
            found[f"{each['kind']}/{each['metadata']['name']}"] = (
                notes["helm.sh/hook"],
                int(notes.get("helm.sh/hook-weight", 0)),
                notes["argocd.argoproj.io/hook"],
                int(notes.get("argocd.argoproj.io/sync-wave", 0)),
            )
    return found


def migration(documents: list[Document]) -> Document:
    [found] = [each for each in documents if each["kind"] == "Job" and "-migrate-" in each["metadata"]["name"]]
    return found


def test_the_databases_secret_comes_first_its_rights_before_it(helm4: Helm) -> None:
    before = "pre-install,pre-upgrade"
    found = hooks(helm4.render({"tests": {"enabled": False}}))
    assert found == {
        "ServiceAccount/adit-database-secret": (before, -20, "PreSync", -20),
        "Role/adit-database-secret": (before, -20, "PreSync", -20),
        "RoleBinding/adit-database-secret": (before, -20, "PreSync", -20),
        "Job/adit-database-secret": (before, -10, "PreSync", -10),
    }


def test_a_hook_that_failed_does_not_outlive_the_release_for_long(helm4: Helm) -> None:
    """Helm forgets hooks: an uninstall leaves the one that failed, which ends and goes by itself."""
    for values in ({"sandbox": {"enabled": True}}, {"database": {"existingSecret": "mine"}}):
        documents = helm4.render({**values, "tests": {"enabled": False}})
        jobs = [each for each in documents if each["kind"] == "Job" and hooks([each])]
        assert jobs
        for job in jobs:
            assert job["spec"]["activeDeadlineSeconds"] <= 86400, job["metadata"]["name"]
            assert job["spec"]["ttlSecondsAfterFinished"] <= 86400, job["metadata"]["name"]


def test_with_the_bundled_postgres_the_migration_is_no_hook(helm4: Helm) -> None:
    """A hook before it would wait for a Postgres that is not made yet, one after it for an operator that waits."""
    job = migration(helm4.render())
    assert "annotations" not in job["metadata"]
    assert "ttlSecondsAfterFinished" not in job["spec"]  # Argo CD would make it again, forever
    [container] = job["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["adit", "migrate", "--wait", "300"]


def test_with_a_postgres_that_is_there_the_migration_is_a_hook_before_all(helm4: Helm) -> None:
    documents = helm4.render({"database": {"existingSecret": "mine"}, "image": {"tag": "V1.2_beta"}})
    job = migration(documents)
    assert job["metadata"]["name"] == "adit-migrate-v1-2-beta"
    assert hooks([job]) == {"Job/adit-migrate-v1-2-beta": ("pre-install,pre-upgrade", -5, "PreSync", -5)}
    assert job["metadata"]["annotations"]["argocd.argoproj.io/hook-delete-policy"] == "BeforeHookCreation"
    assert job["spec"]["template"]["spec"].get("serviceAccountName") is None  # there is none yet
    assert not any(each["kind"] == "StatefulSet" for each in documents)


@pytest.mark.parametrize(
    "change",
    [
        {"api": {"image": {"tag": "2"}}},
        {"image": {"tag": "2"}},
        {"migration": {"resources": {"limits": {"memory": "1Gi"}}}},
        {"migration": {"podLabels": {"a": "b"}}},
    ],
)
def test_a_changed_migration_is_another_job(helm4: Helm, change: dict[str, Any]) -> None:
    """Kubernetes refuses to change a Job."""
    assert migration(helm4.render())["metadata"]["name"] != migration(helm4.render(change))["metadata"]["name"]


def test_a_change_elsewhere_is_the_same_migration(helm4: Helm) -> None:
    assert migration(helm4.render()) == migration(helm4.render({"operator": {"replicas": 2}}))


def test_the_sandbox_is_filled_when_everything_is_there(helm4: Helm) -> None:
    found = hooks(helm4.render({"sandbox": {"enabled": True}}))
    after = {name: each for name, each in found.items() if "sandbox" in name}
    assert {each[0] for each in after.values()} == {"post-install,post-upgrade"}
    assert {each[2] for each in after.values()} == {"PostSync"}
    job = after.pop("Job/adit-sandbox-setup")
    assert all(each[1] < job[1] and each[3] < job[3] for each in after.values())


def test_the_sandbox_is_asked_for_nothing_before_its_samples_are_there(helm4: Helm) -> None:
    """Its pod is not ready before, and starts empty each time; the nodes are made by way of its Service."""
    documents = helm4.render({"sandbox": {"enabled": True}})
    pod = next(
        each for each in documents if each["metadata"]["name"] == "adit-sandbox-pacs" and "template" in each["spec"]
    )
    samples = next(each for each in pod["spec"]["template"]["spec"]["containers"] if each["name"] == "samples")
    [done] = [each.removeprefix("--done=") for each in samples["command"] if each.startswith("--done=")]
    assert done in samples["readinessProbe"]["exec"]["command"][-1]
    assert done.startswith(samples["volumeMounts"][0]["mountPath"])


def test_ready_profiles_are_made_when_their_kind_is_there(helm4: Helm) -> None:
    found = hooks(helm4.render({"deidProfiles": {"ready": ["basic"], "keySecret": "key"}}))
    after = {name: each for name, each in found.items() if "profiles" in name}
    assert {each[0] for each in after.values()} == {"post-install,post-upgrade"}
    job = after.pop("Job/adit-profiles-setup")
    assert len(after) == 3
    assert all(each[1] < job[1] and each[3] < job[3] for each in after.values())


def test_crds_come_first_for_argo_cd(helm4: Helm) -> None:
    crds = [each for each in helm4.render() if each["kind"] == "CustomResourceDefinition"]
    assert {each["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"] for each in crds} == {"-10"}
