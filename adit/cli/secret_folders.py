"""Which Secrets of a job are not there. Called by `adit run` before anything is created: a job that fails for lack of
one has ended, and its name with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from adit.dicom.secret_place import secret_place
from adit.ledger.records import NodeKey, ProfileKey
from adit.model.archive import PASSWORD_KEYS
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
    for owner, asked in _asked(job, nodes, profiles):
        for secret, parts in asked.items():
            if not any((secrets / secret / part).is_file() for part in parts):
                yield (
                    f"transferjob.adit.dev/{job.metadata.name}: the secret {secret} of {owner} "
                    f"has no {' or '.join(parts)}{secret_place(secrets / secret)}. Put it there, "
                    "or set ADIT_SECRETS to the folder that holds one folder per secret (docs/single-machine.md)."
                )


def _asked(
    job: TransferJob, nodes: Mapping[NodeKey, DicomNode], profiles: Mapping[ProfileKey, DeidProfile]
) -> Iterator[tuple[str, Mapping[str, tuple[str, ...]]]]:
    """The keys of Secrets that are asked for, and by whom."""
    namespace, archive = job.metadata.namespace, job.spec.destination.archive
    named: list[DicomNode | DeidProfile | None] = [nodes.get((namespace, job.spec.source.node))]
    if archive is None:  # else the job's own counts, whatever the folder's DicomNode says
        named.append(nodes.get((namespace, job.spec.destination.node)))
    if job.spec.deidentification is not None:
        named.append(profiles.get((namespace, job.spec.deidentification.profile)))
    for each in named:
        if each is not None:
            yield f"{each.kind} {each.metadata.name}", each.spec.secrets
    if archive is not None:
        yield "its destination.archive", {archive.secret_name: PASSWORD_KEYS}
