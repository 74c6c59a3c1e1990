//! What people keep for themselves.

use deadpool_postgres::Transaction;
use natterjack_domain::{MessageId, RoomId, UserId, user::schedule::Stage};
use serde::Serialize;
use tokio::join;
use tokio_postgres::Error;
use uuid::Uuid;

use super::{cause, put};
use crate::{
    fold::{Changes, Kept, Scheduled},
    number::signed,
};

pub(super) async fn kept(work: &Transaction<'_>, changes: &Changes) -> Result<(), Error> {
    let kept = &changes.kept;
    let results = join!(
        marks(work, kept),
        delivered(work, kept),
        thread_marks(work, kept),
        thread_follows(work, kept),
        drafts(work, kept),
        drafts_gone(work, kept),
        saved(work, kept),
        saved_no_more(work, kept),
        notify(work, kept),
        quiet(work, kept),
        schedules(work, kept),
    );
    cause(results.into())
}

/// Reading moves a mark forward, marking as unread sets it back; a mark that is not there stands at 0.
async fn marks(work: &Transaction<'_>, kept: &Kept) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO read_marks (user_id, room, seq)
        SELECT user_id, room, greatest(k.least, least(k.most, coalesce(m.seq, 0)))
        FROM UNNEST($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[]) k (user_id, room, least, most)
        LEFT JOIN read_marks m USING (user_id, room)
        ON CONFLICT (user_id, room) DO UPDATE SET seq = EXCLUDED.seq WHERE read_marks.seq <> EXCLUDED.seq";
    if kept.marks.is_empty() {
        return Ok(());
    }
    let (users, rooms): (Vec<Uuid>, Vec<Uuid>) =
        kept.marks.keys().map(|(user, room)| (*user.as_uuid(), *room.as_uuid())).unzip();
    let (least, most): (Vec<i64>, Vec<i64>) =
        kept.marks.values().map(|shift| (signed(shift.least), signed(shift.most))).unzip();
    put(work, SQL, &[&users, &rooms, &least, &most]).await
}

async fn delivered(work: &Transaction<'_>, kept: &Kept) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO delivered_marks (user_id, room, seq)
        SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::bigint[])
        ON CONFLICT (user_id, room) DO UPDATE SET seq = EXCLUDED.seq WHERE delivered_marks.seq < EXCLUDED.seq";
    if kept.delivered.is_empty() {
        return Ok(());
    }
    let (users, rooms): (Vec<Uuid>, Vec<Uuid>) =
        kept.delivered.keys().map(|(user, room)| (*user.as_uuid(), *room.as_uuid())).unzip();
    let seqs: Vec<i64> = kept.delivered.values().map(|seq| signed(*seq)).collect();
    put(work, SQL, &[&users, &rooms, &seqs]).await
}

async fn thread_marks(work: &Transaction<'_>, kept: &Kept) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO thread_marks (user_id, room, thread, seq)
        SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[])
        ON CONFLICT (user_id, room, thread) DO UPDATE SET seq = EXCLUDED.seq
        WHERE thread_marks.seq < EXCLUDED.seq";
    if kept.thread_marks.is_empty() {
        return Ok(());
    }
    let mut columns = Places::default();
    kept.thread_marks.keys().for_each(|(user, room, thread)| columns.push(*user, *room, *thread));
    let seqs: Vec<i64> = kept.thread_marks.values().map(|seq| signed(*seq)).collect();
    put(work, SQL, &[&columns.users, &columns.rooms, &columns.threads, &seqs]).await
}

async fn thread_follows(work: &Transaction<'_>, kept: &Kept) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO thread_follows (user_id, room, thread, follows)
        SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::uuid[], $4::bool[])
        ON CONFLICT (user_id, room, thread) DO UPDATE SET follows = EXCLUDED.follows";
    if kept.thread_follows.is_empty() {
        return Ok(());
    }
    let mut columns = Places::default();
    kept.thread_follows.keys().for_each(|(user, room, thread)| columns.push(*user, *room, *thread));
    let follows: Vec<bool> = kept.thread_follows.values().copied().collect();
    put(work, SQL, &[&columns.users, &columns.rooms, &columns.threads, &follows]).await
}

