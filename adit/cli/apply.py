"""`adit apply`: puts resources into the ledger for `adit up` to work on."""

from __future__ import annotations

import typer

from adit.cli.arguments import Files
from adit.cli.console import out, say


def apply(context: typer.Context, files: Files) -> None:
    """Create or change TransferJobs, DicomNodes and DeidProfiles; `adit up` works on them.

    All files are checked first: if anything is wrong, everything that is
    wrong is said and nothing is created. Of a job, source, destination,
    selection, deidentification, trial and owner can't be changed; a finished
    job is frozen. A job may come before its nodes and its profile: it waits
    for them, and keeps the profile as it is when its tasks are made.

    [bold]Example[/bold]

      adit apply nodes.yaml job.yaml
    """
    from adit.cli.dispatching import utc_now
    from adit.cli.manifest_input import apply_all, read_files
    from adit.cli.session import open_session
    from adit.cli.settings import settings_of
    from adit.model.transfer_job import TransferJob

    resources = read_files(files)
    with open_session(settings_of(context)) as session:
        for line in apply_all(session.ledger, resources, utc_now(), may_wait=True):
            out.print(str(line), markup=False)
    if any(isinstance(each, TransferJob) for each in resources):
        say.print("`adit up` works on it; `adit status` shows how far it is.", style="dim")
