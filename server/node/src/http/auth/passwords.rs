//! Hashes of passwords: made and checked on threads of their own, few at a time, and remembered once they were right.
//!
//! bcrypt is slow on purpose. A request whose name and password were right before, and whose user has the same hash still,
//! is let in by a cheap lookup; a change of the password makes the lookup fail, since the hash is a part of what is looked
//! up. A name that is nobody's costs as much as a wrong password.

use crate::handle::Refusal;
use crate::http::error::Failure;
use rustix::rand::{GetRandomFlags, getrandom};
use sha2::{Digest as _, Sha256};
use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// bcrypt's cost: that of etcd, 2^10 rounds.
const COST: u32 = 10;

/// The longest password: of what is longer, bcrypt would see only the beginning. Nobody gets a longer one, and none is right.
pub(crate) const MAX_PASSWORD_BYTES: usize = 72;

/// Right pairs that are remembered; the oldest is forgotten, and costs a hash when it comes again.
const MAX_REMEMBERED: usize = 1_024;

/// Requests that wait for a hash; another one is refused with 503. With one thread the last waits for about half a minute.
const MAX_WAITING: usize = 512;

/// What nobody's password is compared with.
const NOBODY: &str = "$2b$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy";

/// Checks and hashes passwords.
pub(crate) struct Passwords {
    /// Without it nobody can tell passwords from the fingerprints that are remembered. None, and nothing is remembered.
    secret: Option<[u8; 32]>,
    remembered: Mutex<Remembered>,
    hashers: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

/// What a hash takes. It goes to the thread that hashes: a client that leaves does not end the hash, and must not make room
/// for another one before its end.
type Turn = (OwnedSemaphorePermit, OwnedSemaphorePermit);

#[derive(Default)]
struct Remembered {
    prints: HashSet<[u8; 32]>,
    order: VecDeque<[u8; 32]>,
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passwords")
    }
}

impl Passwords {
    /// Half of the processors may hash at a time, so that the rest has the others.
    pub(crate) fn new() -> Passwords {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut secret = [0; 32];
        // The system always has so few random bytes.
        let filled = getrandom(&mut secret, GetRandomFlags::empty());
        let secret = matches!(filled, Ok(bytes) if bytes == secret.len()).then_some(secret);
        if secret.is_none() {
            tracing::warn!("no random bytes: every password is hashed at every request");
        }
        Passwords {
            secret,
            remembered: Mutex::default(),
            hashers: Arc::new(Semaphore::new((processors / 2).max(1))),
            places: Arc::new(Semaphore::new(MAX_WAITING)),
        }
    }

    /// The hash of a new password, which must not be longer than [`MAX_PASSWORD_BYTES`].
    pub(crate) async fn hash(&self, password: String) -> Result<String, Failure> {
        let turn = self.turn().await?;
        let hash = blocking(turn, move || bcrypt::hash(cut(password.as_bytes()), COST)).await?;
        // Without random bytes there is no salt.
        hash.map_err(|_| Failure::Refused(Refusal::Stopped))
    }

    /// Whether a password is the one with this hash. Without a hash it never is, and takes as long.
    pub(crate) async fn check(
        &self,
        name: &[u8],
        password: &[u8],
        hash: Option<&str>,
    ) -> Result<bool, Failure> {
        let print = hash.and_then(|hash| self.print(name, password, hash));
        if print.is_some_and(|print| self.remembers(&print)) {
            return Ok(true);
        }
        let compared = hash.unwrap_or(NOBODY).to_owned();
        let short = password.len() <= MAX_PASSWORD_BYTES;
        let shown = cut(password).to_vec();
        let turn = self.turn().await?;
        // Another request with the same pair may have been first.
        if print.is_some_and(|print| self.remembers(&print)) {
            return Ok(true);
        }
        let right = blocking(turn, move || bcrypt::verify(shown, &compared).unwrap_or(false)).await?;
        let right = right && short && hash.is_some();
        if let Some(print) = print.filter(|_| right) {
            self.remembered().add(print);
        }
        Ok(right)
    }

    /// A place among those that wait, and then a hasher.
    async fn turn(&self) -> Result<Turn, Failure> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| Failure::Refused(Refusal::Overloaded))?;
        let hasher = Arc::clone(&self.hashers).acquire_owned().await;
        let hasher = hasher.map_err(|_| Failure::Refused(Refusal::Stopped))?;
        Ok((place, hasher))
    }

    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remembers(&self, print: &[u8; 32]) -> bool {
        self.remembered().prints.contains(print)
    }

    /// Tells pairs apart, and the hashes that they were right for.
    fn print(&self, name: &[u8], password: &[u8], hash: &str) -> Option<[u8; 32]> {
        let mut digest = Sha256::new();
        digest.update(self.secret?);
        for part in [name, password, hash.as_bytes()] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        Some(digest.finalize().into())
    }
}

impl Remembered {
    fn add(&mut self, print: [u8; 32]) {
        if !self.prints.insert(print) {
            return;
        }
        self.order.push_back(print);
        if self.order.len() > MAX_REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.prints.remove(&oldest);
        }
    }
}

fn cut(password: &[u8]) -> &[u8] {
    &password[..password.len().min(MAX_PASSWORD_BYTES)]
}

async fn blocking<T: Send + 'static>(
    turn: Turn,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(turn);
        done
    })
    .await;
    done.map_err(|_| Failure::Refused(Refusal::Stopped))
}
