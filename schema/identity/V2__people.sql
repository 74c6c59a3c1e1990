-- What people say of themselves, and where they logged in.

ALTER TABLE accounts
    -- How the person shows oneself to others: what the last `user.profile_changed` says.
    ADD COLUMN profile jsonb NOT NULL DEFAULT '{}',
    -- Never told to anybody else, and never in the log.
    ADD COLUMN phone   text,
    ADD COLUMN locale  text;

-- Null where nobody knows, as of sessions that were opened before this was kept.
ALTER TABLE sessions ADD COLUMN address inet;

-- When a person's last device went, as far as fronts could write it down. Apart from the accounts, since it changes daily.
CREATE TABLE last_seen (
    account_id uuid PRIMARY KEY REFERENCES accounts ON DELETE CASCADE,
    at         timestamptz NOT NULL
) WITH (fillfactor = 80);

-- A person's facts are published one after the other.
CREATE INDEX outbox_account_idx ON outbox (account_id, position);
