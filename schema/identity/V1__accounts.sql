-- Accounts, credentials and login sessions. Nothing here ever enters the log but the rows of `outbox`.

CREATE TABLE accounts (
    id            uuid PRIMARY KEY,
    username      text NOT NULL,
    email         text,
    password_hash text NOT NULL,
    created_at    timestamptz NOT NULL,
    disabled_at   timestamptz
);

-- One name, whatever its case, although the product folds names before it stores them.
CREATE UNIQUE INDEX accounts_username_key ON accounts (lower(username));
CREATE UNIQUE INDEX accounts_email_key ON accounts (lower(email));

-- One login on one device; the family of its refresh tokens.
CREATE TABLE sessions (
    id           uuid PRIMARY KEY,
    account_id   uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    user_agent   text NOT NULL,
    created_at   timestamptz NOT NULL,
    last_used_at timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    revoked_at   timestamptz
);

CREATE INDEX sessions_account_idx ON sessions (account_id) WHERE revoked_at IS NULL;
CREATE INDEX sessions_revoked_idx ON sessions (revoked_at) WHERE revoked_at IS NOT NULL;
CREATE INDEX sessions_expires_idx ON sessions (expires_at);

-- Only the hash of a token is kept. A session's tokens form a chain; its last one has no successor.
CREATE TABLE refresh_tokens (
    hash        bytea PRIMARY KEY CHECK (length(hash) = 32),
    session_id  uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    replaced_at timestamptz,
    successor   bytea
);

CREATE INDEX refresh_tokens_session_idx ON refresh_tokens (session_id);

-- Public facts about people that must reach the log: written with the fact, deleted once the log has them.
CREATE TABLE outbox (
    position   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id   uuid NOT NULL UNIQUE,
    account_id uuid NOT NULL,
    type       text NOT NULL,
    payload    jsonb NOT NULL,
    created_at timestamptz NOT NULL
);
