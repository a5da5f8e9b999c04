//! The bundling: running containers of the engine become keys of the store, and stay there only while they run.
//!
//! A container that starts or moves takes its keys, whoever wrote them last. A refresh never does: it renews only a key
//! that still has the value written here, and so is removal. What was written is kept in a file, so that the next
//! engine on the same data knows its own keys.

mod book;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use berth_engine::Registration;
use berth_sdk::{DeleteOptions, EtcdClient, SdkError, SetOptions};
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};

pub(crate) use book::Book;

/// Refreshes in one life of a key: two may fail before it goes.
const REFRESHES_PER_LIFE: u32 = 3;

/// First pause after a failure; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Longest pause while the store is away, also bounded by the time between two refreshes.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Longest wait for one answer: a member that hangs must not cost the lives of all keys.
pub(crate) const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// Longest time that taking the keys away may hold up the end of the engine; what is left goes by its TTL.
const WITHDRAW_LIMIT: Duration = Duration::from_secs(3);

/// Error numbers of the keys API.
const KEY_NOT_FOUND: u16 = 100;
const COMPARE_FAILED: u16 = 101;
const KEY_EXISTS: u16 = 105;

/// Keys and the values they should have.
type Keys = BTreeMap<String, String>;

/// What is registered: where, and for how long without a refresh.
#[derive(Debug, Clone)]
pub(crate) struct Announcer {
    store: EtcdClient,
    prefix: String,
    ttl: u64,
    book: Book,
    /// Keys that somebody else holds, so that each is told once.
    foreign: BTreeSet<String>,
}

/// The store did not answer, or not as a store that works.
#[derive(Debug)]
struct Away(SdkError);

impl Announcer {
    /// An announcer below `prefix` whose keys live for `ttl` seconds without it.
    pub(crate) fn new(store: EtcdClient, prefix: &str, ttl: u64, book: Book) -> Self {
        Self {
            store: store.with_limit(ANSWER_LIMIT),
            prefix: format!("/{}", prefix.trim_matches('/'))
                .trim_end_matches('/')
                .to_owned(),
            ttl,
            book,
            foreign: BTreeSet::new(),
        }
    }

    /// Keeps the keys as the engine says until `stop`, then takes them away.
    pub(crate) async fn run(
        mut self,
        mut running: watch::Receiver<Arc<Vec<Registration>>>,
        mut stop: oneshot::Receiver<()>,
    ) {
        let between = Duration::from_secs(self.ttl) / REFRESHES_PER_LIFE;
        let mut pause = FIRST_PAUSE;
        let mut away = false;
        loop {
            let wanted = wanted(&running.borrow_and_update(), &self.prefix);
            let rest = match self.reconcile(&wanted).await {
                Ok(()) => {
                    if std::mem::take(&mut away) {
                        tracing::info!("the store is back, all keys are up to date");
                    }
                    pause = FIRST_PAUSE;
                    between
                }
                Err(Away(error)) => {
                    if !std::mem::replace(&mut away, true) {
                        tracing::warn!(
                            error = error.chain(),
                            "the store is away, trying again until it is back"
                        );
                    }
                    let rest = pause;
                    pause = (pause * 2).min(LONGEST_PAUSE).min(between);
                    rest
                }
            };
            tokio::select! {
                _ = &mut stop => break,
                changed = running.changed() => {
                    if changed.is_err() {
                        // The engine is gone; its end will be followed by the stop.
                        drop((&mut stop).await);
                        break;
                    }
                }
                () = sleep(rest) => {}
            }
        }
        if !matches!(
            timeout(WITHDRAW_LIMIT, self.reconcile(&Keys::new())).await,
            Ok(Ok(()))
        ) {
            tracing::warn!("the store does not answer, the keys are left to their TTL");
        }
    }

