"""By which key a project's first instance was de-identified: another one would give its patients other names."""

from __future__ import annotations

from typing import Final

from alembic import op

revision = "0013"
down_revision = "0012"

TABLE: Final = """
CREATE TABLE project_key (
    namespace text NOT NULL,
    project text NOT NULL,
    key_id text NOT NULL,
    since timestamptz NOT NULL,
    CONSTRAINT project_key_pkey PRIMARY KEY (namespace, project)
);

INSERT INTO project_key (namespace, project, key_id, since)
SELECT DISTINCT ON (job.namespace, treatment.document->>'project')
       job.namespace, treatment.document->>'project', treatment.document->>'key_id', now()
FROM treatment JOIN task ON task.id = treatment.task_id JOIN job ON job.id = task.job_id
WHERE treatment.document->>'decision' = 'Treated'
ORDER BY job.namespace, treatment.document->>'project', treatment.task_id DESC;
"""

FUNCTION: Final = """
-- The id of the key that the project of the attempt's profile has; '' while it has none. What is `claimed` becomes it
-- then. NULL when the attempt is not open.
CREATE FUNCTION adit_project_key(claimed text, moment timestamptz)
RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
DECLARE
    its_namespace text;
    its_project text;
BEGIN
    SELECT job.namespace, coalesce(assignment #>> '{profile,spec,project}', assignment #>> '{profile,metadata,name}')
    INTO its_namespace, its_project
    FROM attempt JOIN task ON task.id = attempt.task_id JOIN job ON job.id = task.job_id
    WHERE attempt.token = adit_token() AND attempt.ended_at IS NULL;
    IF its_project IS NULL THEN
        RETURN NULL;
    END IF;
    IF claimed IS NOT NULL THEN
        INSERT INTO project_key (namespace, project, key_id, since)
        VALUES (its_namespace, its_project, claimed, moment) ON CONFLICT DO NOTHING;
    END IF;
    RETURN coalesce(
        (SELECT key_id FROM project_key WHERE namespace = its_namespace AND project = its_project), ''
    );
END $$;

REVOKE EXECUTE ON FUNCTION adit_project_key FROM PUBLIC;
GRANT EXECUTE ON FUNCTION adit_project_key TO adit_worker;
"""


def upgrade() -> None:
    op.execute(TABLE)
    schema = op.get_bind().exec_driver_sql("SELECT quote_ident(current_schema())").scalar_one()
    op.execute(FUNCTION.replace("{schema}", schema))
