"""DeidProfiles, and in each job the one that its tasks were made with."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"

# Not granted to adit_worker: its attempt's assignment holds the profile that it needs.
TABLES = """
CREATE TABLE profile (
    namespace text NOT NULL,
    name text NOT NULL,
    document jsonb NOT NULL,
    applied_at timestamptz NOT NULL,
    CONSTRAINT profile_pkey PRIMARY KEY (namespace, name)
);
ALTER TABLE job
    ADD COLUMN profile jsonb,
    ADD CONSTRAINT job_profile_is_frozen
        CHECK (expanded_at IS NULL OR profile IS NOT NULL OR document #> '{spec,deidentification}' IS NULL);
"""


def upgrade() -> None:
    op.execute(TABLES)
