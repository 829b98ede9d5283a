"""By which road an attempt stored what it fetched."""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.execute("ALTER TABLE attempt ADD COLUMN store_road text")
    op.execute("GRANT SELECT (store_road), UPDATE (store_road) ON attempt TO adit_worker")
