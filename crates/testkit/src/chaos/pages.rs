//! The product's own client library as further clients, under Node: `web/chaos/client.ts` says how one talks to it.

use std::{
    collections::BTreeMap,
    path::Path,
    process::Stdio,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use natterjack_domain::RoomId;
use serde::Deserialize;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use super::{Course, crowd::ARRIVE_WITHIN};
use crate::Account;

pub struct Pages {
    child: Child,
    words: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

/// What it says in the end.
#[derive(Deserialize)]
struct Last {
    faults: Vec<String>,
}

const PAUSE_MS: [u64; 2] = [50, 800];

impl Pages {
    /// Has one page for each account chat in these rooms. The library is built first, where it has changed.
    pub async fn begin(
        accounts: &[Account],
        rooms: &[RoomId],
        fronts: &[String],
        histories: &Path,
        seed: u64,
        course: &Course,
    ) -> anyhow::Result<Self> {
        let began = (SystemTime::now() - course.began.elapsed()).duration_since(UNIX_EPOCH)?;
        let accounts = accounts.iter().map(
            |account| json!({ "login": account.username, "password": account.password, "rooms": rooms }),
        );
        let run = json!({
            "seed": seed % (1 << 32), "accounts": accounts.collect::<Vec<_>>(), "fronts": fronts,
            "began": u64::try_from(began.as_millis())?, "histories": histories, "pause_ms": PAUSE_MS,
        });
        let mut child = Command::new("npm")
            .args(["run", "--silent", "chaos"])
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Of its own: a Ctrl-C is for this process, which ends the other one in good order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .context("starting the client library under Node")?;
        let words = child.stdin.take().context("its input")?;
        let answers = BufReader::new(child.stdout.take().context("its output")?).lines();
        let mut pages = Self { child, words, answers };
        pages.say(&run.to_string()).await?;
        Ok(pages)
    }

    async fn say(&mut self, line: &str) -> anyhow::Result<()> {
        self.words.write_all(format!("{line}\n").as_bytes()).await.context("the pages have ended")
    }

    /// Asks all pages for something and waits until they have done it.
    async fn ask(&mut self, line: &str) -> anyhow::Result<()> {
        self.say(line).await?;
        let answer = timeout(ARRIVE_WITHIN, self.answers.next_line()).await.context("too late")??;
        answer.context("they have ended")?;
        Ok(())
    }

    pub async fn settle(&mut self) -> anyhow::Result<()> {
        self.ask("settle").await
    }

    pub async fn read(&mut self, heads: &BTreeMap<RoomId, u64>) -> anyhow::Result<()> {
        self.ask(&format!("read {}", serde_json::to_string(heads)?)).await
    }

    /// What is shown that is not so; while the fronts still serve, since each page asks them.
    pub async fn end(mut self) -> anyhow::Result<Vec<String>> {
        drop(self.words);
        let last = timeout(ARRIVE_WITHIN, self.answers.next_line()).await.context("too late")??;
        self.child.wait().await?;
        let last: Last = serde_json::from_str(&last.context("they ended without a word")?)?;
        Ok(last.faults)
    }
}
