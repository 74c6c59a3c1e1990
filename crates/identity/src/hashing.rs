//! Password hashing: Argon2id on a bounded number of blocking threads, behind a bounded queue.

use std::{sync::Arc, time::Duration};

use argon2::{
    ARGON2ID_IDENT, Argon2, Params, PasswordHash, PasswordHasher as _, PasswordVerifier as _, password_hash,
};
use metrics::{counter, gauge, histogram};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::{JoinError, spawn_blocking},
    time::Instant,
};

use crate::{
    Password,
    metrics::{HASH_REFUSED_TOTAL, HASH_SECONDS, HASHES_WAITING},
};

/// What one hash costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cost(Params);

/// Numbers that Argon2 does not take together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Argon2 needs at least 8 KiB of memory for each lane")]
pub struct InvalidCost;

impl Cost {
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, InvalidCost> {
        Params::new(memory_kib, passes, lanes, None).map(Self).map_err(|_| InvalidCost)
    }

    /// The least that Argon2 takes: worthless as protection, quick in tests.
    pub fn least() -> Self {
        Self::new(Params::MIN_M_COST, Params::MIN_T_COST, Params::MIN_P_COST)
            .expect("the least values fit together")
    }

    fn made(&self, hash: &PasswordHash) -> bool {
        let same = |p: Params| {
            (p.m_cost(), p.t_cost(), p.p_cost()) == (self.0.m_cost(), self.0.t_cost(), self.0.p_cost())
        };
        hash.algorithm == ARGON2ID_IDENT && Params::try_from(hash).is_ok_and(same)
    }
}

impl Default for Cost {
    /// 19 MiB, 2 passes, 1 lane.
    fn default() -> Self {
        Self(Params::default())
    }
}

/// How many hashes there may be at once, and what each costs.
#[derive(Debug, Clone)]
pub struct HashingConfig {
    pub cost: Cost,
    /// Hashes computed at once; each takes one thread and the memory of its cost.
    pub concurrency: usize,
    /// Hashes that may wait; one more is refused.
    pub max_waiting: usize,
    /// What a refused caller is told to wait.
    pub retry_after: Duration,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum HashError {
    #[error("too many passwords are being checked")]
    Busy { retry_after: Duration },
    #[error("Argon2 failed")]
    Argon2(#[source] password_hash::Error),
    #[error("the thread of a hash ended")]
    Thread(#[source] JoinError),
}

/// The outcome of checking a password.
pub(crate) enum Checked {
    Wrong,
    Right {
        /// A hash at today's cost, when the stored one was made at another.
        renewed: Option<String>,
    },
}

pub(crate) struct Hasher {
    argon2: Argon2<'static>,
    cost: Cost,
    /// Checked in place of the hash of an account that does not exist, so that both take the same time.
    decoy: String,
    /// One for each hash that is computed or waits.
    places: Arc<Semaphore>,
    /// One for each hash that is computed.
    threads: Arc<Semaphore>,
    retry_after: Duration,
}

impl Hasher {
    pub(crate) fn new(config: &HashingConfig) -> Self {
        let argon2 = Argon2::from(config.cost.0.clone());
        let nobody: [u8; 32] = rand::random();
        let decoy = hash(&argon2, &nobody).expect("a short password, and the cost was checked");
        Self {
            argon2,
            cost: config.cost.clone(),
            decoy,
            places: Arc::new(Semaphore::new(config.concurrency + config.max_waiting)),
            threads: Arc::new(Semaphore::new(config.concurrency)),
            retry_after: config.retry_after,
        }
    }

    /// A hash to be stored, with its parameters and a fresh salt.
    pub(crate) async fn hash(&self, password: &Password) -> Result<String, HashError> {
        let (argon2, password) = (self.argon2.clone(), password.clone());
        self.compute(move || hash(&argon2, password.as_bytes())).await
    }

    /// Checks a password against the stored hash of an account, or against none.
    pub(crate) async fn check(
        &self,
        password: &Password,
        stored: Option<String>,
    ) -> Result<Checked, HashError> {
        let (argon2, cost, password) = (self.argon2.clone(), self.cost.clone(), password.clone());
        let exists = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.decoy.clone());
        self.compute(move || {
            let parsed = PasswordHash::new(&stored).map_err(|_| password_hash::Error::EncodingInvalid)?;
            match argon2.verify_password(password.as_bytes(), &parsed) {
                Ok(()) if exists && cost.made(&parsed) => Ok(Checked::Right { renewed: None }),
                Ok(()) if exists => Ok(Checked::Right { renewed: Some(hash(&argon2, password.as_bytes())?) }),
                Ok(()) | Err(password_hash::Error::PasswordInvalid) => Ok(Checked::Wrong),
                Err(error) => Err(error),
            }
        })
        .await
    }

    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, password_hash::Error> + Send + 'static,
    ) -> Result<T, HashError> {
        let permits = self.permits().await?;
        let start = Instant::now();
        let done = spawn_blocking(move || {
            // Held until the thread is free, even if the caller has gone away.
            let _permits = permits;
            work()
        });
        let result = done.await.map_err(HashError::Thread)?;
        histogram!(HASH_SECONDS).record(start.elapsed());
        result.map_err(HashError::Argon2)
    }

    async fn permits(&self) -> Result<[OwnedSemaphorePermit; 2], HashError> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            counter!(HASH_REFUSED_TOTAL).increment(1);
            return Err(HashError::Busy { retry_after: self.retry_after });
        };
        let waiting = Waiting::begin();
        let thread = Arc::clone(&self.threads).acquire_owned().await;
        drop(waiting);
        Ok([place, thread.expect("the semaphore is never closed")])
    }
}

