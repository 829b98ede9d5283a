"""The logins that workers and receivers use: made, given their passwords, and proven to be no more than that.

Called by `adit migrate` after the schema is up to date. The password itself never leaves this process but
to log in: Postgres is given its SCRAM verifier, so that no statement log can hold it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import psycopg
from psycopg import sql
from sqlalchemy import URL, Connection, make_url, text

from adit.ledger.connection import LedgerError, LedgerUnavailable, engine, transaction

_LOCK: Final = 0x41444954_4C4F4749  # "ADITLOGI"
_INSUFFICIENT_PRIVILEGE: Final = "42501"

_MEMBERSHIP: Final = sql.SQL("GRANT {} TO {} WITH INHERIT TRUE")
_FACTS: Final = text(
    """
    SELECT rolcanlogin AS can_login,
           rolsuper OR rolbypassrls OR pg_has_role(rolname, current_user, 'MEMBER') AS too_mighty,
           pg_has_role(rolname, :role, 'USAGE') AS is_member
    FROM pg_roles WHERE rolname = :name
    """
)


@dataclass(frozen=True, slots=True)
class Kind:
    """Whose login it is: the group role that says what it may do, and the variable that names it."""

    role: str
    whose: str
    variable: str


WORKERS: Final = Kind("adit_worker", "workers'", "ADIT_WORKER_DATABASE_URL")
RECEIVERS: Final = Kind("adit_receiver", "receiver's", "ADIT_RECEIVER_DATABASE_URL")


class Change(StrEnum):
    """What had to be done."""

    NONE = "unchanged"
    CREATED = "created"
    ALTERED = "altered"


class WorkerLoginRefused(Exception):  # noqa: N818 - what happened to it
    """The login cannot be what workers need. The message holds the cure and no password."""


@dataclass(frozen=True, slots=True)
class _Login:
    kind: Kind
    url: URL
    name: str
    password: str | None


def ensure_worker_login(owner_url: str, login_url: str, kind: Kind = WORKERS) -> Change:
    """Afterwards `login_url` opens the ledger, as a member of the kind's role and nothing else.

    Creates or alters the login where the owner may; else says what an administrator has to run. May be
    repeated, also by two at once. Raises WorkerLoginRefused, LedgerUnavailable and LedgerError.
    """
    login = _login(login_url, kind)
    quoted = sql.Identifier(login.name).as_string()
    source = engine(owner_url, connections=1)
    try:
        with transaction(source) as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            change = _ensured(connection, login)
    except LedgerError as error:
        if error.sqlstate != _INSUFFICIENT_PRIVILEGE:
            raise
        raise WorkerLoginRefused(
            f"The ledger's owner may not make or change the {kind.whose} login. Let an administrator run: "
            f"CREATE ROLE {quoted} LOGIN PASSWORD '...'; GRANT {kind.role} TO {quoted};"
        ) from None
    finally:
        source.dispose()
    if change is not Change.NONE and not _opens(login):
        raise WorkerLoginRefused(
            f"The login {login.name} has the password of {kind.variable} now, and is refused all the same: "
            f"allow it in pg_hba.conf, or in the pooler that the URL names."
        )
    return change


def _login(login_url: str, kind: Kind) -> _Login:
    url = make_url(login_url)
    if not url.username:
        raise WorkerLoginRefused(f"{kind.variable} names no user: put the {kind.whose} own login into it.")
    return _Login(kind, url, url.username, url.password if url.password is None else str(url.password))


def _ensured(connection: Connection, login: _Login) -> Change:
    facts = connection.execute(_FACTS, {"name": login.name, "role": login.kind.role}).one_or_none()
    if facts is None:
        _execute(connection, sql.SQL("CREATE ROLE {} LOGIN"), login)
        _set_password(connection, login)
        _join(connection, login)
        return Change.CREATED
    if facts.too_mighty:
        raise WorkerLoginRefused(
            f"The login {login.name} may do what the ledger's owner may, or bypass row-level security: what is "
            f"broken there could then change any record. Name another login in {login.kind.variable}."
        )
    change = Change.NONE
    if not facts.is_member:
        _join(connection, login)
        change = Change.ALTERED
    if not facts.can_login or not _opens(login):
        _execute(connection, sql.SQL("ALTER ROLE {} LOGIN"), login)
        _set_password(connection, login)
        change = Change.ALTERED
    return change


def _join(connection: Connection, login: _Login) -> None:
    statement = _MEMBERSHIP.format(sql.Identifier(login.kind.role), sql.Identifier(login.name))
    connection.exec_driver_sql(statement.as_string(_driver(connection)).replace("%", "%%"))


def _set_password(connection: Connection, login: _Login) -> None:
    if login.password is None:
        return  # the server knows it otherwise: by a certificate, as a peer
    server = _driver(connection).pgconn
    verifier = server.encrypt_password(login.password.encode(), login.name.encode(), b"scram-sha-256").decode()
    _execute(connection, sql.SQL("ALTER ROLE {} PASSWORD {}"), login, sql.Literal(verifier))


def _execute(connection: Connection, statement: sql.SQL, login: _Login, *more: sql.Composable) -> None:
    """Names and verifiers are quoted by libpq, as such statements take no parameters."""
    whole = statement.format(sql.Identifier(login.name), *more).as_string(_driver(connection))
    connection.exec_driver_sql(whole.replace("%", "%%"))


def _driver(connection: Connection) -> psycopg.Connection[Any]:
    found = connection.connection.driver_connection
    assert isinstance(found, psycopg.Connection)  # noqa: S101 - what `normal_url` asked for
    return found


def _opens(login: _Login) -> bool:
    """Whether the server takes it. LedgerUnavailable if it can't be asked."""
    if login.password is None:
        return True
    dialect = login.url.get_dialect()()
    _, named = dialect.create_connect_args(login.url)
    try:
        psycopg.connect(**{**named, "connect_timeout": 10, "application_name": "adit"}).close()
    except psycopg.OperationalError as error:
        # libpq gives no SQLSTATE here, but tells whether the server had asked for the password.
        if error.pgconn is not None and error.pgconn.used_password:
            return False
        raise LedgerUnavailable(
            f"the {login.kind.whose} login {login.name} finds no way in: its host does not answer, or "
            f"pg_hba.conf has no rule for it"
        ) from None
    return True
