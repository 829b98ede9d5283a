"""`adit up`: keeps dispatching what is applied, until it is told to stop."""

from __future__ import annotations

from typing import Annotated

import typer

from adit.cli.arguments import Receive
from adit.cli.console import ExitCode, say


def up(
    context: typer.Context,
    listen: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Serve the REST API there, such as 127.0.0.1:8080.", show_default=False),
    ] = None,
    receive: Receive = None,
) -> None:
    """Keep working on every applied TransferJob until Ctrl-C or SIGTERM.

    Starts one worker process for each task, within the nodes' budgets and
    windows; retries what may pass; enforces deadlines and retention. Several
    may run on one ledger.

    With --receive a receiver is there, to which a PACS sends when it is asked
    by C-MOVE (docs/receiver.md).

    Stopping is safe at any time: instances in flight are finished, and the
    next `adit up` goes on where this one stopped.

    With --listen the REST API is there as well (docs/api.md); without it
    nothing listens. It speaks plain HTTP: put a reverse proxy with TLS
    before it where it is to be reached from elsewhere.

    [bold]Example[/bold]

      adit up --listen 127.0.0.1:8080
    """
    from adit.cli.dispatching import dispatch
    from adit.cli.facade import facade
    from adit.cli.log import log_to_stderr
    from adit.cli.receiver import receiving
    from adit.cli.session import open_session
    from adit.cli.settings import settings_of

    log_to_stderr()
    with (
        open_session(settings_of(context)) as session,
        facade(session, listen, say.print),
        receiving(session, receive, say.print),
    ):
        say.print("Working on what is applied. Ctrl-C ends it.")
        dispatch(session, done=lambda: False, said=say.print)
    raise typer.Exit(ExitCode.GREEN)
