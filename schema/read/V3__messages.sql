-- What a message bears besides its words, and what was done to it. Old rows are what a rebuild makes of messages that
-- bear nothing.

ALTER TABLE messages
    -- The message that began the thread in which this is a reply, and which reply it is: from 1 on, without holes.
    ADD COLUMN thread         uuid,
    ADD COLUMN thread_ordinal bigint,
    -- Messages for everybody (`all`, `here`) up to and with this one, outside of threads: how many a person has not read is a
    -- difference of two of these.
    ADD COLUMN all_mentions   bigint NOT NULL DEFAULT 0,
    -- JSON as the event has it, each null where there is none.
    ADD COLUMN mentions       text,
    ADD COLUMN meta           text,
    ADD COLUMN forwarded      text,
    ADD COLUMN attachments    text,
    -- Set when a moderator removed it: `recalled_seq` and `recalled_at` say when.
    ADD COLUMN deleted_by     uuid,
    ADD COLUMN deleted_reason text,
    ADD CHECK (body IS NOT NULL OR coalesce(mentions, meta, forwarded, attachments) IS NULL),
    ADD CHECK ((thread IS NULL) = (thread_ordinal IS NULL)),
    ADD CHECK (deleted_by IS NULL OR recalled_seq IS NOT NULL);
ALTER TABLE messages ALTER COLUMN all_mentions DROP DEFAULT;

-- A reply in a thread has the ordinal of the message before it that is none.
CREATE INDEX messages_thread_idx ON messages (room, thread, seq) WHERE thread IS NOT NULL;

-- By id alone as well: it leads to the room.
DROP INDEX messages_mid_key;
CREATE UNIQUE INDEX messages_mid_key ON messages (mid, room);

ALTER TABLE rooms ADD COLUMN all_mentions bigint NOT NULL DEFAULT 0;
ALTER TABLE rooms ALTER COLUMN all_mentions DROP DEFAULT;

-- In the tables below `seq` is the message's own, so that those of a page are found together.

-- Whom a message names, as it says now; none once it is gone.
CREATE TABLE mentions (
    room    uuid   NOT NULL,
    user_id uuid   NOT NULL,
    seq     bigint NOT NULL,
    -- The message that began the thread, where it is a reply.
    thread  uuid,
    PRIMARY KEY (room, user_id, seq)
);
CREATE INDEX mentions_seq_idx ON mentions (room, seq);

-- Messages that began a thread.
CREATE TABLE threads (
    room         uuid   NOT NULL,
    seq          bigint NOT NULL,
    replies      bigint NOT NULL,
    last_seq     bigint NOT NULL,
    last_at      text   NOT NULL,
    -- The first five who replied.
    participants uuid[] NOT NULL,
    PRIMARY KEY (room, seq)
) WITH (fillfactor = 80);
CREATE INDEX threads_last_idx ON threads (room, last_seq);

-- Who reacted, and how many.
CREATE TABLE reactions (
    room        uuid   NOT NULL,
    seq         bigint NOT NULL,
    emoji       text   COLLATE "C" NOT NULL,
    user_id     uuid   NOT NULL,
    reacted_seq bigint NOT NULL,
    PRIMARY KEY (room, seq, emoji, user_id)
);
CREATE INDEX reactions_order_idx ON reactions (room, seq, emoji, reacted_seq);

CREATE TABLE reaction_counts (
    room  uuid   NOT NULL,
    seq   bigint NOT NULL,
    emoji text   COLLATE "C" NOT NULL,
    count bigint NOT NULL CHECK (count > 0),
    PRIMARY KEY (room, seq, emoji)
) WITH (fillfactor = 80);

CREATE TABLE pins (
    room       uuid   NOT NULL,
    seq        bigint NOT NULL,
    pinned_by  uuid   NOT NULL,
    pinned_seq bigint NOT NULL,
    pinned_at  text   NOT NULL,
    PRIMARY KEY (room, seq)
);

-- What a message that was edited said, from `since_seq` on: the first words as well as those of now.
CREATE TABLE versions (
    room      uuid   NOT NULL,
    seq       bigint NOT NULL,
    since_seq bigint NOT NULL,
    since_at  text   NOT NULL,
    body      text   NOT NULL,
    mentions  text,
    meta      text,
    PRIMARY KEY (room, seq, since_seq)
);
