use refinery::{Migration, Report, Runner};
use tokio_postgres::{Client, error::SqlState};
use tracing::info;

use crate::{Error, Role};

/// The table that refinery keeps in each schema.
const HISTORY: &str = "refinery_schema_history";
/// The advisory lock of whoever migrates (any number of its own will do: "njmigrat").
const LOCK: i64 = 0x6e6a_6d69_6772_6174;
/// How long a migrator waits for another one, or for a table.
const LOCK_TIMEOUT: &str = "60s";

mod identity {
    #![allow(clippy::unwrap_used, reason = "the macro's own code; names are checked when it runs")]
    refinery::embed_migrations!("../../schema/identity");
}
mod log {
    #![allow(clippy::unwrap_used, reason = "as above")]
    refinery::embed_migrations!("../../schema/log");
}
mod media {
    #![allow(clippy::unwrap_used, reason = "as above")]
    refinery::embed_migrations!("../../schema/media");
}
mod read {
    #![allow(clippy::unwrap_used, reason = "as above")]
    refinery::embed_migrations!("../../schema/read");
}
mod search {
    #![allow(clippy::unwrap_used, reason = "as above")]
    refinery::embed_migrations!("../../schema/search");
}

/// The schemas; each has its own numbered migrations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schema {
    /// Accounts, credentials, login sessions: the source of truth.
    Identity,
    /// The second copy of the event log.
    Log,
    /// What was uploaded, and where it may be seen: the source of truth beside the object store.
    Media,
    /// Read models: disposable, and may exist under other names as well.
    Read,
    /// What is searched: as [`Schema::Read`].
    Search,
}

impl Schema {
    pub const ALL: [Self; 5] = [Self::Identity, Self::Log, Self::Media, Self::Read, Self::Search];

    /// Its usual name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Log => "log",
            Self::Media => "media",
            Self::Read => "read",
            Self::Search => "search",
        }
    }

    fn runner(self) -> Runner {
        match self {
            Self::Identity => identity::migrations::runner(),
            Self::Log => log::migrations::runner(),
            Self::Media => media::migrations::runner(),
            Self::Read => read::migrations::runner(),
            Self::Search => search::migrations::runner(),
        }
    }

    /// What a role may do with its tables; nothing if empty.
    const fn rights(self, role: Role) -> &'static str {
        match (self, role) {
            (_, Role::Migrator) | (Self::Identity | Self::Media, Role::Projector) => "",
            (Self::Identity | Self::Media, Role::Front) | (Self::Log, Role::Projector) => {
                "SELECT, INSERT, UPDATE, DELETE"
            }
            (Self::Log | Self::Read | Self::Search, Role::Front) => "SELECT",
            (Self::Read | Self::Search, Role::Projector) => "SELECT, INSERT, UPDATE, DELETE, TRUNCATE",
        }
    }
}

/// Why a migration failed. Each migration is one transaction: those before it stay applied.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    #[error(transparent)]
    Database(#[from] Error),
    #[error("another migration has been running for longer than {LOCK_TIMEOUT}")]
    Busy,
    #[error("the roles are missing or not granted to this user: make them with a superuser first")]
    Roles(#[source] tokio_postgres::Error),
    #[error("{0:?} is not a schema name of a-z, 0-9 and _")]
    Name(String),
    #[error("the migrations of schema {schema} failed")]
    Migration {
        schema: String,
        #[source]
        source: Box<refinery::Error>,
    },
}

impl From<tokio_postgres::Error> for MigrateError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error.into())
    }
}

/// Brings every schema up to date and grants the roles what they need. Answers what was applied.
///
/// One migrator at a time: a second one waits, bounded. Everything belongs to [`Role::Migrator`]
/// afterwards; connect as that role or as a superuser. Not cancel safe: drop the client as well.
pub async fn migrate(client: &mut Client) -> Result<Vec<String>, MigrateError> {
    begin(client).await?;
    let mut applied = Vec::new();
    let mut result = Ok(());
    for schema in Schema::ALL {
        result = run(client, schema, schema.name(), &mut applied).await;
        if result.is_err() {
            break;
        }
    }
    end(client).await?;
    result.map(|()| applied)
}

/// As [`migrate`], for one schema, made under the name `name` (`read_next`) if it does not exist.
pub async fn migrate_schema(
    client: &mut Client,
    schema: Schema,
    name: &str,
) -> Result<Vec<String>, MigrateError> {
    check_name(name)?;
    begin(client).await?;
    let mut applied = Vec::new();
    let result = run(client, schema, name, &mut applied).await;
    end(client).await?;
    result.map(|()| applied)
}

