-- What was uploaded, and where it may be seen: the source of truth, written by fronts. The bytes lie in the object store,
-- under the upload's id.

CREATE TABLE uploads (
    id           uuid PRIMARY KEY,
    owner        uuid NOT NULL,
    -- The room it was made for.
    room         uuid NOT NULL,
    purpose      text NOT NULL CHECK (purpose IN ('message', 'voice')),
    name         text NOT NULL,
    -- What the client says it is: compared with what it turns out to be.
    declared     text NOT NULL,
    -- Bytes: as announced, and had so far.
    length       bigint NOT NULL CHECK (length > 0),
    received     bigint NOT NULL DEFAULT 0 CHECK (received BETWEEN 0 AND length),
    created_at   timestamptz NOT NULL DEFAULT now(),
    -- The last time that bytes came.
    touched_at   timestamptz NOT NULL DEFAULT now(),
    -- Who writes to it at this moment, and until when others leave that to him.
    writer       uuid,
    writer_until timestamptz,
    -- The rest is null until everything was had, looked at and stored.
    completed_at timestamptz,
    -- Being removed: first this, then the files, then the row.
    removed_at   timestamptz,
    kind         text CHECK (kind IN ('image', 'audio', 'voice', 'video', 'file')),
    mime         text,
    -- Bytes as stored, which may be fewer than were sent: what says where a picture was taken is left out.
    size         bigint,
    hash         bytea CHECK (length(hash) = 32),
    width        integer,
    height       integer,
    duration_ms  bigint,
    waveform     bytea CHECK (length(waveform) <= 64),
    blur         text,
    -- Smaller pictures: their longest side in pixels, their bytes and type.
    previews     jsonb NOT NULL DEFAULT '[]',
    CHECK (completed_at IS NULL OR (kind IS NOT NULL AND mime IS NOT NULL AND size IS NOT NULL AND hash IS NOT NULL))
);

CREATE INDEX uploads_owner_idx ON uploads (owner);
CREATE INDEX uploads_touched_idx ON uploads (touched_at);

-- The pieces in which it came, one for each request.
CREATE TABLE pieces (
    upload uuid   NOT NULL REFERENCES uploads ON DELETE CASCADE,
    start  bigint NOT NULL,
    size   bigint NOT NULL CHECK (size > 0),
    -- The writer of it, part of the object's name.
    writer uuid   NOT NULL,
    PRIMARY KEY (upload, start)
);

-- In which messages it stands: members of the message's room may see it.
CREATE TABLE uses (
    upload  uuid NOT NULL REFERENCES uploads ON DELETE CASCADE,
    room    uuid NOT NULL,
    message uuid NOT NULL,
    used_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (upload, room, message)
);

CREATE INDEX uses_message_idx ON uses (message);
