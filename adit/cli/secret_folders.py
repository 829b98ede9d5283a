"""Which Secrets of a job are not there. Called by `adit run` before anything is created: a job that fails for lack of
one has ended, and its name with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from adit.dicom.secret_place import secret_place
from adit.ledger.records import NodeKey, ProfileKey
from adit.model.deid_profile import DeidProfile
from adit.model.dicom_node import DicomNode
from adit.model.transfer_job import TransferJob


def lacking(
    job: TransferJob,
    nodes: Mapping[NodeKey, DicomNode],
    profiles: Mapping[ProfileKey, DeidProfile],
    secrets: Path,
) -> Iterator[str]:
    """A line for each. Of one that is there in part the node itself knows better what it needs."""
    namespace = job.metadata.namespace
    named: list[DicomNode | DeidProfile | None] = [
        nodes.get((namespace, end.node)) for end in (job.spec.source, job.spec.destination)
    ]
    if job.spec.deidentification is not None:
        named.append(profiles.get((namespace, job.spec.deidentification.profile)))
    for each in [each for each in named if each is not None]:
        for secret, parts in each.spec.secrets.items():
            if not any((secrets / secret / part).is_file() for part in parts):
                yield (
                    f"transferjob.adit.dev/{job.metadata.name}: the secret {secret} of {each.kind} "
                    f"{each.metadata.name} has no {' or '.join(parts)}{secret_place(secrets / secret)}. Put it there, "
                    "or set ADIT_SECRETS to the folder that holds one folder per secret (docs/single-machine.md)."
                )
