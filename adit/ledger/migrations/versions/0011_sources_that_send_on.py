"""How long a study's mailbox stays shut to other sources is measured from the last object that found none."""

from __future__ import annotations

from typing import Final

from alembic import op

revision = "0011"
down_revision = "0010"

FUNCTIONS: Final = """
-- As that of three, which receivers of the version before call; and what finds nothing shows that somebody sends on:
-- the ten minutes after a C-MOVE that broke off begin anew, if they are not over.
CREATE FUNCTION adit_find_mailbox(study text, series text, message integer, moment timestamptz)
RETURNS TABLE (id uuid, host text, port integer, secret text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT * FROM adit_find_mailbox(study, series, message);
    IF NOT FOUND THEN
        UPDATE mailbox m SET closed_at = moment, secret = '', broke_off = true
        FROM attempt a
        WHERE a.id = m.attempt_id AND m.study_instance_uid = study AND (m.broke_off OR m.closed_at IS NULL)
              AND coalesce(m.closed_at, a.ended_at) BETWEEN moment - interval '10 minutes' AND moment;
    END IF;
END $$;
REVOKE EXECUTE ON FUNCTION adit_find_mailbox(text, text, integer, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION adit_find_mailbox(text, text, integer, timestamptz) TO adit_receiver;
"""


def upgrade() -> None:
    schema = op.get_bind().exec_driver_sql("SELECT quote_ident(current_schema())").scalar_one()
    op.execute(FUNCTIONS.replace("{schema}", schema))
