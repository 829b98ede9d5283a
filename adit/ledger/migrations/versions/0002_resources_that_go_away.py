"""Resources that go away, as they do in a cluster: a deleted job's record stays while its name is free again."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("ALTER TABLE job ADD COLUMN deleted_at timestamptz")
    op.execute("ALTER TABLE job DROP CONSTRAINT job_namespace_name_key")
    op.execute("CREATE UNIQUE INDEX job_namespace_name_key ON job (namespace, name) WHERE deleted_at IS NULL")
