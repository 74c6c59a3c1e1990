-- Read models: all of it is made from the log and can be made again, row by row the same. Hence no clocks, no
-- sequences, no defaults here; times are the log's own words (RFC 3339, nanoseconds).
--
-- A `seq` is a position in the stream of the room (or of the person's feed) that the row is about.

-- Up to where these tables reflect each stream.
CREATE TABLE checkpoints (
    stream smallint PRIMARY KEY,
    epoch  text   NOT NULL,
    seq    bigint NOT NULL CHECK (seq >= 0)
) WITH (fillfactor = 50);

CREATE TABLE rooms (
    id           uuid PRIMARY KEY,
    stream       smallint NOT NULL,
    name         text     NOT NULL,
    -- The name in lower case, made by the projector so that no server's locale has a say in it.
    name_key     text COLLATE "C" NOT NULL,
    visibility   text     NOT NULL CHECK (visibility IN ('public', 'private')),
    owner        uuid     NOT NULL,
    created_seq  bigint   NOT NULL,
    created_at   text     NOT NULL,
    member_count bigint   NOT NULL,
    -- Number of messages ever posted, which is the ordinal of the last one.
    last_ordinal bigint   NOT NULL,
    -- The room's last event of any kind.
    head         bigint   NOT NULL
) WITH (fillfactor = 80);

CREATE INDEX rooms_public_idx ON rooms (name_key, id) WHERE visibility = 'public';

CREATE TABLE members (
    room       uuid   NOT NULL,
    user_id    uuid   NOT NULL,
    joined_seq bigint NOT NULL,
    PRIMARY KEY (room, user_id)
);

CREATE INDEX members_joined_idx ON members (room, joined_seq, user_id);
CREATE INDEX members_user_idx ON members (user_id, room);

CREATE TABLE messages (
    room         uuid   NOT NULL,
    seq          bigint NOT NULL,
    mid          uuid   NOT NULL,
    author       uuid   NOT NULL,
    cid          uuid   NOT NULL,
    -- 1 for the room's first message, then without holes: what is unread is a difference of two of these.
    ordinal      bigint NOT NULL,
    -- Null once recalled.
    body         text,
    reply_to     uuid,
    posted_at    text   NOT NULL,
    edited_seq   bigint,
    edited_at    text,
    recalled_seq bigint,
    recalled_at  text,
    PRIMARY KEY (room, seq),
    CHECK ((body IS NULL) = (recalled_seq IS NOT NULL))
);

CREATE UNIQUE INDEX messages_mid_key ON messages (room, mid);

CREATE TABLE read_marks (
    user_id uuid   NOT NULL,
    room    uuid   NOT NULL,
    seq     bigint NOT NULL,
    PRIMARY KEY (user_id, room)
) WITH (fillfactor = 80);

CREATE TABLE people (
    id            uuid PRIMARY KEY,
    username      text COLLATE "C" NOT NULL,
    registered_at text NOT NULL
);

CREATE INDEX people_username_idx ON people (username, id);

-- Events that change nothing because they could not be read or not be stored; `natterjack rebuild` tries them again.
CREATE TABLE parked (
    stream  smallint NOT NULL,
    seq     bigint   NOT NULL,
    subject text     NOT NULL,
    error   text     NOT NULL,
    PRIMARY KEY (stream, seq)
);
