//! Postgres, its clock, the migrations and the projector's checkpoints.

use std::time::{Duration, SystemTime};

use natterjack_database::{self as database, Client, Config};
use tokio::time::timeout;

use super::{Check, chain};

const WITHIN: Duration = Duration::from_secs(5);
/// Sessions and log lines are hard to follow beyond this; nothing is lost.
const CLOCK_WARNING: Duration = Duration::from_millis(500);
/// Tokens are refused or live too long.
const CLOCK_FAILURE: Duration = Duration::from_secs(30);
const NAMES: [&str; 4] = ["postgres", "postgres clock", "migrations", "parked events"];

#[derive(Default)]
pub struct Findings {
    pub checks: Vec<Check>,
    /// Of the read model, by stream; `None` when unknown.
    pub checkpoints: Option<Vec<u64>>,
}

pub async fn check(config: Option<&Config>) -> Findings {
    let Some(config) = config else {
        return failed("NATTERJACK_POSTGRES_URL is not set or not valid");
    };
    match timeout(WITHIN, database::connect(config)).await {
        Ok(Ok(client)) => examine(&client).await,
        Ok(Err(error)) => failed(&chain(&error)),
        Err(_) => failed("no answer within 5 s"),
    }
}

fn failed(detail: &str) -> Findings {
    let [first, rest @ ..] = NAMES;
    let hint = "is it running, and is NATTERJACK_POSTGRES_URL right? Live chat goes on without it";
    let mut checks = vec![Check::failed(first, detail, hint)];
    checks.extend(rest.map(|name| Check::skipped(name, "Postgres cannot be reached")));
    Findings { checks, checkpoints: None }
}

async fn examine(client: &Client) -> Findings {
    let [name, clock, migrations, parked] = NAMES;
    let before = SystemTime::now();
    let row =
        client.query_one("SELECT current_setting('server_version'), current_user::text, now()", &[]).await;
    let here = before + before.elapsed().unwrap_or_default() / 2;
    let row = match row {
        Ok(row) => row,
        Err(error) => return failed(&chain(&error)),
    };
    let (version, user): (String, String) = (row.get(0), row.get(1));
    let checks = vec![
        Check::ok(name, format!("version {version}, as {user}")),
        clock_check(clock, row.get(2), here),
        migration_check(migrations, client).await,
        parked_check(parked, client).await,
    ];
    Findings { checks, checkpoints: checkpoints(client).await }
}

async fn migration_check(name: &'static str, client: &Client) -> Check {
    match database::pending(client).await {
        Ok(pending) if pending.is_empty() => Check::ok(name, "all applied"),
        Ok(pending) => {
            Check::failed(name, format!("not applied: {}", pending.join(", ")), "run `natterjack migrate`")
        }
        Err(error) => Check::failed(name, chain(&error), "run `natterjack migrate`"),
    }
}

/// What the projector could not read, or Postgres would not store.
async fn parked_check(name: &'static str, client: &Client) -> Check {
    // Search parks what cannot be read as well.
    let sql = "SELECT count(*) FROM (SELECT stream, seq FROM read.parked UNION SELECT stream, seq FROM search.parked) p";
    let count = client.query_one(sql, &[]).await;
    match count.map(|row| row.get::<_, i64>(0)) {
        Ok(0) => Check::ok(name, "none"),
        Ok(count) => {
            let hint = "read.parked and search.parked say why; after the cause is mended, `natterjack rebuild` and \
                        `natterjack rebuild search` apply them";
            Check::warning(name, format!("{count} event(s) are parked"), hint)
        }
        Err(error) => Check::skipped(name, chain(&error)),
    }
}

async fn checkpoints(client: &Client) -> Option<Vec<u64>> {
    let rows = client.query("SELECT stream, seq FROM read.checkpoints", &[]).await.ok()?;
    let mut reached = Vec::new();
    for row in rows {
        let stream = usize::try_from(row.get::<_, i16>(0)).ok()?;
        if reached.len() <= stream {
            reached.resize(stream + 1, 0);
        }
        reached[stream] = u64::try_from(row.get::<_, i64>(1)).ok()?;
    }
    Some(reached)
}

/// Compares a server's clock with this machine's.
pub fn clock_check(name: &'static str, there: SystemTime, here: SystemTime) -> Check {
    let apart = there.duration_since(here).unwrap_or_else(|error| error.duration());
    let detail = format!("{} ms apart from this machine's", apart.as_millis());
    let hint = "let both synchronise their time (chrony, systemd-timesyncd)";
    match apart {
        apart if apart > CLOCK_FAILURE => Check::failed(name, detail, hint),
        apart if apart > CLOCK_WARNING => Check::warning(name, detail, hint),
        _ => Check::ok(name, detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Status;

    #[test]
    fn clocks_are_compared_either_way() {
        let now = SystemTime::now();
        for (seconds, expected) in [(0, Status::Ok), (2, Status::Warning), (60, Status::Failed)] {
            let off = Duration::from_secs(seconds);
            assert_eq!(clock_check("c", now + off, now).status, expected);
            assert_eq!(clock_check("c", now, now + off).status, expected);
        }
    }
}
