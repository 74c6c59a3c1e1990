-- What rooms are for, what people are in them, and who was silenced or shut out.

ALTER TABLE rooms
    ADD kind        text    NOT NULL DEFAULT 'room' CHECK (kind IN ('room', 'direct', 'group_direct')),
    ADD topic       text,
    ADD description text,
    ADD avatar      text,
    -- Seconds between two messages of one member; 0 for no limit.
    ADD slow_mode_s bigint  NOT NULL DEFAULT 0,
    ADD read_only   boolean NOT NULL DEFAULT false,
    -- 0 for no limit of its own.
    ADD members_max bigint  NOT NULL DEFAULT 0,
    ADD archived    boolean NOT NULL DEFAULT false,
    -- Nobody is in it then.
    ADD deleted     boolean NOT NULL DEFAULT false;
ALTER TABLE rooms
    ALTER kind DROP DEFAULT, ALTER slow_mode_s DROP DEFAULT, ALTER read_only DROP DEFAULT,
    ALTER members_max DROP DEFAULT, ALTER archived DROP DEFAULT, ALTER deleted DROP DEFAULT;

DROP INDEX rooms_public_idx;
CREATE INDEX rooms_public_idx ON rooms (name_key, id)
    WHERE visibility = 'public' AND NOT archived AND NOT deleted;

ALTER TABLE members
    ADD role text NOT NULL DEFAULT 'member' CHECK (role IN ('owner', 'admin', 'moderator', 'member'));
ALTER TABLE members ALTER role DROP DEFAULT;
UPDATE members m SET role = 'owner' FROM rooms r WHERE r.id = m.room AND r.owner = m.user_id;

-- Also those that are over: the log says when they end, not that they have ended.
CREATE TABLE sanctions (
    room    uuid   NOT NULL,
    user_id uuid   NOT NULL,
    kind    text   NOT NULL CHECK (kind IN ('mute', 'ban')),
    -- Milliseconds since 1970; for good when null.
    until   bigint,
    by_user uuid   NOT NULL,
    reason  text,
    seq     bigint NOT NULL,
    at      text   NOT NULL,
    PRIMARY KEY (room, kind, user_id)
);