    /// One round: what should not be there goes, what should be is written or refreshed.
    async fn reconcile(&mut self, wanted: &Keys) -> Result<(), Away> {
        for (key, value) in self.book.besides(wanted) {
            self.remove(&key, &value).await?;
        }
        for (key, value) in wanted {
            if self.book.has(key, value) {
                self.refresh(key, value).await?;
            } else {
                // Noted before it is written: after a crash in between the note is harmless, a forgotten key is not.
                self.book.note(key, value);
                self.write(key, value, None).await?;
            }
        }
        Ok(())
    }

    async fn write(&mut self, key: &str, value: &str, prev_exist: Option<bool>) -> Result<(), Away> {
        let options = SetOptions {
            ttl: Some(self.ttl),
            prev_exist,
            ..SetOptions::default()
        };
        match self.store.set(key, value, &options).await {
            Ok(_) => {
                self.foreign.remove(key);
                tracing::info!(key, value, ttl = self.ttl, "registered");
                Ok(())
            }
            Err(error) => {
                let refused = self.refused(key, error);
                if refused.is_err() {
                    // It may or may not be there: the next round writes it again.
                    self.book.doubt(key);
                }
                refused
            }
        }
    }

    async fn refresh(&mut self, key: &str, value: &str) -> Result<(), Away> {
        let options = SetOptions {
            ttl: Some(self.ttl),
            prev_value: Some(value.to_owned()),
            refresh: true,
            ..SetOptions::default()
        };
        match self.store.set(key, value, &options).await {
            Ok(_) => {
                self.foreign.remove(key);
                Ok(())
            }
            // It went while nobody could refresh it, or somebody took it away.
            Err(error) if error.store_code() == Some(KEY_NOT_FOUND) => {
                self.write(key, value, Some(false)).await
            }
            Err(error) => self.refused(key, error),
        }
    }

    async fn remove(&mut self, key: &str, value: &str) -> Result<(), Away> {
        let options = DeleteOptions {
            prev_value: Some(value.to_owned()),
            ..DeleteOptions::default()
        };
        match self.store.delete(key, &options).await {
            Ok(_) => tracing::info!(key, value, "no longer registered"),
            Err(error) if matches!(error.store_code(), Some(KEY_NOT_FOUND | COMPARE_FAILED)) => {
                tracing::debug!(key, %error, "the key is gone already, or somebody else's");
            }
            Err(error) => self.refused(key, error)?,
        }
        self.book.forget(key);
        self.foreign.remove(key);
        // The service's directory goes with its last key; the store keeps one that is not empty.
        if let Some((directory, _)) = key
            .rsplit_once('/')
            .filter(|(directory, _)| *directory != self.prefix)
        {
            let empty = DeleteOptions {
                dir: true,
                ..DeleteOptions::default()
            };
            if let Err(error) = self.store.delete(directory, &empty).await {
                tracing::debug!(directory, %error, "the directory stays");
            }
        }
        Ok(())
    }

    /// A refusal of the key itself is told and left; everything else means that the store is away.
    fn refused(&mut self, key: &str, error: SdkError) -> Result<(), Away> {
        if !error.is_store_refusal() {
            return Err(Away(error));
        }
        if self.foreign.insert(key.to_owned()) {
            match error.store_code() {
                Some(COMPARE_FAILED | KEY_EXISTS) => {
                    tracing::warn!(key, %error, "somebody else has written the key, leaving it to them");
                }
                _ => tracing::warn!(key, %error, "the store refuses the key"),
            }
        }
        Ok(())
    }
}

/// One key for each port of each running container: `PREFIX/NAME/PORT-PROTOCOL` with value `ip:port`.
fn wanted(running: &[Registration], prefix: &str) -> Keys {
    running
        .iter()
        .flat_map(|container| {
            container.endpoints.iter().map(move |endpoint| {
                let key = format!(
                    "{prefix}/{}/{}-{}",
                    container.name, endpoint.port, endpoint.protocol
                );
                (key, endpoint.address.clone())
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
