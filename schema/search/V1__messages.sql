-- What is searched: all of it is made from the log and can be made again, row by row the same, as the read models are. Its
-- indexes take ten times as long to fill as theirs, hence checkpoints of its own.

-- Up to where these tables reflect each stream.
CREATE TABLE checkpoints (
    stream smallint PRIMARY KEY,
    epoch  text   NOT NULL,
    seq    bigint NOT NULL CHECK (seq >= 0)
) WITH (fillfactor = 50);

CREATE TABLE messages (
    room      uuid    NOT NULL,
    mid       uuid    NOT NULL,
    author    uuid    NOT NULL,
    -- When the log stored it: microseconds since 1970.
    posted_us bigint  NOT NULL,
    -- Nobody finds it any more; but a repeat of it would be one.
    gone      boolean NOT NULL,
    -- Folded: tokens with a space before, between and after them (crates/domain/src/search.rs).
    text      text COLLATE "C" NOT NULL,
    -- The words, and of runs without spaces every two neighbours; and the message's room (#), author (@) and what it has (!).
    terms     tsvector NOT NULL,
    PRIMARY KEY (room, mid)
);

-- The list of what is not yet in its place is read by every search: it is kept short.
CREATE INDEX messages_terms_idx ON messages USING gin (terms) WITH (gin_pending_list_limit = 512);
CREATE INDEX messages_time_idx ON messages (posted_us, room, mid);

-- Events that Postgres refused; `natterjack rebuild search` tries them again.
CREATE TABLE parked (
    stream  smallint NOT NULL,
    seq     bigint   NOT NULL,
    subject text     NOT NULL,
    error   text     NOT NULL,
    PRIMARY KEY (stream, seq)
);
