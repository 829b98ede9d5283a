"""The bearer tokens of the facade: their hashes, what they may do, until when. The tokens themselves are nowhere.

A token is 256 random bits, so that one SHA-256 is enough: there is nothing to guess.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Final

from sqlalchemy import Connection, Row, select, update
from sqlalchemy.dialects.postgresql import insert

from adit.ledger.records import TokenRecord
from adit.ledger.tables import api_token


class Scope(StrEnum):
    """What a token may be good for."""

    READ = "read"  # jobs, tasks, manifests, nodes, profiles, selections
    WRITE = "write"  # post selections; create and steer jobs
    FIND = "find"  # probe nodes and ask them what they hold: answers name patients
    NODES = "nodes"  # apply DicomNodes and DeidProfiles: where studies may go, and what leaves of a patient
    ADMIN = "admin"  # all of these


PREFIX: Final = "adit_"  # lets people and secret scanners see what it is
_COLUMNS: Final = tuple(column for column in api_token.c if column.name != "hash")


def create(
    connection: Connection,
    name: str,
    scopes: Sequence[str],
    namespaces: Sequence[str] | None,
    expires_at: datetime,
    now: datetime,
) -> str | None:
    """The new token, which cannot be shown again; None if the name is taken."""
    token = PREFIX + secrets.token_urlsafe(32)
    statement = (
        insert(api_token)
        .values(
            name=name,
            hash=_hash(token),
            scopes=list(scopes),
            namespaces=None if namespaces is None else list(namespaces),
            created_at=now,
            expires_at=expires_at,
        )
        .on_conflict_do_nothing(constraint="api_token_pkey")
        .returning(api_token.c.name)
    )
    return None if connection.execute(statement).one_or_none() is None else token


def find(connection: Connection, token: str, now: datetime) -> TokenRecord | None:
    """Whose token it is; None for one that is unknown, expired or revoked."""
    digest = _hash(token)
    row = connection.execute(select(api_token).where(api_token.c.hash == digest)).one_or_none()
    if row is None or not hmac.compare_digest(row.hash, digest) or row.revoked_at is not None or row.expires_at <= now:
        return None
    return _record(row)


def all_tokens(connection: Connection) -> list[TokenRecord]:
    """By name."""
    return [_record(row) for row in connection.execute(select(*_COLUMNS).order_by(api_token.c.name))]


def revoke(connection: Connection, name: str, now: datetime) -> bool:
    """False if there is none of that name; one that was revoked before stays so."""
    statement = update(api_token).where(api_token.c.name == name, api_token.c.revoked_at.is_(None))
    connection.execute(statement.values(revoked_at=now))
    return connection.execute(select(api_token.c.name).where(api_token.c.name == name)).one_or_none() is not None


def _hash(token: str) -> str:
    return sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _record(row: Row[tuple[object, ...]]) -> TokenRecord:
    return TokenRecord(
        name=row.name,
        scopes=frozenset(row.scopes),
        namespaces=None if row.namespaces is None else frozenset(row.namespaces),
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )
