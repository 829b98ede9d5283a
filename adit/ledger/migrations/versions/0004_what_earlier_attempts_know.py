"""What earlier attempts know: how big a study is, found by its UID, and to which place its instances were stored."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute("CREATE INDEX task_of_study ON task (study_instance_uid)")
    op.execute("ALTER TABLE task ADD COLUMN place text")
