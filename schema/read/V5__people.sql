-- How people show themselves. Apart from `people`, so that no row depends on whether the registration came first.

CREATE TABLE profiles (
    user_id        uuid PRIMARY KEY,
    nickname       text,
    -- The nickname as it is looked for, folded by the projector so that no server's locale has a say in it.
    nickname_key   text COLLATE "C",
    avatar         text,
    bio            text,
    status_text    text,
    status_emoji   text,
    status_until   bigint,
    -- When the account was closed.
    deactivated_at text
) WITH (fillfactor = 80);

CREATE INDEX profiles_nickname_idx ON profiles (nickname_key, user_id);
