"""How many instances a source spoke of while an attempt fetched from it: a later one must not be content with fewer."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.execute("ALTER TABLE attempt ADD COLUMN announced bigint NOT NULL DEFAULT 0")
    op.execute("GRANT SELECT (announced), UPDATE (announced) ON attempt TO adit_worker")
