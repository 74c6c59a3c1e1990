-- What people keep for themselves. All of it comes from people's own feeds; what it speaks of (rooms, messages) lies in
-- other streams, perhaps, and is put together when it is read.

-- In rooms of two: up to where what the room holds has reached one of the person's devices.
CREATE TABLE delivered_marks (
    user_id uuid   NOT NULL,
    room    uuid   NOT NULL,
    seq     bigint NOT NULL,
    PRIMARY KEY (user_id, room)
) WITH (fillfactor = 80);

CREATE TABLE thread_marks (
    user_id uuid   NOT NULL,
    room    uuid   NOT NULL,
    thread  uuid   NOT NULL,
    seq     bigint NOT NULL,
    PRIMARY KEY (user_id, room, thread)
) WITH (fillfactor = 80);

-- What people have said about following; who writes in a thread follows it without a word.
CREATE TABLE thread_follows (
    user_id uuid    NOT NULL,
    room    uuid    NOT NULL,
    thread  uuid    NOT NULL,
    follows boolean NOT NULL,
    PRIMARY KEY (user_id, room, thread)
);

-- What of the rooms' own rows makes people follow a thread.
CREATE INDEX messages_replied_idx ON messages (author, room, thread) WHERE thread IS NOT NULL;
CREATE INDEX mentions_thread_idx ON mentions (user_id, room, thread) WHERE thread IS NOT NULL;

CREATE TABLE drafts (
    user_id   uuid   NOT NULL,
    room      uuid   NOT NULL,
    -- The nil id for a draft in the room itself.
    thread    uuid   NOT NULL,
    body      text   NOT NULL,
    saved_seq bigint NOT NULL,
    saved_at  text   NOT NULL,
    PRIMARY KEY (user_id, room, thread)
) WITH (fillfactor = 80);

CREATE TABLE saved_messages (
    user_id   uuid   NOT NULL,
    mid       uuid   NOT NULL,
    room      uuid   NOT NULL,
    saved_seq bigint NOT NULL,
    saved_at  text   NOT NULL,
    PRIMARY KEY (user_id, mid)
);

CREATE INDEX saved_messages_seq_idx ON saved_messages (user_id, saved_seq);

CREATE TABLE notify_levels (
    user_id uuid NOT NULL,
    room    uuid NOT NULL,
    level   text NOT NULL CHECK (level IN ('all', 'mentions', 'nothing')),
    PRIMARY KEY (user_id, room)
);

CREATE TABLE do_not_disturb (
    user_id uuid PRIMARY KEY,
    -- As `user.dnd_changed` bears it.
    dnd     text NOT NULL
);

-- Messages to be sent later. Those that were sent, failed or were cancelled stay, so that nothing brings them back.
CREATE TABLE schedules (
    user_id  uuid    NOT NULL,
    sid      uuid    NOT NULL,
    room     uuid    NOT NULL,
    -- Milliseconds since 1970.
    at       bigint  NOT NULL,
    body     text    NOT NULL,
    reply_to uuid,
    thread   uuid,
    -- JSON as the event has it.
    mentions text,
    stage    text    NOT NULL CHECK (stage IN ('pending', 'begun', 'cancelled', 'sent', 'failed')),
    -- Of the message, in the room's stream.
    seq      bigint,
    code     integer,
    PRIMARY KEY (user_id, sid),
    CHECK ((seq IS NOT NULL) = (stage = 'sent')),
    CHECK ((code IS NOT NULL) = (stage = 'failed'))
) WITH (fillfactor = 80);

CREATE INDEX schedules_due_idx ON schedules (at, user_id) WHERE stage IN ('pending', 'begun');
