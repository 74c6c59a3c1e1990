//! `natterjack migrate`.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use natterjack_database::{self as database, Passwords};
use natterjack_runtime::config::Reader;

use crate::{
    Target,
    environment::{ADMIN_URL, Environment, MIGRATOR_URL, ROLE_PASSWORDS},
};

pub async fn run(target: &Target) -> anyhow::Result<ExitCode> {
    let mut reader = Environment::load(target)?.reader();
    let admin = reader.optional_secret(ADMIN_URL);
    let owner = reader.optional_secret(MIGRATOR_URL);
    let passwords = admin.is_some().then(|| read_passwords(&mut reader));
    let log = natterjack_eventlog::Config::read(&mut reader);
    reader.finish()?;
    let Some(url) = admin.or(owner) else {
        bail!("neither {ADMIN_URL} (makes the roles too) nor {MIGRATOR_URL} is set: no database to migrate");
    };
    let config = database::Config::from_url(url.expose()).context("the URL of the database is not valid")?;
    let mut client = database::connect(&config).await.context("connecting to Postgres failed")?;
    if let Some(passwords) = passwords {
        database::ensure_roles(&mut client, &passwords).await.context("making the roles failed")?;
    }
    report(&database::migrate(&mut client).await?);
    natterjack_eventlog::provision(&log).await.context("setting up the streams failed")?;
    println!("streams: {} in place", log.streams);
    Ok(ExitCode::SUCCESS)
}

fn read_passwords(reader: &mut Reader) -> Passwords {
    let [migrator, front, projector] = ROLE_PASSWORDS.map(|name| reader.secret(name));
    Passwords { migrator, front, projector }
}

fn report(applied: &[String]) {
    for migration in applied {
        println!("applied {migration}");
    }
    println!("database: {} migrations applied, all in place", applied.len());
}
