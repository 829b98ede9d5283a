"""The `adit` command: its entry point, its help, and what its errors become.

Commands live in modules of their own; each imports what it needs when it runs, so that help is fast.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from adit.cli import apply, control, crds, deid, demo, manifest, migrate, node, run, status, token, up
from adit.cli.console import CommandError, ExitCode, Interrupted, say
from adit.discretion import be_discreet

HELP = """
Moves medical imaging studies between systems that speak DICOM, provably
complete.

A TransferJob says which studies go from one DicomNode to another; both are
short YAML documents. A transfer is green only when the destination, asked
again, has every instance.

[bold]Begin here[/bold]

  adit demo                  two sandbox PACSs, a real transfer, the proof
  adit node probe job.yaml   do the nodes answer, and what do they offer?
  adit run job.yaml          do this job now, with a progress bar
  adit up                    keep running, and `adit apply` jobs as they come

[bold]Where things are[/bold]

Everything is remembered in a ledger: the Postgres at ADIT_DATABASE_URL, or
one of its own in the data folder (--data, ADIT_DATA, else
~/.local/share/adit).
A killed run loses nothing: run the same file again.

[bold]Exit codes[/bold]

    0  done; of a transfer: green
    1  not green
    2  refused (usage, manifest, set-up): nothing was started
    3  complete, with warnings
  130  interrupted: run the same file again to go on
"""

app = typer.Typer(
    name="adit",
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"adit {version('adit')}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    data: Annotated[
        Path | None,
        typer.Option(help="The data folder (ADIT_DATA): ledger, logs, manifests.", show_default=False),
    ] = None,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    context.obj = data


MOVE, LOOK, SET_UP = "Move studies", "Look", "Set up"
app.command("demo", rich_help_panel=MOVE)(demo.demo)
app.command("run", rich_help_panel=MOVE)(run.run)
app.command("apply", rich_help_panel=MOVE)(apply.apply)
app.command("up", rich_help_panel=MOVE)(up.up)
app.command("cancel", rich_help_panel=MOVE)(control.cancel)
app.command("suspend", rich_help_panel=MOVE)(control.suspend)
app.command("resume", rich_help_panel=MOVE)(control.resume)
app.command("status", rich_help_panel=LOOK)(status.status)
app.command("manifest", rich_help_panel=LOOK)(manifest.manifest)
app.add_typer(node.app, name="node", rich_help_panel=LOOK)
app.add_typer(deid.app, name="deid", rich_help_panel=LOOK)
app.command("migrate", rich_help_panel=SET_UP)(migrate.migrate)
app.add_typer(token.app, name="token", rich_help_panel=SET_UP)
app.command("crds", rich_help_panel=SET_UP)(crds.crds)


_interrupts: list[int] = []  # signals that were taken while no command took them itself


def main() -> None:
    """Runs the command and exits with its code."""
    be_discreet(_tell_of_defect)
    signal.signal(signal.SIGINT, _interrupt)
    _open_closed_streams()
    try:
        app()
    except CommandError as error:
        say.print(str(error), markup=False, style="red")
        sys.exit(error.code)
    except OSError as error:  # a file or folder that we were told to use, or a terminal that hung up
        with suppress(OSError):
            say.print(f"{error.filename or 'Standard output'}: {error.strerror or error}", markup=False, style="red")
        # A stream that takes no more says nothing of what was started; a file was looked for before.
        sys.exit(ExitCode.REFUSED if error.filename else ExitCode.NOT_GREEN)
    except Interrupted:
        sys.exit(ExitCode.INTERRUPTED)
    except Exception:
        if _interrupts:  # what unwinds may complain about being cut short
            sys.exit(ExitCode.INTERRUPTED)
        raise


def _tell_of_defect(event: str, *, error: str, at: list[str], **about: str) -> None:
    """People send what they see: it holds no value."""
    where = " in ".join(reversed(at)) or "an unknown place"
    say.print(f"A defect of ADIT ({event}): {error} at {where}. Please report it.", markup=False, style="red")


def _open_closed_streams() -> None:
    """Standard streams that our caller closed lead nowhere: else the next file or socket would take their place."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number, which is this one
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8")


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    _interrupts.append(number)
    raise Interrupted
