"""What nodes were found to do: their services, measured, and how their roads did in transfers."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute("ALTER TABLE node ADD COLUMN findings jsonb, ADD COLUMN probe_asked_at timestamptz")
