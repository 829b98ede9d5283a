"""`adit run`: does the jobs of some files now, in this process, and proves them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adit.cli.arguments import Files, Receive
from adit.cli.console import ExitCode, Output, fail, out, print_json, print_table, say

if TYPE_CHECKING:
    from adit.cli.session import Session
    from adit.cli.settings import Settings
    from adit.ledger.records import JobRecord, JobSummary
    from adit.model.transfer_job import TransferJob


def run(
    context: typer.Context,
    files: Files,
    manifest: Annotated[
        Path | None,
        typer.Option(
            help="Where the proof is written as JSON (an array if several); else into the data folder's manifests/.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Output | None,
        typer.Option(
            "--output",
            "-o",
            help="What standard output gets; if not given, a terminal the table, a pipe the JSON.",
            show_default=False,
        ),
    ] = None,
    receive: Receive = None,
) -> None:
    """Do the jobs of these files now, and prove that every instance has arrived.

    All files are checked first: if anything is wrong, everything that is
    wrong is said and nothing is created. Progress goes to standard error. At
    the end comes a line for each task, and the proof as JSON.

    Ctrl-C once finishes the instances in flight, twice ends at once. Either
    way nothing is lost and nothing arrives twice: run the same file again to
    go on.

    A finished job is frozen: running its file again shows its result. To do
    it anew, give it another name; to retry what failed, make a job with
    `selection: {failedOf: {name: THAT-JOB}}` and the same trial and
    deidentification.

    [bold]Exit codes[/bold]

        0  green: every task succeeded
        1  not green: a task failed or was cancelled
        2  refused (usage, manifest, set-up): nothing was started
        3  complete, with warnings
      130  interrupted: run the same file again to go on

    [bold]Examples[/bold]

      adit run nodes.yaml job.yaml
      adit run job.yaml --manifest proof.json
      adit run job.yaml | jq -r '.tasks[].state'
    """
    from adit.cli.dispatching import utc_now
    from adit.cli.manifest_input import apply_all, has_ended, read_files
    from adit.cli.receiver import receiving
    from adit.cli.session import open_session
    from adit.cli.settings import settings_of
    from adit.ledger.connection import LedgerUnavailable
    from adit.model.transfer_job import TransferJob

    if manifest is not None and not manifest.parent.is_dir():
        fail(f"--manifest {manifest}: there is no folder {manifest.parent}. Nothing was started.")
    settings = settings_of(context)
    _make_folders(settings)
    resources = read_files(files)
    jobs = [each for each in resources if isinstance(each, TransferJob)]
    with open_session(settings) as session:
        before = {job.key for job in jobs if has_ended(session.ledger, job)}
        for line in apply_all(session.ledger, resources, utc_now(), may_wait=False, secrets=settings.secrets_folder):
            say.print(str(line), markup=False, style="dim")
        if not jobs:
            say.print("There is no TransferJob in these files; the rest is applied.")
            return
        with receiving(session, receive, say.print, log=settings.logs / "receiver.log"):
            went_through = transfer(session, [job for job in jobs if job.key not in before])
        try:
            code = show(session, [_record(session, job) for job in jobs], manifest, output)
        except LedgerUnavailable:
            if went_through:
                raise
            say.print("The ledger is away, so what was reached cannot be shown.", markup=False)
            code = ExitCode.INTERRUPTED
        for job in jobs:
            if job.key in before:
                say.print(
                    f"{job.metadata.name} had finished before and is frozen; nothing was sent now. To do it anew, "
                    "give it another name; to retry what failed, make a job with selection.failedOf.",
                    markup=False,
                )
        if not went_through:
            say.print(f"Interrupted. To go on: {shlex.join(['adit', *sys.argv[1:]])}", markup=False)
            code = ExitCode.INTERRUPTED
    raise typer.Exit(code)


def transfer(session: Session, jobs: Sequence[TransferJob]) -> bool:
    """Dispatches these jobs, and no others, until they have ended; False if interrupted.

    Shows their progress on standard error.
    """
    from adit.cli.dispatching import dispatch
    from adit.cli.log import log_to_file
    from adit.cli.manifest_input import has_ended
    from adit.cli.progress import watching

    if not jobs:
        return True
    names = {_record(session, job).id: job.metadata.name for job in jobs}
    with log_to_file(session.settings.logs), watching(session.ledger, names, say):
        return dispatch(
            session,
            done=lambda: all(has_ended(session.ledger, job) for job in jobs),
            said=say.print,
            jobs=frozenset(names),
        )


def show(session: Session, records: Sequence[JobRecord], manifest: Path | None, output: Output | None) -> ExitCode:
    """The jobs' results: tables for people, the proof as JSON in a file and, where asked for, on standard output."""
    from adit.cli.tables import task_table

    summaries = [session.ledger.summary(record.id) for record in records]
    proofs = [session.ledger.manifest(record.id) for record in records]
    as_json = output is Output.JSON or (output is None and not out.is_terminal)
    people = say if as_json else out
    for record, summary in zip(records, summaries, strict=True):
        print_table(people, task_table(session.ledger.tasks(record.id)))
        people.print(_verdict(summary), markup=False)
    code = exit_code(summaries)
    try:
        say.print(f"The proof: {_write(session, records, proofs, manifest)}", markup=False)
    except OSError as error:
        say.print(f"The proof could not be written: {error}. `adit manifest JOB` prints it.", markup=False, style="red")
        code = ExitCode.NOT_GREEN
    try:
        if as_json:
            print_json(_one_document(proofs))
    except OSError as error:
        say.print(f"The proof could not be printed: {error.strerror}.", markup=False, style="red")
        code = ExitCode.NOT_GREEN
    return code


