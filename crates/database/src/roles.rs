use natterjack_runtime::config::Secret;
use tokio_postgres::Client;

use crate::Error;

/// The roles of the product's components.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Owns all schemas; changes their form.
    Migrator,
    /// Reads and writes `identity` and `media`, reads `log`, `read` and `search`.
    Front,
    /// Reads and writes `log`, `read` and `search`.
    Projector,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Migrator, Self::Front, Self::Projector];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Migrator => "natterjack_migrator",
            Self::Front => "natterjack_front",
            Self::Projector => "natterjack_projector",
        }
    }
}

/// What each role logs in with.
#[derive(Debug, Clone)]
pub struct Passwords {
    pub migrator: Secret,
    pub front: Secret,
    pub projector: Secret,
}

impl Passwords {
    pub fn of(&self, role: Role) -> &Secret {
        match role {
            Role::Migrator => &self.migrator,
            Role::Front => &self.front,
            Role::Projector => &self.projector,
        }
    }
}

/// Makes the roles or gives them these passwords, and lets the migrator make schemas in the database
/// that `admin` is connected to. Repeating it is harmless.
///
/// `admin` is a superuser, or may create roles. Roles belong to the whole server: every database of
/// one server shares them and their passwords.
pub async fn ensure_roles(admin: &mut Client, passwords: &Passwords) -> Result<(), Error> {
    let work = admin.transaction().await?;
    // A statement that holds a password must not reach the server's log; only a superuser may say so.
    let row = work.query_one("SELECT rolsuper FROM pg_roles WHERE rolname = current_user", &[]).await?;
    if row.get(0) {
        work.batch_execute(
            "SET LOCAL log_statement = 'none'; SET LOCAL log_min_error_statement = 'panic';
             SET LOCAL log_min_duration_statement = -1;
             LOCK TABLE pg_authid IN SHARE ROW EXCLUSIVE MODE",
        )
        .await?;
    }
    for role in Role::ALL {
        ensure_role(&work, role, passwords.of(role)).await?;
    }
    let grant = "SELECT format('GRANT CONNECT, CREATE ON DATABASE %I TO %I', current_database(), $1::text)";
    let grant: String = work.query_one(grant, &[&Role::Migrator.name()]).await?.get(0);
    work.batch_execute(&grant).await?;
    work.commit().await?;
    Ok(())
}

async fn ensure_role(
    work: &tokio_postgres::Transaction<'_>,
    role: Role,
    password: &Secret,
) -> Result<(), Error> {
    let known = "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)";
    let known: bool = work.query_one(known, &[&role.name()]).await?.get(0);
    let verb = if known { "ALTER" } else { "CREATE" };
    let statement =
        "SELECT format('%s ROLE %I LOGIN NOCREATEDB NOCREATEROLE PASSWORD %L', $1::text, $2::text, $3::text)";
    let statement = work.query_one(statement, &[&verb, &role.name(), &password.expose()]).await?;
    work.batch_execute(statement.get(0)).await?;
    Ok(())
}