/// Grants the roles what they may do with a schema's tables, those that exist and those to come.
///
/// [`migrate`] and [`migrate_schema`] do it already.
pub async fn grant(client: &Client, schema: Schema, name: &str) -> Result<(), MigrateError> {
    check_name(name)?;
    let owner = Role::Migrator.name();
    client.batch_execute(&format!("REVOKE ALL ON SCHEMA {name} FROM PUBLIC")).await?;
    for role in [Role::Front, Role::Projector] {
        let (rights, role) = (schema.rights(role), role.name());
        if rights.is_empty() {
            continue;
        }
        let defaults = format!("ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {name} GRANT");
        let grants = format!(
            "GRANT USAGE ON SCHEMA {name} TO {role};
             GRANT {rights} ON ALL TABLES IN SCHEMA {name} TO {role};
             GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {name} TO {role};
             {defaults} {rights} ON TABLES TO {role};
             {defaults} USAGE, SELECT ON SEQUENCES TO {role};
             REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON {name}.{HISTORY} FROM {role};"
        );
        client.batch_execute(&grants).await?;
    }
    Ok(())
}

/// The migrations that are not applied yet, in all schemas; for checks before serving.
pub async fn pending(client: &Client) -> Result<Vec<String>, Error> {
    let mut missing = Vec::new();
    for schema in Schema::ALL {
        missing.extend(pending_in(client, schema, schema.name()).await?);
    }
    Ok(missing)
}

/// As [`pending`], for one schema: the role must have rights on it.
pub async fn pending_in(client: &Client, schema: Schema, name: &str) -> Result<Vec<String>, Error> {
    let table = format!("{name}.{HISTORY}");
    let exists: bool = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&table]).await?.get(0);
    let mut applied: Vec<i32> = Vec::new();
    if exists {
        let rows = client.query(&format!("SELECT version FROM {table}"), &[]).await?;
        applied.extend(rows.iter().map(|row| row.get::<_, i32>(0)));
    }
    let runner = schema.runner();
    let missing = runner.get_migrations().iter().filter(|m| !applied.contains(&m.version()));
    Ok(missing.map(|migration| label(name, migration)).collect())
}

async fn begin(client: &Client) -> Result<(), MigrateError> {
    let settings = format!("SET statement_timeout = 0; SET lock_timeout = '{LOCK_TIMEOUT}'");
    client.batch_execute(&settings).await?;
    if let Err(error) = client.execute("SELECT pg_advisory_lock($1)", &[&LOCK]).await {
        let busy = error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE);
        return Err(if busy { MigrateError::Busy } else { error.into() });
    }
    if let Err(error) = client.batch_execute(&format!("SET ROLE {}", Role::Migrator.name())).await {
        end(client).await?;
        return Err(if error.as_db_error().is_some() { MigrateError::Roles(error) } else { error.into() });
    }
    Ok(())
}

async fn end(client: &Client) -> Result<(), MigrateError> {
    client
        .batch_execute("RESET ROLE; RESET search_path; RESET lock_timeout; RESET statement_timeout")
        .await?;
    client.execute("SELECT pg_advisory_unlock($1)", &[&LOCK]).await?;
    Ok(())
}

async fn run(
    client: &mut Client,
    schema: Schema,
    name: &str,
    applied: &mut Vec<String>,
) -> Result<(), MigrateError> {
    let make = format!("CREATE SCHEMA IF NOT EXISTS {name}; SET search_path TO {name}");
    client.batch_execute(&make).await?;
    let report = schema
        .runner()
        .run_async(client)
        .await
        .map_err(|source| MigrateError::Migration { schema: name.to_owned(), source: Box::new(source) })?;
    applied.extend(report_labels(name, &report));
    grant(client, schema, name).await
}

fn report_labels(name: &str, report: &Report) -> Vec<String> {
    let labels = report.applied_migrations().iter().map(|migration| label(name, migration));
    labels.inspect(|label| info!(migration = label, "applied")).collect()
}

fn label(schema: &str, migration: &Migration) -> String {
    format!("{schema} {migration}")
}

/// A name that needs no quoting in SQL.
fn check_name(name: &str) -> Result<(), MigrateError> {
    let letters = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    let begins = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    if letters && begins && name.len() <= 63 && !name.starts_with("pg_") {
        return Ok(());
    }
    Err(MigrateError::Name(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schema_names() {
        for good in ["read", "read_next", "r2"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        let long = "r".repeat(64);
        for bad in ["", "Read", "read;drop", "2read", "pg_toast", "read next", "\"", &long] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
