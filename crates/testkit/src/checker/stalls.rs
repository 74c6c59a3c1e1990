//! How long senders waited.

use std::collections::{HashMap, HashSet};

use super::{Report, is_transient};
use crate::history::{Happened, Line};

pub fn measure(histories: &[Vec<Line>], report: &mut Report) {
    let users: HashMap<&str, &str> = histories
        .iter()
        .filter_map(|history| Some((history.first()?.client.as_str(), super::user_of(history)?)))
        .collect();
    let mut lines: Vec<&Line> = histories.iter().flatten().collect();
    lines.sort_by_key(|line| line.at);
    let (mut waiting, mut settled) = (HashMap::new(), HashSet::new());
    // Since when somebody waited and nobody got anything.
    let mut quiet_since = 0;
    let (mut stall, mut wait) = (0, (0, String::new()));
    for line in lines {
        let user = users.get(line.client.as_str()).copied().unwrap_or_default();
        let done = match &line.happened {
            Happened::Send { cid, .. } if !settled.contains(&(user, cid.as_str())) => {
                if waiting.is_empty() {
                    quiet_since = line.at;
                }
                waiting.entry((user, cid.as_str())).or_insert(line.at);
                continue;
            }
            Happened::Refused { cid: Some(cid), code, .. } if !is_transient(*code) => {
                waiting.remove(&(user, cid.as_str()));
                continue;
            }
            Happened::Ack { cid, .. } => cid,
            Happened::Receive(event) if event.by.as_deref() == Some(user) => match &event.cid {
                Some(cid) => cid,
                None => continue,
            },
            _ => continue,
        };
        if let Some(since) = waiting.remove(&(user, done.as_str())) {
            settled.insert((user, done.as_str()));
            stall = stall.max(line.at - quiet_since);
            if line.at - since > wait.0 {
                wait = (line.at - since, format!("{done} of {}, sent at {since} ms", line.client));
            }
            quiet_since = line.at;
        }
    }
    let seconds = |ms: u64| std::time::Duration::from_millis(ms).as_secs_f64();
    (report.longest_stall_s, report.longest_wait_s) = (seconds(stall), seconds(wait.0));
    report.waited_longest = wait.1;
}
