-- The second copy of the event log. Every message of every stream has its row, whether it could be read or not;
-- a rebuild of the read models reads from here and never writes here.

CREATE TABLE events (
    stream smallint NOT NULL,
    seq    bigint   NOT NULL,
    -- The room or the person that the subject names; null when the subject is none of the log's.
    topic  uuid,
    -- 0 room state, 1 room timeline, 2 a person's feed, 3 none of these.
    kind   smallint NOT NULL CHECK (kind BETWEEN 0 AND 3),
    -- Whether a front wrote it; the body of any other cannot be trusted to be JSON.
    known  boolean  NOT NULL,
    -- When the log stored it, in the log's own words: nanoseconds, which timestamptz would cut off.
    ts     text     NOT NULL,
    body   bytea    NOT NULL,
    PRIMARY KEY (stream, seq),
    CHECK ((topic IS NULL) = (kind = 3))
);

-- A topic lives in one stream for ever: the order of its events is this index's.
CREATE UNIQUE INDEX events_topic_key ON events (topic, seq);
-- What a room's rules depend on, without wading through what is said in it.
CREATE INDEX events_state_idx ON events (topic, seq) WHERE kind = 0;

-- Up to where `events` holds each stream, without a gap.
CREATE TABLE checkpoints (
    stream     smallint PRIMARY KEY,
    epoch      text        NOT NULL,
    seq        bigint      NOT NULL CHECK (seq >= 0),
    updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
