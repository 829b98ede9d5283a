"""The records of what was done to instances, as workers write and read them: through psycopg alone.

Called by `attempt_ledger`; `treatments` counts and reports the same rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from adit.model.treatment import TreatmentRecord

INSERT: Final = """
    INSERT INTO treatment (task_id, digest, document, changes)
    SELECT %(task_id)s, digest, document, changes
    FROM unnest(CAST(%(digest)s AS text[]), CAST(%(document)s AS jsonb[]), CAST(%(changes)s AS text[]))
         AS record (digest, document, changes)
    ON CONFLICT DO NOTHING
    """
"""For psycopg; with what `columns` makes. The same record again, by any attempt, is there once."""

READ: Final = "SELECT document, changes FROM treatment WHERE task_id = %(task_id)s ORDER BY digest"


def columns(records: Sequence[TreatmentRecord]) -> dict[str, list[str]]:
    """Changes stand apart, as one text: Postgres compresses it to a sixth."""
    ordered = sorted(records, key=lambda each: each.digest)  # so that two writers cannot deadlock
    return {
        "digest": [each.digest for each in ordered],
        "document": [each.model_dump_json(exclude={"changes"}, exclude_none=True) for each in ordered],
        "changes": ["\n".join(each.changes) for each in ordered],
    }


def record_of(document: Mapping[str, Any] | str, changes: str) -> TreatmentRecord:
    values = json.loads(document) if isinstance(document, str) else document
    return TreatmentRecord.model_validate({**values, "changes": tuple(changes.split("\n")) if changes else ()})
