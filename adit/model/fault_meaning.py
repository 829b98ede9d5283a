"""What each fault code means, in words that know nothing of any patient, study or peer.

Used where a fault's own message may not be shown: a resource's status and events. The same words as in
docs/faults.md, which a test sees to.
"""

from __future__ import annotations

from typing import Final

from adit.model.outcome import FaultCode

MEANINGS: Final[dict[FaultCode, str]] = {
    FaultCode.NODE_UNREACHABLE: "no TCP connection to the node",
    FaultCode.ASSOCIATION_REJECTED_TRANSIENT: "the peer rejected the association for now, such as too many at once",
    FaultCode.ASSOCIATION_ABORTED: "the peer aborted, or the connection broke",
    FaultCode.NODE_TIMEOUT: "the peer did not answer in time",
    FaultCode.OUT_OF_RESOURCES: "the peer says it is out of resources or busy (0xA7xx, HTTP 429 or 503)",
    FaultCode.QUERY_FAILED: ("a query failed, was answered only in part, or with a UID that is none"),
    FaultCode.FETCH_FAILED: "the source could not send what it was asked for",
    FaultCode.STORE_FAILED: "the destination failed to store for a reason that may pass",
    FaultCode.DISK_FULL: "no room in the destination folder or bucket, or in the spool folder",
    FaultCode.IO_FAILED: "reading or writing a file failed",
    FaultCode.NOT_PROVEN: "the destination acknowledged instances and, asked again, doesn't have them",
    FaultCode.INTERRUPTED: "the worker was stopped (Ctrl-C, shutdown); has a budget of its own",
    FaultCode.LOST: "the worker vanished or fell silent (killed, host gone); has a budget of its own",
    FaultCode.OUT_OF_MEMORY: (
        "the worker's container was killed for want of memory; the next attempt gets the next size class"
    ),
    FaultCode.OUT_OF_DISK: "the worker's pod used more disk than its limit; the next attempt gets the next size class",
    FaultCode.EVICTED: "the machine was short of memory or disk, or was drained",
    FaultCode.PREEMPTED: "a pod of higher priority took the worker's place",
    FaultCode.MACHINE_LOST: "the machine on which the worker ran is gone",
    FaultCode.WORKER_DELETED: "somebody or something deleted the worker's Job or pod",
    FaultCode.CONTRACT_MISMATCH: "worker and operator did not understand each other, or another had taken the attempt",
    FaultCode.LAUNCH_REFUSED: "the API server did not admit the worker's Job: a quota, a policy, a webhook",
    FaultCode.LAUNCH_FORBIDDEN: "the operator may not create Jobs in that namespace",
    FaultCode.POD_REFUSED: "Kubernetes makes no pod for the worker's Job: a quota, a policy, a missing service account",
    FaultCode.IMAGE_UNAVAILABLE: "the worker's image can't be pulled",
    FaultCode.UNSCHEDULABLE: "no machine has room for the worker's pod",
    FaultCode.START_FAILED: (
        "the worker's container can't be started, for example because a Secret that it mounts is missing"
    ),
    FaultCode.INCOMPLETE: "the source sent fewer instances than it listed",
    FaultCode.NOTHING_RECEIVED: "the source answered with success and sent nothing",
    FaultCode.STUDY_NOT_FOUND: "the source doesn't know the study",
    FaultCode.STUDY_AMBIGUOUS: "the source knows several studies of that UID",
    FaultCode.SERIES_NOT_FOUND: "a listed series isn't part of the study",
    FaultCode.SOP_CLASS_REFUSED: "the destination doesn't accept the kind of object",
    FaultCode.TRANSFER_SYNTAX_REFUSED: "the destination doesn't accept the encoding, and ADIT doesn't change pixels",
    FaultCode.INSTANCE_REFUSED: "the destination refuses this very instance",
    FaultCode.INSTANCE_UNREADABLE: (
        "an object is damaged: its identity can't be read, or it is cut short or followed by garbage"
    ),
    FaultCode.INSTANCE_CONFLICT: "another object of the same UID is there already",
    FaultCode.DEIDENTIFICATION_REFUSED: (
        "an instance can't be made safe by the profile, or a pseudonym would stand for several patients; "
        "it was not sent"
    ),
    FaultCode.NOTHING_TO_SEND: "the profile leaves out every instance of the task",
    FaultCode.ASSOCIATION_REJECTED: "the peer rejects us for good",
    FaultCode.SERVICE_NOT_OFFERED: "the node doesn't offer a service that the job needs",
    FaultCode.NODE_NOT_FOUND: "there is no DicomNode of that name",
    FaultCode.SELECTION_NOT_FOUND: (
        "`selection.list` names a selection that the ledger doesn't have: never posted in this namespace, "
        "or unused until it expired"
    ),
    FaultCode.JOB_NOT_FOUND: "`selection.failedOf` names a job that isn't there",
    FaultCode.JOB_NOT_FINISHED: "`selection.failedOf` names a job that hasn't finished",
    FaultCode.JOB_NOT_RETRIABLE: (
        "`selection.failedOf` names a job that was refused, so that nothing was ever tried, "
        "or one with another `trial` or `deidentification`"
    ),
    FaultCode.MOVE_DESTINATION_UNKNOWN: "the source doesn't know the AE title of our receiver (0xA801)",
    FaultCode.TLS_FAILED: "TLS failed: a side doesn't trust the other's certificate, or only one speaks TLS",
    FaultCode.SECRET_MISSING: (
        "the certificates, credentials or key that a `secretName` names aren't there, or can't be used"
    ),
    FaultCode.FOLDER_MISSING: "the folder or bucket isn't there",
    FaultCode.PERMISSION_DENIED: (
        "the folder, file, bucket or object may not be read or written, or the peer refuses who we are"
    ),
    FaultCode.TOO_MANY_OBJECTS: "a search of a bucket would have to look at more objects than `s3.maxObjects` allows",
    FaultCode.PROFILE_NOT_FOUND: "there is no DeidProfile of that name",
    FaultCode.DEIDENTIFICATION_UNAVAILABLE: (
        "originals may not be sent and there is no profile to de-identify by, the profile can't be used, or its "
        "key is another than the one that the project had so far"
    ),
    FaultCode.DEADLINE_EXCEEDED: "the job's `deadlineSeconds` passed",
    FaultCode.CANCELLED: "the job was cancelled",
    FaultCode.UNEXPECTED: "an error in ADIT itself",
    FaultCode.PATIENT_ID_MISMATCH: (
        "the study belongs to another PatientID than the job says, or an instance to another than its study"
    ),
    FaultCode.ARRIVAL_NOT_PROVABLE: (
        "the destination offers no StudyRootFind or QIDO-RS, so its acknowledgement is all there is"
    ),
    FaultCode.STORED_WITH_WARNING: (
        "the destination stored an instance and changed or complained about it (0xB000 and others); or it "
        "held one with this UID before (0x0111), and whether it took the new one cannot be told"
    ),
    FaultCode.FETCHED_WITH_WARNING: (
        "the source warned, and all instances are there; or it sent the destination more of the study than was asked "
        "for; or instances came under another SOP class or encoding than their own; or a source folder or bucket has "
        "files that can't be read"
    ),
}


def meaning(code: str) -> str:
    """As a sentence; also for a code that only another version of ADIT knows."""
    known = MEANINGS.get(FaultCode(code)) if code in set(FaultCode) else None
    return f"{known[0].upper()}{known[1:]}." if known else "See docs/faults.md."