async fn drafts(work: &Transaction<'_>, kept: &Kept) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO drafts (user_id, room, thread, body, saved_seq, saved_at)
        SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::bigint[], $6::text[])
        ON CONFLICT (user_id, room, thread)
        DO UPDATE SET body = EXCLUDED.body, saved_seq = EXCLUDED.saved_seq, saved_at = EXCLUDED.saved_at";
    let mut columns = Places::default();
    let (mut bodies, mut seqs, mut times) = (vec![], vec![], vec![]);
    for ((user, room, thread), draft) in &kept.drafts {
        let Some(draft) = draft else { continue };
        columns.push(*user, *room, *thread);
        bodies.push(draft.body.as_str());
        seqs.push(signed(draft.saved.seq));
        times.push(draft.saved.at.as_str());
    }
    if bodies.is_empty() {
        return Ok(());
    }
    put(work, SQL, &[&columns.users, &columns.rooms, &columns.threads, &bodies, &seqs, &times]).await
}

async fn drafts_gone(work: &Transaction<'_>, kept: &Kept) -> Result<(), Error> {
    const SQL: &str =
        "DELETE FROM drafts d USING UNNEST($1::uuid[], $2::uuid[], $3::uuid[]) k (user_id, room, thread)
        WHERE d.user_id = k.user_id AND d.room = k.room AND d.thread = k.thread";
    let mut columns = Places::default();
    for ((user, room, thread), _) in kept.drafts.iter().filter(|(_, draft)| draft.is_none()) {
        columns.push(*user, *room, *thread);
    }
    if columns.users.is_empty() {
        return Ok(());
    }
    put(work, SQL, &[&columns.users, &columns.rooms, &columns.threads]).await
}

async fn saved(work: &Transaction<'_>, kept: &Kept) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO saved_messages (user_id, mid, room, saved_seq, saved_at)
        SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::text[])
        ON CONFLICT (user_id, mid)
        DO UPDATE SET room = EXCLUDED.room, saved_seq = EXCLUDED.saved_seq, saved_at = EXCLUDED.saved_at";
    let (mut users, mut mids, mut rooms) = (vec![], vec![], vec![]);
    let (mut seqs, mut times) = (vec![], vec![]);
    for ((user, mid), saved) in &kept.saved {
        let Some(saved) = saved else { continue };
        users.push(*user.as_uuid());
        mids.push(*mid.as_uuid());
        rooms.push(*saved.room.as_uuid());
        seqs.push(signed(saved.saved.seq));
        times.push(saved.saved.at.as_str());
    }
    if users.is_empty() {
        return Ok(());
    }
    put(work, SQL, &[&users, &mids, &rooms, &seqs, &times]).await
}

async fn saved_no_more(work: &Transaction<'_>, kept: &Kept) -> Result<(), Error> {
    const SQL: &str = "DELETE FROM saved_messages s USING UNNEST($1::uuid[], $2::uuid[]) k (user_id, mid)
        WHERE s.user_id = k.user_id AND s.mid = k.mid";
    let gone = kept.saved.iter().filter(|(_, saved)| saved.is_none());
    let (users, mids): (Vec<Uuid>, Vec<Uuid>) =
        gone.map(|((user, mid), _)| (*user.as_uuid(), *mid.as_uuid())).unzip();
    if users.is_empty() {
        return Ok(());
    }
    put(work, SQL, &[&users, &mids]).await
}

async fn notify(work: &Transaction<'_>, kept: &Kept) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO notify_levels (user_id, room, level)
        SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::text[])
        ON CONFLICT (user_id, room) DO UPDATE SET level = EXCLUDED.level";
    if kept.notify.is_empty() {
        return Ok(());
    }
    let (users, rooms): (Vec<Uuid>, Vec<Uuid>) =
        kept.notify.keys().map(|(user, room)| (*user.as_uuid(), *room.as_uuid())).unzip();
    let levels: Vec<&str> = kept.notify.values().map(|level| level.as_str()).collect();
    put(work, SQL, &[&users, &rooms, &levels]).await
}

