"""The bundled Postgres' Secret: made once by the chart's Job, with the rights of that Job, and never shown."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from tests.peers.control_plane import ADMIN, ControlPlane
from tests.peers.helm import helm

MAKER = "token-of-the-maker"
RELEASE, TEAM = "adit", "team-a"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """The chart's roles for the Job, given to whoever bears MAKER."""
    with ControlPlane(tmp_path_factory.mktemp("control-plane"), tokens={MAKER: "makers"}) as started:
        for namespace in (RELEASE, TEAM):
            started.kubectl("create", "namespace", namespace)
        for each in helm().render({"watchNamespaces": [RELEASE, TEAM]}):
            if each["metadata"]["name"] == "adit-database-secret" and each["kind"].startswith("Role"):
                if each["kind"] == "RoleBinding":
                    each["subjects"] = [{"kind": "Group", "name": "makers", "apiGroup": "rbac.authorization.k8s.io"}]
                started.apply(each)
        yield started


@pytest.fixture(autouse=True)
def no_secret(plane: ControlPlane) -> None:
    for namespace in (RELEASE, TEAM):
        plane.kubectl("delete", "secret", "-n", namespace, "--all")


def run(plane: ControlPlane, *more: str, token: str = MAKER) -> subprocess.CompletedProcess[str]:
    """As the chart's Job calls it."""
    [job] = [each for each in helm().render({"watchNamespaces": [RELEASE, TEAM]}) if _is_the_job(each)]
    [container] = job["spec"]["template"]["spec"]["containers"]
    arguments = [*container["command"][1:], *container["args"], *more]
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "KUBECONFIG": str(plane.kubeconfig(token))},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _is_the_job(document: dict[str, Any]) -> bool:
    return bool(document["kind"] == "Job" and document["metadata"]["name"] == "adit-database-secret")


def held(plane: ControlPlane, namespace: str) -> dict[str, str]:
    data = json.loads(plane.kubectl("get", "secret", "adit-database", "-n", namespace, "-o", "json"))["data"]
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def test_made_once_with_random_passwords_that_nobody_sees(plane: ControlPlane) -> None:
    first = run(plane)
    assert first.returncode == 0, first.stderr
    made = held(plane, RELEASE)
    owner, worker = make_url(made["database-url"]), make_url(made["worker-database-url"])
    assert (owner.username, owner.host, owner.port, owner.database) == ("adit", "adit-postgres.adit.svc", 5432, "adit")
    receiver = make_url(made["receiver-database-url"])
    assert (worker.username, receiver.username) == ("adit_worker_login", "adit_receiver_login")
    assert owner.password == made["postgres-password"]
    passwords = {str(each.password) for each in (owner, worker, receiver)}
    assert len(passwords) == 3
    assert all(len(each) >= 40 for each in passwords)
    second = run(plane)
    assert second.returncode == 0, second.stderr
    assert held(plane, RELEASE) == made
    for told in (first.stdout, first.stderr, second.stdout, second.stderr):
        assert not any(each in told for each in passwords)


def test_where_workers_run_there_is_their_url_and_no_other(plane: ControlPlane) -> None:
    assert run(plane).returncode == 0
    assert held(plane, TEAM) == {"worker-database-url": held(plane, RELEASE)["worker-database-url"]}


def test_two_at_once_agree(plane: ControlPlane) -> None:
    command = [sys.executable, "-m", "adit_operator.make_database_secret", "--name=adit-database"]
    command += [f"--namespace={RELEASE}", "--host=db", "--instance=adit", f"--worker-namespace={TEAM}"]
    environment = {**os.environ, "KUBECONFIG": str(plane.kubeconfig(MAKER))}
    started = [subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) for _ in range(3)]
    assert [each.wait(60) for each in started] == [0, 0, 0]
    assert held(plane, TEAM)["worker-database-url"] == held(plane, RELEASE)["worker-database-url"]


def test_a_secret_of_somebody_else_is_not_changed(plane: ControlPlane) -> None:
    plane.kubectl("create", "secret", "generic", "adit-database", "-n", RELEASE, "--from-literal=mine=1")
    refused = run(plane)
    assert refused.returncode == 1
    assert "lacks database-url, postgres-password, worker-database-url" in refused.stderr
    assert held(plane, RELEASE) == {"mine": "1"}


def test_an_old_copy_is_told_of(plane: ControlPlane) -> None:
    plane.kubectl("create", "secret", "generic", "adit-database", "-n", TEAM, "--from-literal=worker-database-url=old")
    refused = run(plane)
    assert refused.returncode == 1
    assert "Secret team-a/adit-database has another worker-database-url" in refused.stderr


def test_its_rights_reach_no_other_secret(plane: ControlPlane) -> None:
    plane.kubectl("create", "secret", "generic", "other", "-n", RELEASE, "--from-literal=a=b")
    maker = Path(plane.kubeconfig(MAKER))

    def may(*arguments: str) -> bool:
        return plane.allows(f"--kubeconfig={maker}", "-n", RELEASE, *arguments)

    assert run(plane).returncode == 0
    assert may("get", "secret", "adit-database")
    assert not may("get", "secret", "other")
    assert not may("get", "secrets")
    assert not may("delete", "secret", "adit-database")
    assert plane.allows(f"--kubeconfig={plane.kubeconfig(ADMIN)}", "-n", RELEASE, "get", "secret", "other")


def test_without_the_right_it_says_so(plane: ControlPlane) -> None:
    refused = run(plane, "--worker-namespace=default")
    assert refused.returncode == 1
    assert "Secret default/adit-database cannot be made: 403" in refused.stderr
