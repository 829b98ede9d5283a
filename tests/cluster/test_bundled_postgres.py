"""The bundled Postgres keeps what it was told, also when its pod is deleted by force and two are there at once."""

from __future__ import annotations

from typing import Any

import pytest

from adit.ledger.connection import LedgerUnavailable
from adit.ledger.ledger import Ledger
from tests.cluster.installation import Installation
from tests.cluster.kubernetes import eventually
from tests.samples import Study

POD = "adit-postgres-0"
FORCE = ("--force", "--grace-period=0", "--wait=false")
TIMES = 3


def test_a_second_server_waits_for_the_first(installation: Installation, many_studies: list[Study]) -> None:
    """Kubernetes starts the successor of what was deleted by force at once, while the old one writes its last words."""
    study = many_studies[0].study_instance_uid
    job = installation.job(study)
    job.wait("Complete")
    for _ in range(TIMES):
        _nobody_else_gets_in(installation)
        _replace_by_force(installation)
    ledger = eventually("the ledger answers", lambda: _answering(installation), 60)
    assert ledger.summary(job.id).verified == len(many_studies[0].instances)
    again = installation.job(many_studies[1].study_instance_uid)
    again.wait("Complete")
    again.is_proven(many_studies[1].study_instance_uid)


def _replace_by_force(installation: Installation) -> None:
    before = _ready_pods(installation)
    installation.kubectl("delete", "pod", POD, *FORCE)
    eventually("another pod is ready", lambda: _ready_pods(installation) - before, 90)


def _nobody_else_gets_in(installation: Installation) -> None:
    with pytest.raises(AssertionError):
        installation.kubectl("exec", POD, "--", "sh", "-c", "exec 9>>/var/lib/postgresql/.in-use && flock -n 9")


def _ready_pods(installation: Installation) -> set[str]:
    """Their UIDs."""
    return {
        str(pod["metadata"]["uid"])
        for pod in installation.pods("postgres")
        if {"type": "Ready", "status": "True"}.items() <= _ready(pod).items()
    }


def _ready(pod: Any) -> dict[str, Any]:
    return next((each for each in pod["status"].get("conditions", ()) if each["type"] == "Ready"), {})


def _answering(installation: Installation) -> Ledger | None:
    try:
        installation.ledger.job(("none", "none"))
    except LedgerUnavailable:
        return None
    return installation.ledger
