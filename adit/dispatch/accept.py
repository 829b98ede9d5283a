"""Whether a job can run at all, seen together with the nodes, the profile and the job that it names. Pure.

Called by the command line before anything is created, and by the dispatcher before a job's tasks are
made. What a resource can be judged by alone stands in its model, not here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

from adit.ledger.records import JobRecord, NodeKey, ProfileKey, SelectionRecord
from adit.model.dicom_node import Accepts, DicomNode, Service
from adit.model.dicom_web import WebService
from adit.model.guess import guess
from adit.model.outcome import Fault, FaultCode
from adit.model.transfer_job import TransferJob

_STUDY_FIND: Final = frozenset({Service.STUDY_ROOT_FIND})
_FIND: Final[frozenset[Service | WebService]] = _STUDY_FIND | {Service.PATIENT_ROOT_FIND, WebService.QIDO}
_FETCH: Final[frozenset[Service | WebService]] = frozenset(
    {
        Service.STUDY_ROOT_GET,
        Service.PATIENT_ROOT_GET,
        Service.STUDY_ROOT_MOVE,
        Service.PATIENT_ROOT_MOVE,
        WebService.WADO,
    }
)
_MOVE: Final[frozenset[Service | WebService]] = frozenset({Service.STUDY_ROOT_MOVE, Service.PATIENT_ROOT_MOVE})
_ANY_STUDY_FIND: Final[frozenset[Service | WebService]] = _STUDY_FIND | {WebService.QIDO}
_STORAGE: Final[frozenset[Service | WebService]] = frozenset({Service.STORAGE, WebService.STOW})

_MENDED_BY_OTHERS: Final = frozenset(
    {
        FaultCode.NODE_NOT_FOUND,
        FaultCode.SERVICE_NOT_OFFERED,
        FaultCode.PROFILE_NOT_FOUND,
        FaultCode.JOB_NOT_FOUND,
        FaultCode.JOB_NOT_FINISHED,
    }
)


def accept(
    job: TransferJob,
    nodes: Mapping[NodeKey, DicomNode],
    failed_job: JobRecord | None = None,
    selection: SelectionRecord | None = None,
    *,
    profiles: Collection[ProfileKey] = (),
    find_job: Callable[[tuple[str, str]], JobRecord | None] = lambda key: None,
) -> Fault | None:
    """Why the job cannot run as things stand, or None if it can.

    `failed_job` is the ledger's record of the job that `selection.failedOf` names, `selection` that of the
    list that `selection.list` names, if there is one. `profiles` are those that are there, or frozen into the
    job; `find_job` finds the jobs that the named job waits for itself. The fault's message begins with the field at
    fault.
    """
    return (
        _listed(job, selection)
        or _treatment(job, selection)
        or _nodes(job, nodes, selection)
        or _profile(job, profiles)
        or _failed_of(job, failed_job, find_job)
    )


def can_wait(fault: Fault) -> bool:
    """Whether another resource may yet mend the fault, so that the job waits instead of being refused.

    Resources arrive in any order (a folder of manifests, GitOps): a job may be there before its node.
    """
    return fault.code in _MENDED_BY_OTHERS


def _listed(job: TransferJob, selection: SelectionRecord | None) -> Fault | None:
    """Lists come before the jobs that name them, so that nothing is waited for."""
    listed = job.spec.selection.listed
    if listed is None or selection is not None:
        return None
    field, value = ("name", listed.name) if listed.id is None else ("id", listed.id)
    return Fault(
        code=FaultCode.SELECTION_NOT_FOUND,
        message=f"spec.selection.list.{field}: the ledger has no selection {value} for {job.metadata.namespace}.",
        cure="Post the selection again, unused ones expire, and name it in a new job.",
    )


def _treatment(job: TransferJob, selection: SelectionRecord | None) -> Fault | None:
    """A pseudonym asks for a de-identified copy; an original must never pass in its place."""
    if job.spec.deidentification is not None:
        return None
    for index, study in enumerate(job.spec.selection.studies or ()):
        if study.pseudonym is not None:
            return _no_deidentification(job, f"spec.selection.studies[{index}].pseudonym asks")
    if selection is not None and selection.pseudonyms:
        return _no_deidentification(job, f"spec.selection.list: {selection.pseudonyms} of its studies ask")
    return None


def _no_deidentification(job: TransferJob, asks: str) -> Fault:
    return Fault(
        code=FaultCode.DEIDENTIFICATION_UNAVAILABLE,
        message=f"{asks} for a de-identified copy, and spec.deidentification names no profile to make it by.",
        cure="Name a DeidProfile there, or leave the pseudonym out if the unchanged study may go to the destination.",
        node=job.spec.destination.node,
    )


def _nodes(job: TransferJob, nodes: Mapping[NodeKey, DicomNode], selection: SelectionRecord | None) -> Fault | None:
    if (missing := missing_node(job, nodes)) is not None:
        return missing
    source, destination = (nodes[job.metadata.namespace, end.node] for end in (job.spec.source, job.spec.destination))
    return (
        _no_archive(source)
        or _offers(source, _FIND, "spec.source.node", "the source must be asked which instances a study has")
        or _patient_ids(source, job, selection)
        or _offers(source, _FETCH, "spec.source.node", "the source must send instances")
        or _offers(destination, _STORAGE, "spec.destination.node", "the destination must take instances")
        or _taken(job, destination)
        or _direct(job, source, destination)
    )


def missing_node(job: TransferJob, nodes: Mapping[NodeKey, DicomNode]) -> Fault | None:
    """Why nothing more starts of a job that was accepted before: a node that it names went away, or is another."""
    namespace = job.metadata.namespace
    for field, name in (
        ("spec.source.node", job.spec.source.node),
        ("spec.destination.node", job.spec.destination.node),
    ):
        if (namespace, name) not in nodes:
            return _no_node(field, name, namespace, nodes)
    return _no_folder(job, nodes[namespace, job.spec.destination.node])


def _no_folder(job: TransferJob, destination: DicomNode) -> Fault | None:
    """A node that was edited may be none any more, and nothing goes there in the open that was to be encrypted."""
    if destination.takes(job.spec.destination.archive):
        return None
    name = destination.metadata.name
    return Fault(
        code=FaultCode.SERVICE_NOT_OFFERED,
        message=f"spec.destination.archive: archives are made in folders only, and DicomNode {name} is none.",
        cure="Leave spec.destination.archive out, or name a DicomNode of a folder.",
        node=name,
    )


def _direct(job: TransferJob, source: DicomNode, destination: DicomNode) -> Fault | None:
    """C-MOVE from one to the other: both must speak DIMSE, and the destination must be asked what has arrived."""
    if not job.spec.source.direct:
        return None
    for field, node in (("spec.source.node", source), ("spec.destination.node", destination)):
        if node.spec.dimse is None:
            name = node.metadata.name
            return Fault(
                code=FaultCode.SERVICE_NOT_OFFERED,
                message=f"{field}: DicomNode {name} speaks no DIMSE, which spec.source.direct needs at both ends.",
                cure="Leave spec.source.direct out, or name another node.",
                node=name,
            )
    proof = "what went there directly is proven by a query"
    return _offers(source, _MOVE, "spec.source.node", "spec.source.direct is C-MOVE") or _offers(
        destination, _ANY_STUDY_FIND, "spec.destination.node", proof
    )


def _taken(job: TransferJob, destination: DicomNode) -> Fault | None:
    if destination.spec.accepts is not Accepts.DEIDENTIFIED or job.spec.deidentification is not None:
        return None
    name = destination.metadata.name
    return Fault(
        code=FaultCode.DEIDENTIFICATION_UNAVAILABLE,
        message=f"spec.deidentification is missing: DicomNode {name} accepts de-identified instances only.",
        cure="Name a DeidProfile there, or another destination.",
        node=name,
    )


def _profile(job: TransferJob, profiles: Collection[ProfileKey]) -> Fault | None:
    named, namespace = job.spec.deidentification, job.metadata.namespace
    if named is None or (namespace, named.profile) in profiles:
        return None
    return Fault(
        code=FaultCode.PROFILE_NOT_FOUND,
        message=f"spec.deidentification.profile: there is no DeidProfile {named.profile} in namespace {namespace}"
        f"{_meant(named.profile, namespace, profiles)}",
        cure="Apply the DeidProfile, or correct the name.",
    )


def _no_node(field: str, name: str, namespace: str, nodes: Iterable[NodeKey]) -> Fault:
    return Fault(
        code=FaultCode.NODE_NOT_FOUND,
        message=f"{field}: there is no DicomNode {name} in namespace {namespace}{_meant(name, namespace, nodes)}",
        cure="Apply the DicomNode, or correct the name.",
        node=name,
    )


def _meant(name: str, namespace: str, known: Iterable[tuple[str, str]]) -> str:
    """The end of the sentence that there is no such thing: of those in the namespace, the one that is spelled alike."""
    return guess(name, (each for where, each in known if where == namespace)) or "."


def _no_archive(source: DicomNode) -> Fault | None:
    """Archives are written and proven, never searched."""
    if source.spec.folder is None or source.spec.folder.archive is None:
        return None
    name = source.metadata.name
    return Fault(
        code=FaultCode.SERVICE_NOT_OFFERED,
        message=f"spec.source.node: DicomNode {name} makes archives, so that it can be a destination only.",
        cure="Unpack the archives to a folder, and name a DicomNode of that folder without folder.archive.",
        node=name,
    )


def _offers(node: DicomNode, any_of: frozenset[Service | WebService], field: str, why: str) -> Fault | None:
    """A folder offers everything; of a peer one of the services must be listed."""
    listed = node.spec.services
    if listed is None or any_of.intersection(listed):
        return None
    faces = {Service: "dimse.services", WebService: "dicomWeb.services"}
    of_faces = [kind for kind in faces if any(isinstance(service, kind) for service in listed)]
    its_own = sorted(service for kind in of_faces for service in any_of if isinstance(service, kind))
    return Fault(
        code=FaultCode.SERVICE_NOT_OFFERED,
        message=f"{field}: DicomNode {node.metadata.name} does not offer {' or '.join(its_own)}, and {why}.",
        cure=f"Add the service to the node's {' or '.join(faces[kind] for kind in of_faces)} if the peer has it, "
        "or name another node.",
        node=node.metadata.name,
    )


def _patient_ids(source: DicomNode, job: TransferJob, selection: SelectionRecord | None) -> Fault | None:
    """A query in the Patient Root model needs a PatientID above study level (PS3.4 C.4.1.3.2.1)."""
    if source.spec.dimse is None or _ANY_STUDY_FIND.intersection(source.spec.services or ()):
        return None
    for index, study in enumerate(job.spec.selection.studies or ()):
        if study.patient_id is None:
            return _no_patient_id(source, f"spec.selection.studies[{index}].patientID is missing")
    if selection is not None and selection.without_patient_id:
        return _no_patient_id(
            source, f"spec.selection.list: {selection.without_patient_id} of its studies have no patientID"
        )
    return None


def _no_patient_id(source: DicomNode, missing: str) -> Fault:
    return Fault(
        code=FaultCode.SERVICE_NOT_OFFERED,
        message=f"{missing}, and DicomNode {source.metadata.name} offers no {Service.STUDY_ROOT_FIND}.",
        cure="Give the patientID, or add StudyRootFind to the node's dimse.services if the peer has it.",
        node=source.metadata.name,
    )


def _failed_of(
    job: TransferJob, failed_job: JobRecord | None, find_job: Callable[[tuple[str, str]], JobRecord | None]
) -> Fault | None:
    named = job.spec.selection.failed_of
    if named is None:
        return None
    if failed_job is None:
        namespace = job.metadata.namespace
        return Fault(
            code=FaultCode.JOB_NOT_FOUND,
            message=f"spec.selection.failedOf.name: there is no TransferJob {named.name} in namespace {namespace}.",
            cure="Correct the name.",
        )
    if failed_job.refusal is not None:  # it has no tasks: to retry none of them would look like a success
        return Fault(
            code=FaultCode.JOB_NOT_RETRIABLE,
            message=(
                f"spec.selection.failedOf.name: TransferJob {named.name} was refused ({failed_job.refusal.code}), "
                "so none of its studies was ever tried."
            ),
            cure="Apply that job's selection under a new name.",
        )
    for field in ("trial", "deidentification"):
        if getattr(failed_job.job.spec, field) != getattr(job.spec, field):
            return Fault(
                code=FaultCode.JOB_NOT_RETRIABLE,
                message=f"spec.{field} differs from that of TransferJob {named.name}, which is to be retried.",
                cure=f"Give it the {field} of {named.name}, or none if that has none.",
            )
    first, again = failed_job.job.spec.destination, job.spec.destination
    if first.node == again.node and first.archive is not None and again.archive is None:
        return Fault(
            code=FaultCode.JOB_NOT_RETRIABLE,
            message=f"spec.destination.archive is missing: TransferJob {named.name}, which is to be retried, has one.",
            cure="Name the format and the Secret of its password, or another DicomNode.",
        )
    circle = _circle(job, failed_job, find_job)
    if circle:
        return Fault(
            code=FaultCode.JOB_NOT_FINISHED,
            message=f"spec.selection.failedOf.name: {named.name} waits for this job in turn ({' → '.join(circle)}).",
            cure="Neither will ever start: delete one of them, and make it anew with another selection.",
        )
    if failed_job.ended_at is None:
        return Fault(
            code=FaultCode.JOB_NOT_FINISHED,
            message=f"spec.selection.failedOf.name: TransferJob {named.name} has not finished.",
            cure="Wait until it has, or cancel it.",
        )
    return None


def _circle(
    job: TransferJob, failed_job: JobRecord, find_job: Callable[[tuple[str, str]], JobRecord | None]
) -> list[str]:
    """The names from the job to itself again, each of which has no tasks before the next one's end; else none."""
    names, waits_for = [job.metadata.name], failed_job
    while waits_for.ended_at is None and waits_for.expanded_at is None:
        name, named = waits_for.job.metadata.name, waits_for.job.spec.selection.failed_of
        if name == names[0]:
            return [*names, name]
        if name in names or named is None:  # others' circle, which those are told of
            return []
        names.append(name)
        found = find_job((job.metadata.namespace, named.name))
        if found is None:
            return []
        waits_for = found
    return []
