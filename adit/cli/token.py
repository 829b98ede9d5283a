"""`adit token create`, `list` and `revoke`: who may call the facade (docs/api.md), for what, until when."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from adit.cli.console import Output, fail, out, print_json, print_table, say

if TYPE_CHECKING:
    from datetime import datetime

    from adit.ledger.records import TokenRecord

app = typer.Typer(no_args_is_help=True, help="Let programs and people call the REST API (`adit up --listen`).")


class Scope(StrEnum):
    """The scopes of `adit.ledger.api_tokens`, repeated so that help needs no database; a test holds them equal."""

    READ = "read"
    WRITE = "write"
    FIND = "find"
    NODES = "nodes"
    ADMIN = "admin"


Name = Annotated[str, typer.Argument(metavar="NAME", help="Whose token it is; stands in the log, so name no patient.")]


@app.command()
def create(
    context: typer.Context,
    name: Name,
    scope: Annotated[list[Scope], typer.Option("--scope", "-s", help="What it is good for; may stand often.")],
    namespace: Annotated[
        list[str] | None,
        typer.Option("--namespace", "-n", help="Only for this namespace; may stand often. All, if absent."),
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=366, help="How long it is good for.")] = 90,
) -> None:
    """Make a token and print it, once: the ledger keeps only its hash.

    [bold]Scopes[/bold]

      read   jobs, tasks, manifests, nodes, profiles
      write  post selections; create, suspend, resume, cancel and retry jobs
      find   probe nodes and ask what they hold: the answers name patients
      nodes  apply DicomNodes and DeidProfiles, and so say which hosts and
             folders are used, and what leaves of a patient
      admin  all of these

    [bold]Example[/bold]

      adit token create research-portal -s read -s write --days 30
    """
    import re
    from datetime import timedelta

    from adit.cli.dispatching import utc_now
    from adit.cli.session import open_session
    from adit.cli.settings import settings_of

    for given in (name, *(namespace or ())):
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", given):
            fail(f"{given!r} must be a Kubernetes name: lower case letters, digits and '-', at most 63.")
    now = utc_now()
    scopes = sorted({str(each) for each in scope})
    with open_session(settings_of(context)) as session:
        token = session.ledger.create_token(name, scopes, namespace or None, now + timedelta(days=days), now)
    if token is None:
        fail(f"There is a token {name} already, perhaps a revoked one. Choose another name.")
    out.print(token, markup=False)
    say.print(f"Good for {', '.join(scopes)} until {_day(now + timedelta(days=days))}. It cannot be shown again.")


@app.command("list")
def list_tokens(
    context: typer.Context,
    output: Annotated[Output, typer.Option("--output", "-o", help="How it is written.")] = Output.TABLE,
) -> None:
    """Show all tokens: what they are good for, until when; never the tokens themselves."""
    from rich.table import Table

    from adit.cli.dispatching import utc_now
    from adit.cli.session import open_session
    from adit.cli.settings import settings_of

    with open_session(settings_of(context)) as session:
        tokens = session.ledger.tokens()
    now = utc_now()
    if output is Output.JSON:
        print_json([_as_json(token, now) for token in tokens])
        return
    table = Table("NAME", "SCOPES", "NAMESPACES", "EXPIRES", "STATE", box=None, pad_edge=False, header_style="bold")
    for token in tokens:
        namespaces = "all" if token.namespaces is None else ", ".join(sorted(token.namespaces))
        table.add_row(
            token.name, ", ".join(sorted(token.scopes)), namespaces, _day(token.expires_at), _state(token, now)
        )
    print_table(out, table)


@app.command()
def revoke(context: typer.Context, name: Name) -> None:
    """Make a token useless, from now on and for good."""
    from adit.cli.dispatching import utc_now
    from adit.cli.session import open_session
    from adit.cli.settings import settings_of

    with open_session(settings_of(context)) as session:
        if not session.ledger.revoke_token(name, utc_now()):
            known = ", ".join(token.name for token in session.ledger.tokens()) or "none"
            fail(f"There is no token {name} (there are: {known}).")
    out.print(f"token {name} revoked", markup=False)


def _as_json(token: TokenRecord, now: datetime) -> dict[str, object]:
    return {
        "name": token.name,
        "scopes": sorted(token.scopes),
        "namespaces": None if token.namespaces is None else sorted(token.namespaces),
        "createdAt": token.created_at.isoformat(),
        "expiresAt": token.expires_at.isoformat(),
        "revokedAt": token.revoked_at.isoformat() if token.revoked_at else None,
        "state": _state(token, now),
    }


def _state(token: TokenRecord, now: datetime) -> str:
    if token.revoked_at is not None:
        return "revoked"
    return "expired" if token.expires_at <= now else "good"


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
