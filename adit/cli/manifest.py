"""`adit manifest`: the proof of a job as JSON."""

from __future__ import annotations

import typer

from adit.cli.arguments import Job
from adit.cli.console import print_json


def manifest(context: typer.Context, job: Job) -> None:
    """Print the proof of a job as JSON.

    Each task, and each instance with its state, size and SHA-256. Holds no
    patient's name or id. Instance rows are kept as long as the job's
    `retention` says; each task's digest over them stays.

    [bold]Example[/bold]

      adit manifest stroke-ct | jq '.tasks[] | {studyInstanceUID, state}'
    """
    from adit.cli.job_name import find_job
    from adit.cli.session import open_session
    from adit.cli.settings import settings_of

    with open_session(settings_of(context)) as session:
        print_json(session.ledger.manifest(find_job(session.ledger, job).id))
