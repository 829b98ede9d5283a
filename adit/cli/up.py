"""`adit up`: keeps dispatching what is applied, until it is told to stop."""

from __future__ import annotations

import typer

from adit.cli.console import ExitCode, say


def up(context: typer.Context) -> None:
    """Keep working on every applied TransferJob until Ctrl-C or SIGTERM.

    Starts one worker process for each task, within the nodes' budgets and
    windows; retries what may pass; enforces deadlines and retention. Several
    may run on one ledger.

    Stopping is safe at any time: instances in flight are finished, and the
    next `adit up` goes on where this one stopped.
    """
    from adit.cli.dispatching import dispatch
    from adit.cli.log import log_to_stderr
    from adit.cli.session import open_session
    from adit.cli.settings import settings_of

    log_to_stderr()
    with open_session(settings_of(context)) as session:
        say.print("Working on what is applied. Ctrl-C ends it.")
        dispatch(session, done=lambda: False, said=say.print)
    raise typer.Exit(ExitCode.GREEN)