def exit_code(summaries: Sequence[JobSummary]) -> ExitCode:
    """Green only if every job is a plain success."""
    from adit.model.state import JobState

    states = {summary.state for summary in summaries}
    if states <= {JobState.SUCCESS}:
        return ExitCode.GREEN
    return ExitCode.WARNINGS if states <= {JobState.SUCCESS, JobState.WARNING} else ExitCode.NOT_GREEN


def _verdict(summary: JobSummary) -> str:
    from adit.cli.pace import size
    from adit.model.counted import counted
    from adit.model.state import JobState

    name = summary.record.job.metadata.name
    if summary.record.refusal is not None:
        return f"{name}: refused. {summary.record.refusal}"
    if summary.state is JobState.SUCCESS and not summary.tasks:
        named = summary.record.job.spec.selection.failed_of
        why = f": nothing failed in {named.name}" if named else ""
        return f"{name}: {summary.state}. Nothing was transferred{why}."
    left_out = f"{summary.left_out} left out by the profile, " if summary.left_out else ""
    verified = f"{summary.verified} of {counted(summary.expected, 'instance')} verified"
    sent = f"{left_out}{size(summary.bytes_stored)} sent"
    return f"{name}: {summary.state}. {summary.message} {verified}, {sent}."


def _one_document(proofs: Sequence[dict[str, object]]) -> dict[str, object] | list[object]:
    """One job's proof as it is, several as an array."""
    return proofs[0] if len(proofs) == 1 else list(proofs)


def _make_folders(settings: Settings) -> None:
    """Before anything is started: what cannot be written must be known while it can still be refused."""
    for folder in (settings.manifests, settings.logs):
        folder.mkdir(parents=True, exist_ok=True)


def _write(
    session: Session, records: Sequence[JobRecord], proofs: Sequence[dict[str, object]], manifest: Path | None
) -> Path:
    """All proofs into `manifest`, or each into a file of its own; the path to tell."""
    import json

    if manifest is not None:
        manifest.write_text(json.dumps(_one_document(proofs), indent=2) + "\n", encoding="utf-8")
        return manifest
    folder = session.settings.manifests
    folder.mkdir(parents=True, exist_ok=True)  # the demo comes here by another way
    for record, proof in zip(records, proofs, strict=True):
        path = folder / f"{'.'.join(record.job.key)}.json"
        path.write_text(json.dumps(proof, indent=2) + "\n", encoding="utf-8")
    return path if len(proofs) == 1 else folder


def _record(session: Session, job: TransferJob) -> JobRecord:
    record = session.ledger.job(job.key)
    assert record is not None, "it was applied before"  # noqa: S101
    return record
