"""One hash over all that a task delivered: it outlives the instance rows and can be computed by anyone.

The text that is hashed has one line for each instance, sorted by SOP Instance UID as bytes:
`<SOP Instance UID> TAB <size> TAB <transfer syntax UID> TAB <sha256> LF`, with nothing for what is unknown.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from sqlalchemy import ColumnElement, Text, cast, func, literal
from sqlalchemy.dialects.postgresql import aggregate_order_by

from adit.ledger.tables import instance
from adit.model.instance import InstanceRecord


def digest(records: Iterable[InstanceRecord]) -> str | None:
    """The hex SHA-256 of the text above; None without instances."""
    lines = sorted(
        "\t".join(
            [record.sop_instance_uid, _text(record.size), _text(record.transfer_syntax_uid), _text(record.sha256)]
        )
        + "\n"
        for record in records
    )
    return sha256("".join(lines).encode()).hexdigest() if lines else None


def digest_column() -> ColumnElement[str | None]:
    """The same, computed by Postgres over the rows of a query."""
    tab = literal("\t")
    uid = instance.c.sop_instance_uid
    size, syntax, content = (
        func.coalesce(cast(column, Text), "")
        for column in (instance.c.size, instance.c.transfer_syntax_uid, instance.c.sha256)
    )
    line = func.concat(uid, tab, size, tab, syntax, tab, content, literal("\n"))
    joined = func.string_agg(line, aggregate_order_by(literal("", Text), line.collate("C")))
    return func.encode(func.sha256(func.convert_to(joined, "UTF8")), "hex")


def _text(value: object) -> str:
    return "" if value is None else str(value)
