"""What the facade keeps: selections, so that identifiers stay out of the cluster, and the tokens of its callers."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

# Not granted to adit_worker: a worker knows its own task and nobody else.
TABLES = """
CREATE TABLE selection (
    id uuid NOT NULL,
    namespace text NOT NULL,
    name text,
    digest text NOT NULL,
    size integer NOT NULL,
    pseudonyms integer NOT NULL,
    without_patient_id integer NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    CONSTRAINT selection_pkey PRIMARY KEY (id),
    CONSTRAINT selection_namespace_name_key UNIQUE (namespace, name)
);
CREATE INDEX selection_unused ON selection (expires_at) WHERE used_at IS NULL;

CREATE TABLE selection_line (
    selection_id uuid NOT NULL,
    position integer NOT NULL,
    study_instance_uid text NOT NULL,
    patient_id text,
    series_instance_uids text[],
    pseudonym text,
    CONSTRAINT selection_line_pkey PRIMARY KEY (selection_id, position),
    CONSTRAINT selection_line_selection_id_fkey FOREIGN KEY (selection_id) REFERENCES selection (id) ON DELETE CASCADE
);

CREATE TABLE api_token (
    name text NOT NULL,
    hash text NOT NULL,
    scopes text[] NOT NULL,
    namespaces text[],
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    CONSTRAINT api_token_pkey PRIMARY KEY (name),
    CONSTRAINT api_token_hash_key UNIQUE (hash)
);
"""


def upgrade() -> None:
    op.execute(TABLES)