/// Counts one who waits, also when the wait is given up.
struct Waiting;

impl Waiting {
    fn begin() -> Self {
        gauge!(HASHES_WAITING).increment(1.0);
        Self
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        gauge!(HASHES_WAITING).decrement(1.0);
    }
}

fn hash(argon2: &Argon2<'_>, password: &[u8]) -> Result<String, password_hash::Error> {
    argon2.hash_password(password).map(|hash| hash.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn hasher(cost: Cost, concurrency: usize, max_waiting: usize) -> Hasher {
        Hasher::new(&HashingConfig { concurrency, max_waiting, ..HashingConfig::new(cost) })
    }

    fn password(text: &str) -> Password {
        Password::new(text.to_owned()).unwrap()
    }

    #[tokio::test]
    async fn right_wrong_and_unknown() {
        let hasher = hasher(Cost::least(), 1, 0);
        let stored = hasher.hash(&password("correct horse")).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{stored}");
        let right = hasher.check(&password("correct horse"), Some(stored.clone())).await.unwrap();
        assert!(matches!(right, Checked::Right { renewed: None }));
        let wrong = hasher.check(&password("battery staple"), Some(stored)).await.unwrap();
        assert!(matches!(wrong, Checked::Wrong));
        let unknown = hasher.check(&password("correct horse"), None).await.unwrap();
        assert!(matches!(unknown, Checked::Wrong));
        let broken = hasher.check(&password("correct horse"), Some("plain".into())).await;
        assert!(matches!(broken, Err(HashError::Argon2(_))));
    }

    #[tokio::test]
    async fn a_hash_at_another_cost_is_renewed() {
        let old = hasher(Cost::least(), 1, 0).hash(&password("correct horse")).await.unwrap();
        let now = hasher(Cost::new(16, 2, 1).unwrap(), 1, 0);
        let checked = now.check(&password("correct horse"), Some(old)).await.unwrap();
        let Checked::Right { renewed: Some(renewed) } = checked else { panic!("not renewed") };
        let again = now.check(&password("correct horse"), Some(renewed)).await.unwrap();
        assert!(matches!(again, Checked::Right { renewed: None }));
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once_and_empties_again() {
        let hasher = hasher(Cost::least(), 1, 1);
        let running = hasher.permits().await.unwrap();
        let waiting = hasher.places.clone().try_acquire_owned().unwrap();
        let refused = hasher.hash(&password("correct horse")).await;
        assert!(matches!(refused, Err(HashError::Busy { retry_after }) if retry_after.as_secs() == 1));
        drop((running, waiting));
        hasher.hash(&password("correct horse")).await.unwrap();
    }

    #[test]
    fn costs() {
        assert_eq!(Cost::new(7, 1, 1), Err(InvalidCost));
        assert_eq!(Cost::new(8, 1, 2), Err(InvalidCost));
        assert_eq!(Cost::new(19 * 1024, 2, 1), Ok(Cost::default()));
    }
}