async fn quiet(work: &Transaction<'_>, kept: &Kept) -> Result<(), Error> {
    const SQL: &str = "INSERT INTO do_not_disturb (user_id, dnd)
        SELECT * FROM UNNEST($1::uuid[], $2::text[])
        ON CONFLICT (user_id) DO UPDATE SET dnd = EXCLUDED.dnd";
    if kept.quiet.is_empty() {
        return Ok(());
    }
    let users: Vec<Uuid> = kept.quiet.keys().map(|user| *user.as_uuid()).collect();
    let texts: Vec<String> = kept.quiet.values().map(json).collect();
    put(work, SQL, &[&users, &texts]).await
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("it is plain data")
}

/// A schedule that was there keeps its plan unless there is a new one.
async fn schedules(work: &Transaction<'_>, kept: &Kept) -> Result<(), Error> {
    const PLANNED: &str = "INSERT INTO schedules (user_id, sid, room, at, body, reply_to, thread, mentions, stage,
                                                 seq, code)
        SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::uuid[], $4::bigint[], $5::text[], $6::uuid[],
                             $7::uuid[], $8::text[], $9::text[], $10::bigint[], $11::integer[])
        ON CONFLICT (user_id, sid) DO UPDATE SET room = EXCLUDED.room, at = EXCLUDED.at, body = EXCLUDED.body,
            reply_to = EXCLUDED.reply_to, thread = EXCLUDED.thread, mentions = EXCLUDED.mentions, stage = EXCLUDED.stage,
            seq = EXCLUDED.seq, code = EXCLUDED.code";
    const MOVED: &str = "UPDATE schedules s SET stage = k.stage, seq = k.seq, code = k.code
        FROM UNNEST($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::integer[])
             k (user_id, sid, stage, seq, code)
        WHERE s.user_id = k.user_id AND s.sid = k.sid";
    let (mut planned, mut moved) = (Moves::default(), Moves::default());
    let (mut rooms, mut times, mut bodies) = (vec![], vec![], vec![]);
    let (mut replies, mut threads, mut mentions) = (vec![], vec![], vec![]);
    for ((user, sid), Scheduled { plan, stage }) in &kept.schedules {
        let Some(plan) = plan else {
            moved.push(*user, *sid.as_uuid(), *stage);
            continue;
        };
        planned.push(*user, *sid.as_uuid(), *stage);
        rooms.push(*plan.room.as_uuid());
        times.push(signed(plan.at));
        bodies.push(plan.body.as_str());
        replies.push(plan.reply_to.map(Uuid::from));
        threads.push(plan.thread.map(Uuid::from));
        mentions.push((!plan.mentions.is_empty()).then(|| json(&plan.mentions)));
    }
    if !planned.users.is_empty() {
        let Moves { users, sids, stages, seqs, codes } = &planned;
        let columns: &super::Columns<'_> =
            &[users, sids, &rooms, &times, &bodies, &replies, &threads, &mentions, stages, seqs, codes];
        put(work, PLANNED, columns).await?;
    }
    if !moved.users.is_empty() {
        let Moves { users, sids, stages, seqs, codes } = &moved;
        put(work, MOVED, &[users, sids, stages, seqs, codes]).await?;
    }
    Ok(())
}

#[derive(Default)]
struct Moves {
    users: Vec<Uuid>,
    sids: Vec<Uuid>,
    stages: Vec<&'static str>,
    seqs: Vec<Option<i64>>,
    codes: Vec<Option<i32>>,
}

impl Moves {
    fn push(&mut self, user: UserId, sid: Uuid, stage: Stage) {
        let (word, seq, code) = match stage {
            Stage::Pending => ("pending", None, None),
            Stage::Begun => ("begun", None, None),
            Stage::Cancelled => ("cancelled", None, None),
            Stage::Sent { seq } => ("sent", Some(signed(seq)), None),
            Stage::Failed { code } => ("failed", None, Some(code.into())),
        };
        self.users.push(*user.as_uuid());
        self.sids.push(sid);
        self.stages.push(word);
        self.seqs.push(seq);
        self.codes.push(code);
    }
}

#[derive(Default)]
struct Places {
    users: Vec<Uuid>,
    rooms: Vec<Uuid>,
    threads: Vec<Uuid>,
}

impl Places {
    fn push(&mut self, user: UserId, room: RoomId, thread: MessageId) {
        self.users.push(*user.as_uuid());
        self.rooms.push(*room.as_uuid());
        self.threads.push(*thread.as_uuid());
    }
}
