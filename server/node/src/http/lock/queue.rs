//! The queue of a lock: in-order keys below `/_etcd/mod/lock/NAME`, of which the first holds it. Who waits watches the place
//! before its own, so that one waiter wakes when a place goes, and not all.

use crate::handle::{Handle, Opening, Refusal};
use crate::http::error::{Denied, Failure};
use crate::hub::{Listener, Wish};
use berth_replica::ReplyError;
use berth_store::{Key, Kind, Put, StoreError, Value, View, code};
use std::time::Duration;
use tokio::time::Instant;

/// Where the locks are kept.
const LOCKS: &[u8] = b"/_etcd/mod/lock/";

/// The value of a place that was taken without one.
const NO_VALUE: &[u8] = b"-";

/// What the store names in-order keys by.
const NAME_DIGITS: usize = 20;

/// The queue of one lock.
pub(crate) struct Queue<'a> {
    handle: &'a Handle,
    directory: Key,
}

/// A place in a queue.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    key: Key,
    index: u64,
    value: Value,
}

/// Which place is meant.
pub(crate) enum Which {
    /// The one with this index, as text.
    Index(Vec<u8>),
    /// The first with this value.
    Value(Value),
}

/// The wish for a lock.
pub(crate) struct Acquire {
    /// What to name the place by; may be empty. A place with the same value is the same waiter's.
    pub(crate) value: Value,
    /// Seconds that the lock is held without being renewed.
    pub(crate) ttl: u64,
    /// How long to wait at most.
    pub(crate) timeout: Option<Duration>,
}

/// What waiting comes to.
enum Turn {
    Mine,
    TimedOut,
    /// The place is not there any more.
    Gone,
}

impl Place {
    pub(crate) fn index(&self) -> u64 {
        self.index
    }

    /// The value as text.
    pub(crate) fn value(&self) -> String {
        String::from_utf8_lossy(&self.value).into_owned()
    }
}

/// A place that goes when its waiter does.
struct Held {
    handle: Handle,
    key: Option<Key>,
}

impl Held {
    /// The place stays from now on, to the end of its life.
    fn keep(mut self) {
        self.key = None;
    }

    async fn leave(mut self) {
        if let Some(key) = self.key.take() {
            remove(&self.handle, key).await;
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Without a runtime the node is ending, and the place goes at the end of its life.
        if let Some(key) = self.key.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let handle = self.handle.clone();
            runtime.spawn(async move { remove(&handle, key).await });
        }
    }
}

/// A place that cannot be removed goes at the end of its life.
async fn remove(handle: &Handle, key: Key) {
    let removed = handle.propose(delete(key)).await;
    if !matches!(&removed, Ok(reply) if reply.outcome.is_ok()) {
        tracing::debug!(?removed, "a waiter's place stays for its time to live");
    }
}

fn delete(key: Key) -> Kind {
    Kind::Delete {
        key,
        dir: false,
        recursive: false,
    }
}

