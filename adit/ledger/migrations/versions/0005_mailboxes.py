"""Mailboxes of C-MOVE: where each worker waits for what a peer sends to a receiver, and who may see which."""

from __future__ import annotations

from typing import Final

from alembic import op

revision = "0005"
down_revision = "0004"

TABLE: Final = """
CREATE TABLE mailbox (
    id uuid NOT NULL,
    attempt_id bigint NOT NULL,
    study_instance_uid text NOT NULL,
    series_instance_uid text,
    message_id integer NOT NULL,
    host text NOT NULL,
    port integer NOT NULL,
    secret text NOT NULL,
    opened_at timestamptz NOT NULL,
    closed_at timestamptz,
    CONSTRAINT mailbox_pkey PRIMARY KEY (id),
    CONSTRAINT mailbox_attempt_id_fkey FOREIGN KEY (attempt_id) REFERENCES attempt (id),
    CONSTRAINT mailbox_message_id_check CHECK (message_id BETWEEN 1 AND 65535)
);
CREATE INDEX mailbox_of_study ON mailbox (study_instance_uid);
CREATE INDEX mailbox_of_attempt ON mailbox (attempt_id);
CREATE INDEX mailbox_opened ON mailbox (opened_at);
"""

# Nobody but the owner reads the table. A worker opens and closes its own attempt's mailboxes, in its own study, by
# its token; a receiver finds one mailbox by the UIDs of an object that it holds. Neither can list any.
FUNCTIONS: Final = """
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'adit_receiver') THEN
        CREATE ROLE adit_receiver NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;  -- another database of this server was faster
END $$;

-- The message id to send C-MOVE with; 0 while another attempt's mailbox would get the same objects; null if the token
-- is no open attempt's, or the study not its task's.
CREATE FUNCTION adit_open_mailbox(
    mailbox_id uuid, study text, series text, at_host text, at_port integer, its_secret text, moment timestamptz
)
RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
DECLARE
    ours bigint;
    message integer;
BEGIN
    SELECT id INTO ours FROM attempt
    WHERE token = adit_token() AND ended_at IS NULL AND assignment->>'study_instance_uid' = study;
    IF ours IS NULL THEN
        RETURN NULL;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended(study, 5));
    UPDATE mailbox SET closed_at = moment, secret = '' WHERE attempt_id = ours AND closed_at IS NULL;
    IF EXISTS (
        SELECT FROM mailbox m JOIN attempt a ON a.id = m.attempt_id
        WHERE m.study_instance_uid = study AND m.closed_at IS NULL AND a.ended_at IS NULL
              AND (m.series_instance_uid IS NULL OR series IS NULL OR m.series_instance_uid = series)
    ) THEN
        RETURN 0;
    END IF;
    LOOP  -- an id that no other C-MOVE of this study had lately: a late object of an earlier one is none of ours
        message := 1 + floor(random() * 65535);
        EXIT WHEN NOT EXISTS (SELECT FROM mailbox m WHERE m.study_instance_uid = study AND m.message_id = message);
    END LOOP;
    INSERT INTO mailbox
        (id, attempt_id, study_instance_uid, series_instance_uid, message_id, host, port, secret, opened_at)
    VALUES (mailbox_id, ours, study, series, message, at_host, at_port, its_secret, moment);
    RETURN message;
END $$;

CREATE FUNCTION adit_close_mailbox(mailbox_id uuid, moment timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
    UPDATE mailbox SET closed_at = coalesce(closed_at, moment), secret = ''
    WHERE id = mailbox_id AND attempt_id = (SELECT id FROM attempt WHERE token = adit_token())
$$;

-- The open mailbox for an object. `message` is the Move Originator Message ID that it came with, null if with none. One
-- that belongs to another C-MOVE of ours is refused; one that is none of ours is a peer's own invention, and counts
-- for nothing: then study and series decide, which two open mailboxes never share.
CREATE FUNCTION adit_find_mailbox(study text, series text, message integer)
RETURNS TABLE (id uuid, host text, port integer, secret text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = {schema}, pg_temp AS $$
    SELECT m.id, m.host, m.port, m.secret FROM mailbox m JOIN attempt a ON a.id = m.attempt_id
    WHERE m.study_instance_uid = study AND (m.series_instance_uid IS NULL OR m.series_instance_uid = series)
          AND m.closed_at IS NULL AND a.ended_at IS NULL
          AND (message IS NULL OR m.message_id = message
               OR NOT EXISTS (SELECT FROM mailbox o WHERE o.study_instance_uid = study AND o.message_id = message))
    LIMIT 1
$$;

REVOKE EXECUTE ON FUNCTION adit_open_mailbox, adit_close_mailbox, adit_find_mailbox FROM PUBLIC;
GRANT EXECUTE ON FUNCTION adit_open_mailbox, adit_close_mailbox TO adit_worker;
GRANT EXECUTE ON FUNCTION adit_find_mailbox TO adit_receiver;
GRANT USAGE ON SCHEMA {schema} TO adit_receiver;
"""


def upgrade() -> None:
    op.execute(TABLE)
    schema = op.get_bind().exec_driver_sql("SELECT quote_ident(current_schema())").scalar_one()
    op.execute(FUNCTIONS.replace("{schema}", schema))
