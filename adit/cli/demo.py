"""`adit demo`: two sandbox PACSs, a real transfer between them and to a folder, and the proof."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from adit.cli.console import ExitCode, Interrupted, Output, fail, out, say

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from adit.cli.patients import Loaded
    from adit.cli.sandbox import SandboxPacs
    from adit.cli.session import Session
    from adit.cli.settings import Settings


class Pacs(StrEnum):
    """The choices of --pacs."""

    ORTHANC = "orthanc"
    QRSCP = "qrscp"


STUDIES = 6
"""How many studies the first job moves."""


def demo(
    context: typer.Context,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave both PACSs running afterwards, until Ctrl-C, to try things on them.")
    ] = False,
    pacs: Annotated[
        Pacs | None,
        typer.Option(help="What the PACSs are; if not given, Orthanc where it is installed.", show_default=False),
    ] = None,
) -> None:
    """Try it: two sandbox PACSs, a real transfer, and its proof.

    Starts two Orthancs (or, where none is installed, two of pynetdicom's
    qrscp) on this machine only, loads pydicom's test files into the first,
    moves several studies to the second and one to a folder, and compares
    ADIT's proof with what the destinations say themselves. Half a minute.

    Everything lies in the folder `demo` of the data folder, which each demo
    makes anew. Your own ledger isn't touched, and every process that was
    started is ended.
    """
    from adit.cli.demo_folder import demo_folder
    from adit.cli.settings import settings_of
    from adit.model.outcome import TransferFault

    with demo_folder(settings_of(context)) as settings:
        try:
            code = _demonstrate(settings, keep, pacs)
        except TransferFault as error:
            fail(f"The sandbox doesn't work: {error.fault}", ExitCode.NOT_GREEN)
    raise typer.Exit(code)


def _demonstrate(settings: Settings, keep: bool, wanted: Pacs | None) -> ExitCode:
    from adit.cli.patients import copy_patients, load
    from adit.cli.sandbox import Product, installed_orthanc, sandbox_pacs
    from adit.cli.session import open_session

    folder = settings.data
    (folder / "received").mkdir()
    orthanc = installed_orthanc() is not None if wanted is None else wanted is Pacs.ORTHANC
    product = Product.ORTHANC if orthanc else Product.QRSCP
    say.rule("[bold]1[/bold] Two PACSs", align="left")
    with (
        sandbox_pacs("hospital", "HOSPITAL", folder / "hospital", product) as hospital,
        sandbox_pacs("research", "RESEARCH", folder / "research", product) as research,
    ):
        for pacs in (hospital, research):
            say.print(f"  {pacs.name}: {pacs.product}, AE title {pacs.ae_title}, port {pacs.dicom_port}")
        copy_patients(folder / "patients")
        loaded = load(folder / "patients", hospital.node)
        instances = sum(study.instances for study in loaded)
        say.print(f"  {instances} instances of {len(loaded)} studies, pydicom's test files, sent to hospital")
        with open_session(settings) as session:
            code = _transfer(session, hospital, research, loaded)
        if keep and code is ExitCode.GREEN:
            _wait(settings)
    _next_steps(settings)
    return code


def _transfer(session: Session, hospital: SandboxPacs, research: SandboxPacs, loaded: Sequence[Loaded]) -> ExitCode:
    from adit.cli.demo_folder import write_manifest
    from adit.cli.dispatching import utc_now
    from adit.cli.manifest_input import apply_all, read_files
    from adit.cli.patients import choose
    from adit.cli.run import show, transfer
    from adit.model.transfer_job import TransferJob

    folder = session.settings.data
    chosen = choose(loaded, hospital.node, STUDIES)
    manifest = write_manifest(folder, [hospital.node, research.node], [study.study_instance_uid for study in chosen])
    say.rule("[bold]2[/bold] Two TransferJobs", align="left")
    say.print(f"  {manifest}", markup=False)
    resources = read_files([str(manifest)])
    jobs = [each for each in resources if isinstance(each, TransferJob)]
    for line in apply_all(session.ledger, resources, utc_now(), may_wait=False):
        say.print(f"  {line}", markup=False)
    if not transfer(session, jobs):
        fail("Interrupted.", ExitCode.INTERRUPTED)
    say.rule("[bold]3[/bold] The proof", align="left")
    records = [record for job in jobs if (record := session.ledger.job(job.key))]
    code = show(session, records, None, Output.TABLE)
    say.rule("[bold]4[/bold] What the destinations say themselves", align="left")
    return code if _compare(session, research, folder / "received", chosen) else ExitCode.NOT_GREEN


def _compare(session: Session, research: SandboxPacs, received: Path, chosen: Sequence[Loaded]) -> bool:
    """The ledger's counts against the PACS's own index and the files in the folder."""
    indexed = sum(len(research.instances_of(study.study_instance_uid)) for study in chosen)
    expected = sum(study.instances for study in chosen)
    proven = {
        job.job.metadata.name: sum(task.verified for task in session.ledger.tasks(job.id))
        for job in session.ledger.jobs()
    }
    files = sum(1 for path in received.rglob("*") if path.is_file())
    rows = [
        (f"research, by {research.product}'s own index", expected, proven["demo-archive"], indexed),
        ("received, files in the folder", chosen[0].instances, proven["demo-folder"], files),
    ]
    same = True
    for name, sent, verified, there in rows:
        same &= sent == verified == there
        mark = "[green]the same[/green]" if sent == verified == there else "[bold red]NOT the same[/bold red]"
        out.print(f"  {name}: loaded {sent}, verified by ADIT {verified}, there {there}: {mark}")
    return same


def _wait(settings: Settings) -> None:
    import time

    say.print(f"\nBoth PACSs run until Ctrl-C. In another terminal:\n\n  {command(settings)} node find research\n")
    try:
        while True:
            time.sleep(3600)
    except Interrupted:
        return


def _next_steps(settings: Settings) -> None:
    adit = command(settings)
    say.rule("[bold]Try next[/bold]", align="left")
    for text, purpose in (
        (f"{adit} status demo-archive --events", "what happened to each study"),
        (f"{adit} manifest demo-archive", "the proof: every instance with its SHA-256"),
        (f"{adit} node find received --level study", "a folder is a node too"),
    ):
        say.print(f"  {text}   [dim]# {purpose}[/dim]")


def command(settings: Settings) -> str:
    """How this `adit` is called on the demo's ledger."""
    import shlex
    import sys

    return f"{shlex.quote(sys.argv[0])} --data {shlex.quote(str(settings.data))}"