impl<'a> Queue<'a> {
    /// The queue of the lock of a name.
    pub(crate) fn new(handle: &'a Handle, name: &[u8]) -> Result<Queue<'a>, StoreError> {
        let directory = Key::parse([LOCKS, name].concat())
            .map_err(|error| StoreError::new(code::INVALID_FIELD, error, 0))?;
        Ok(Queue { handle, directory })
    }

    /// The key of the queue.
    pub(crate) fn path(&self) -> &[u8] {
        self.directory.as_bytes()
    }

    /// Who has the lock; an error if it never was taken.
    pub(crate) async fn holder(&self) -> Result<Option<Place>, Failure> {
        self.handle.quorum_read().await??;
        let places = self.places(&self.handle.published().view)?;
        Ok(places.into_iter().next())
    }

    /// A place, of the holder or of a waiter.
    pub(crate) async fn find(&self, which: Which) -> Result<Place, Failure> {
        self.handle.quorum_read().await??;
        let view = &self.handle.published().view;
        let places = self.places(view)?;
        let (found, cause) = match which {
            Which::Index(text) => {
                let text = String::from_utf8_lossy(&text).into_owned();
                let found = places
                    .into_iter()
                    .find(|place| Ok(place.index) == text.parse::<u64>());
                (found, format!("{}/{text}", self.directory))
            }
            Which::Value(value) => {
                let found = places.into_iter().find(|place| place.value == value);
                (found, self.directory.to_string())
            }
        };
        Ok(found.ok_or_else(|| StoreError::new(code::KEY_NOT_FOUND, cause, view.index()))?)
    }

    /// Lets a place live for so many seconds from now.
    pub(crate) async fn renew(&self, place: &Place, ttl: u64) -> Result<(), Failure> {
        let renewed = Put {
            refresh: true,
            ..Put::file(place.key.clone(), Value::default()).with_ttl(ttl)
        };
        self.handle.propose(Kind::Update(renewed)).await?.outcome?;
        Ok(())
    }

    /// Removes a place.
    pub(crate) async fn release(&self, place: Place) -> Result<(), Failure> {
        self.handle.propose(delete(place.key)).await?.outcome?;
        Ok(())
    }

    /// Waits for the lock; gives the index of the place that holds it. A future that is dropped before gives up the place.
    pub(crate) async fn acquire(&self, wish: Acquire) -> Result<u64, Denied> {
        // A time-out beyond the end of the clock is none.
        let deadline = wish.timeout.and_then(|time| Instant::now().checked_add(time));
        loop {
            let (place, held) = match self.known(&wish.value).await? {
                Some(place) => (place, None),
                None => {
                    let (place, held) = self.take_place(&wish).await?;
                    (place, Some(held))
                }
            };
            let turn = match self.wait(&place, wish.ttl, deadline).await {
                Ok(Turn::Mine) => match self.renew(&place, wish.ttl).await {
                    Ok(()) => {
                        if let Some(held) = held {
                            held.keep();
                        }
                        return Ok(place.index);
                    }
                    Err(failure) if is_missing(&failure) => Turn::Gone,
                    Err(failure) => return Err(failure.into()),
                },
                Ok(turn) => turn,
                Err(failure) => return Err(failure.into()),
            };
            match (turn, held) {
                (Turn::Gone, None) => {}
                (Turn::Gone, Some(_)) => {
                    let index = self.handle.published().view.index();
                    return Err(StoreError::new(code::KEY_NOT_FOUND, &place.key, index).into());
                }
                (Turn::Mine | Turn::TimedOut, held) => {
                    if let Some(held) = held {
                        held.leave().await;
                    }
                    return Err(Denied::TimedOut);
                }
            }
        }
    }

    /// The place that was taken under a value before.
    async fn known(&self, value: &Value) -> Result<Option<Place>, Failure> {
        if value.is_empty() {
            return Ok(None);
        }
        match self.find(Which::Value(value.clone())).await {
            Ok(place) => Ok(Some(place)),
            Err(failure) if is_missing(&failure) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Takes a place at the end. It is in a task of its own, so that a place is also given up when its waiter leaves before
    /// it is known.
    async fn take_place(&self, wish: &Acquire) -> Result<(Place, Held), Failure> {
        let value: Value = if wish.value.is_empty() {
            NO_VALUE.into()
        } else {
            wish.value.clone()
        };
        let put = Put::file(self.directory.clone(), value.clone()).with_ttl(wish.ttl);
        let handle = self.handle.clone();
        let taken = tokio::spawn(async move {
            let reply = handle.propose(Kind::CreateInOrder(put)).await?;
            let applied = reply.outcome?;
            let key = applied.event().map(|event| event.node.key.clone());
            Ok::<_, Failure>(key.map(|key| Held {
                handle,
                key: Some(key),
            }))
        });
        // A create in order that worked has an event.
        let held = taken
            .await
            .map_err(|_| Refusal::Stopped)??
            .ok_or(Refusal::Stopped)?;
        let place = held.key.clone().and_then(|key| {
            let index = index_of(&key)?;
            Some(Place { key, index, value })
        });
        Ok((place.ok_or(Refusal::Stopped)?, held))
    }

    /// Waits until no place is before this one, and keeps it alive meanwhile.
    async fn wait(&self, place: &Place, ttl: u64, deadline: Option<Instant>) -> Result<Turn, Failure> {
        let mut renewal = Instant::now() + pause(ttl);
        loop {
            let published = self.handle.published();
            let places = match self.places(&published.view) {
                Ok(places) => places,
                Err(error) if error.code == code::KEY_NOT_FOUND => return Ok(Turn::Gone),
                Err(error) => return Err(error.into()),
            };
            let Some(at) = places.iter().position(|other| other.index == place.index) else {
                return Ok(Turn::Gone);
            };
            let Some(before) = at.checked_sub(1).and_then(|at| places.get(at)) else {
                return Ok(Turn::Mine);
            };
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Ok(Turn::TimedOut);
            }
            let since = published.view.index() + 1;
            let Some(mut listener) = self.listen(&before.key, since).await? else {
                continue;
            };
            drop((published, places));
            loop {
                let next = deadline.map_or(renewal, |deadline| deadline.min(renewal));
                tokio::select! {
                    // Also none: whoever closed the watch says why at the next try.
                    _ = listener.events.recv() => break,
                    () = tokio::time::sleep_until(next) => {}
                }
                if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                    return Ok(Turn::TimedOut);
                }
                renewal = Instant::now() + pause(ttl);
                match self.renew(place, ttl).await {
                    Err(failure) if is_missing(&failure) => return Ok(Turn::Gone),
                    // Tried again in time for two more.
                    Ok(()) | Err(_) => {}
                }
            }
        }
    }

    /// A watch of a key; none if the history does not reach back, which it does at the next try.
    async fn listen(&self, key: &Key, since: u64) -> Result<Option<Listener>, Failure> {
        let wish = Wish {
            key: key.clone(),
            recursive: false,
            stream: false,
            since: Some(since),
        };
        match self.handle.watch(wish).await? {
            Opening::Open { listener, .. } => Ok(Some(listener)),
            Opening::Cleared { .. } => Ok(None),
            Opening::TooMany => Err(Failure::TooManyWatches),
            Opening::Ending => Err(Refusal::Stopped.into()),
        }
    }

    /// All places, in order. Keys of another form are not ours.
    fn places(&self, view: &View) -> Result<Vec<Place>, StoreError> {
        let nodes = match view.get(&self.directory, false) {
            Ok(directory) => directory.nodes,
            // Which part of the path is missing says nothing about the lock.
            Err(error) if error.code == code::KEY_NOT_FOUND => {
                return Err(StoreError::new(error.code, &self.directory, error.index));
            }
            Err(error) => return Err(error),
        };
        let place = |node: berth_store::NodeView| {
            let index = index_of(&node.key)?;
            Some(Place {
                index,
                value: node.value?,
                key: node.key,
            })
        };
        Ok(nodes.into_iter().filter_map(place).collect())
    }
}

/// The index that an in-order key is named by.
fn index_of(key: &Key) -> Option<u64> {
    let name = str::from_utf8(key.name()).ok()?;
    (name.len() == NAME_DIGITS).then(|| name.parse().ok())?
}

/// Between two renewals: three fit into a life.
fn pause(ttl: u64) -> Duration {
    // An hour is enough for everybody, and no life overflows the clock.
    Duration::from_secs(ttl.min(3 * 3_600)) / 3
}

fn is_missing(failure: &Failure) -> bool {
    match failure {
        Failure::Store(error) | Failure::Reply(ReplyError::Store(error)) => error.code == code::KEY_NOT_FOUND,
        Failure::Reply(_) | Failure::Refused(_) | Failure::Form(_) | Failure::TooManyWatches => false,
    }
}
