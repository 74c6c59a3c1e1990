//! `natterjack rebuild` and `natterjack verify`.

use std::process::ExitCode;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use natterjack_database::{self as database, Pool};
use natterjack_projection::{self as projection, Progress, Report};

use crate::{
    Target,
    environment::{Environment, MIGRATOR_URL},
};

#[derive(clap::Args)]
pub struct Options {
    #[arg(value_enum, default_value_t = What::Read)]
    what: What,
    #[command(flatten)]
    target: Target,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum What {
    /// The read models.
    Read,
    /// What is searched.
    Search,
}

pub async fn rebuild(options: &Options) -> anyhow::Result<ExitCode> {
    let pool = pool(&options.target)?;
    let bar = bar();
    let name = match options.what {
        What::Read => {
            projection::rebuild(&pool, |progress| show(&bar, progress)).await?;
            "the read models were"
        }
        What::Search => {
            projection::rebuild_search(&pool, |progress| show(&bar, progress)).await?;
            "what is searched was"
        }
    };
    bar.finish_and_clear();
    println!("{name} rebuilt from {} events", bar.position());
    Ok(ExitCode::SUCCESS)
}

pub async fn verify(target: &Target) -> anyhow::Result<ExitCode> {
    let pool = pool(target)?;
    let bar = bar();
    let report = projection::verify(&pool, |progress| show(&bar, progress)).await?;
    bar.finish_and_clear();
    print(&report);
    if report.is_good() {
        println!("the read models, and what is searched, are what the log says");
        Ok(ExitCode::SUCCESS)
    } else {
        println!(
            "the tables differ from the log: `natterjack rebuild`, or `natterjack rebuild search`, makes them again"
        );
        Ok(ExitCode::FAILURE)
    }
}

/// As the owner of the schemas.
fn pool(target: &Target) -> anyhow::Result<Pool> {
    let mut reader = Environment::load(target)?.reader();
    let url = reader.optional_secret(MIGRATOR_URL);
    natterjack_eventlog::Config::read(&mut reader);
    reader.finish()?;
    let url =
        url.with_context(|| format!("{MIGRATOR_URL} is not set: only the schemas' owner can replay"))?;
    let config = database::Config::from_url(url.expose())
        .with_context(|| format!("{MIGRATOR_URL} is not a valid URL"))?;
    Ok(database::pool(&config))
}

/// Seen on a terminal only.
fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} events, {per_sec}, {eta} left");
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn show(bar: &ProgressBar, progress: Progress) {
    bar.set_length(progress.total);
    bar.set_position(progress.done);
}

fn print(report: &Report) {
    for table in &report.tables {
        let verdict = if table.equal { "equal" } else { "DIFFERENT" };
        let name = format!("{}.{}", table.schema, table.table);
        println!("{name:<20} {:>10} rows, {:>10} expected: {verdict}", table.rows, table.expected_rows);
    }
    for stream in &report.streams {
        let missing = stream.log_seq.saturating_sub(stream.events);
        let note = if missing == 0 { String::new() } else { format!(", {missing} MISSING") };
        println!(
            "stream {}: read up to {} of {} events{note}",
            stream.stream, stream.read_seq, stream.log_seq
        );
    }
}
