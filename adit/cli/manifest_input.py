"""The FILE arguments of `adit run` and `adit apply`: read, checked together, and applied all or none."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from adit.cli.console import CommandError, ExitCode, fail
from adit.cli.secret_folders import lacking
from adit.dispatch.accept import accept, can_wait
from adit.ledger.ledger import Ledger
from adit.ledger.records import Applied, NodeKey, ProfileKey
from adit.ledger.resources import ResourceConflict, check_change
from adit.model.deid_profile import DeidProfile
from adit.model.dicom_node import DicomNode
from adit.model.manifest_file import Manifest, ManifestErrors, read_all
from adit.model.transfer_job import TransferJob

STANDARD_INPUT = "-"
_LARGEST = 8 * 2**20


@dataclass(frozen=True, slots=True)
class Line:
    """What became of one resource, in kubectl's words."""

    resource: Manifest
    applied: Applied

    def __str__(self) -> str:
        namespace, name = self.resource.key
        where = "" if namespace == "default" else f" -n {namespace}"
        return f"{self.resource.kind.lower()}.adit.dev/{name} {self.applied}{where}"


def read_files(paths: Sequence[str]) -> list[Manifest]:
    """Every resource in the files. Ends the command with all that is wrong, files that can't be read included."""
    texts: list[tuple[str, str]] = []
    wrong: list[str] = []
    for path in paths:
        try:
            texts.append(_text_of(path))
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8; save it as UTF-8"
            wrong.append(f"{path}: cannot be read: {reason}")
    try:
        resources = read_all(texts)
    except ManifestErrors as errors:
        wrong.append(str(errors))
    if wrong:
        raise CommandError("\n".join([*wrong, "Nothing was created."]), ExitCode.REFUSED)
    return resources


def _text_of(path: str) -> tuple[str, str]:
    if path == STANDARD_INPUT:
        return "standard input", sys.stdin.buffer.read(_LARGEST + 1).decode("utf-8")
    with Path(path).open(encoding="utf-8") as file:
        return path, file.read(_LARGEST + 1)


def apply_all(
    ledger: Ledger, resources: Sequence[Manifest], now: datetime, *, may_wait: bool, secrets: Path | None = None
) -> list[Line]:
    """Writes the resources into the ledger, or none of them when one can't be accepted.

    `may_wait` lets jobs in whose nodes or profile are not there yet. With `secrets`, jobs are refused
    whose Secrets are not in that folder. Ends the command with every refusal.
    """
    named = [each for each in resources if isinstance(each, DeidProfile)]
    profiles = {profile.key: profile for profile in (*ledger.profiles(), *named)}
    nodes: dict[NodeKey, DicomNode] = {node.key: node for node in ledger.nodes()}
    nodes |= {each.key: each for each in resources if isinstance(each, DicomNode)}
    jobs = [each for each in resources if isinstance(each, TransferJob)]
    refusals = _unusable(named)
    for job in jobs:
        if refusal := _refusal(ledger, job, jobs, nodes, profiles, may_wait=may_wait):
            refusals.append(refusal)
        elif secrets is not None and not has_ended(ledger, job):
            refusals += lacking(job, nodes, profiles, secrets)
    if refusals:
        fail("\n".join([*refusals, "Nothing was created."]))
    lines = []
    for each in sorted(resources, key=lambda each: each.kind):  # nodes and profiles before the jobs that name them
        try:
            applied = _apply(ledger, each, now)
        except ResourceConflict as conflict:  # another process was faster since the check
            fail(f"transferjob.adit.dev/{each.metadata.name}: {conflict}")
        lines.append(Line(each, applied))
    return lines


def has_ended(ledger: Ledger, job: TransferJob) -> bool:
    """A job that the ledger does not know has not."""
    known = ledger.job(job.key)
    return known is not None and known.ended_at is not None


def _apply(ledger: Ledger, resource: Manifest, now: datetime) -> Applied:
    if isinstance(resource, DicomNode):
        return ledger.apply_node(resource, now)
    if isinstance(resource, DeidProfile):
        return ledger.apply_profile(resource, now)
    return ledger.apply_job(resource, now)


def _unusable(profiles: Sequence[DeidProfile]) -> list[str]:
    """What the table of PS3.15 and the dictionary say of profiles that are well formed."""
    if not profiles:
        return []
    from adit.deid.policy import Policy, ProfileError  # with the standard's tables

    found = []
    for profile in profiles:
        try:
            Policy(profile)
        except ProfileError as error:
            found.append(f"deidprofile.adit.dev/{profile.metadata.name}: {error}. Correct it.")
    return found


def _refusal(
    ledger: Ledger,
    job: TransferJob,
    jobs: Sequence[TransferJob],
    nodes: dict[NodeKey, DicomNode],
    profiles: Collection[ProfileKey],
    *,
    may_wait: bool,
) -> str | None:
    known = ledger.job(job.key)
    if known is not None:
        try:
            check_change(known.job, job, finished=known.ended_at is not None)
        except ResourceConflict as conflict:
            return f"transferjob.adit.dev/{job.metadata.name}: {conflict}"
        return None
    named = job.spec.selection.failed_of
    failed_job = ledger.job((job.metadata.namespace, named.name)) if named else None
    listed = job.spec.selection.listed
    selection = ledger.selection(job.metadata.namespace, listed) if listed else None
    fault = accept(job, nodes, failed_job, selection, profiles=profiles, find_job=ledger.job)
    if fault is None:
        return None
    beside = named is not None and (job.metadata.namespace, named.name) in {each.key for each in jobs}
    if can_wait(fault) and (may_wait or beside):
        return None
    return f"transferjob.adit.dev/{job.metadata.name}: {fault}"
