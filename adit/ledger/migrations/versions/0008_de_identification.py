"""What was done to instances that left under another name: by which profile, element by element, never a value."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"

# Between Received and Stored: all of it was here, and by the profile's word it went no further.
STATE = "ALTER TYPE instance_state ADD VALUE IF NOT EXISTS 'LeftOut' BEFORE 'Stored'"

TABLES = """
ALTER TABLE instance ADD COLUMN sent_as text, ADD COLUMN treatment text;
ALTER TABLE task ADD COLUMN left_out bigint NOT NULL DEFAULT 0;

CREATE TABLE treatment (
    task_id bigint NOT NULL,
    digest text NOT NULL,
    document jsonb NOT NULL,
    changes text NOT NULL,
    instances bigint NOT NULL DEFAULT 0,
    CONSTRAINT treatment_pkey PRIMARY KEY (task_id, digest),
    CONSTRAINT treatment_task_id_fkey FOREIGN KEY (task_id) REFERENCES task (id)
);

-- What a worker has said was done stays said: it may add to its own task's, and change nothing.
GRANT SELECT, INSERT (task_id, digest, document, changes) ON treatment TO adit_worker;
ALTER TABLE treatment ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON treatment TO adit_worker USING (task_id = (SELECT adit_open_task()));
"""


def upgrade() -> None:
    op.execute(STATE)
    op.execute(TABLES)
