"""The profile in an assignment: whole, as it was, and no burden on workers that have none."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from uuid import uuid4

from adit.deid.profiles import names, ready
from adit.model.assignment import Assignment
from adit.model.dicom_node import DicomNode

NODE = DicomNode.model_validate({"kind": "DicomNode", "metadata": {"name": "a"}, "spec": {"folder": {"path": "/a"}}})


def test_profiles_survive_the_ledger() -> None:
    for name in names():
        made = Assignment(
            attempt_id=1,
            token=uuid4(),
            number=1,
            task_id=1,
            job_id=uuid4(),
            job_name="j",
            namespace="default",
            owner="o",
            job_created_on=date(2026, 1, 1),
            study_instance_uid="1.2",
            source=NODE,
            destination=NODE,
            profile=ready(name),
        )
        assert Assignment.model_validate_json(made.model_dump_json(by_alias=True)).profile == ready(name)


def test_an_assignment_without_a_profile_does_not_build_its_model() -> None:
    code = "import sys, adit.model.assignment; sys.exit('adit.model.deid_profile' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
