"""Mailboxes of C-MOVEs that broke off: their source may send on, and nobody may take that for another source's."""

from __future__ import annotations

from typing import Final

from alembic import op

revision = "0010"
down_revision = "0009"

FUNCTIONS: Final = """
ALTER TABLE mailbox ADD COLUMN broke_off boolean NOT NULL DEFAULT false;

-- As before, and 0 also for ten minutes after a C-MOVE of the study from another source broke off, or its worker died:
-- what that source still sends bears no mark that all senders give, and would be taken for ours. What the same source
-- sends late is what we ask it for.
CREATE OR REPLACE FUNCTION adit_open_mailbox(
    mailbox_id uuid, study text, series text, at_host text, at_port integer, its_secret text, moment timestamptz
)
RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
DECLARE
    ours attempt;
    message integer;
BEGIN
    SELECT * INTO ours FROM attempt
    WHERE token = adit_token() AND ended_at IS NULL AND assignment->>'study_instance_uid' = study;
    IF ours.id IS NULL THEN
        RETURN NULL;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended(study, 5));
    UPDATE mailbox SET closed_at = moment, secret = '', broke_off = true
    WHERE attempt_id = ours.id AND closed_at IS NULL;
    IF EXISTS (
        SELECT FROM mailbox m JOIN attempt a ON a.id = m.attempt_id
        WHERE m.study_instance_uid = study AND m.closed_at IS NULL AND a.ended_at IS NULL
              AND (m.series_instance_uid IS NULL OR series IS NULL OR m.series_instance_uid = series)
    ) OR EXISTS (
        SELECT FROM mailbox m JOIN attempt a ON a.id = m.attempt_id
        WHERE m.study_instance_uid = study AND (m.broke_off OR m.closed_at IS NULL)
              AND coalesce(m.closed_at, a.ended_at) > moment - interval '10 minutes'
              AND adit_sender(a.assignment) IS DISTINCT FROM adit_sender(ours.assignment)
    ) THEN
        RETURN 0;
    END IF;
    LOOP  -- an id that no other C-MOVE of this study had lately: a late object of an earlier one is none of ours
        message := 1 + floor(random() * 65535);
        EXIT WHEN NOT EXISTS (SELECT FROM mailbox m WHERE m.study_instance_uid = study AND m.message_id = message);
    END LOOP;
    INSERT INTO mailbox
        (id, attempt_id, study_instance_uid, series_instance_uid, message_id, host, port, secret, opened_at)
    VALUES (mailbox_id, ours.id, study, series, message, at_host, at_port, its_secret, moment);
    RETURN message;
END $$;

-- Which peer an attempt asks, whatever its DicomNode is called.
CREATE FUNCTION adit_sender(assignment jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_build_array(
        assignment #> '{source,spec,dimse,aeTitle}',
        assignment #> '{source,spec,dimse,host}',
        assignment #> '{source,spec,dimse,port}'
    )
$$;

-- Workers of the version before don't say how it ended.
DROP FUNCTION adit_close_mailbox(uuid, timestamptz);
CREATE FUNCTION adit_close_mailbox(mailbox_id uuid, moment timestamptz, broken boolean DEFAULT false) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
    UPDATE mailbox SET closed_at = coalesce(closed_at, moment), secret = '', broke_off = broke_off OR broken
    WHERE id = mailbox_id AND attempt_id = (SELECT id FROM attempt WHERE token = adit_token())
$$;

REVOKE EXECUTE ON FUNCTION adit_close_mailbox, adit_sender FROM PUBLIC;
GRANT EXECUTE ON FUNCTION adit_close_mailbox TO adit_worker;
"""


def upgrade() -> None:
    schema = op.get_bind().exec_driver_sql("SELECT quote_ident(current_schema())").scalar_one()
    op.execute(FUNCTIONS.replace("{schema}", schema))
