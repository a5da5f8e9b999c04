//! A thread that keeps a zero-filled, durable segment ready, so that the log never has to ask the file system for space.

use crate::disk::Options;
use crate::disk::error::{DiskError, failed};
use crate::disk::files;
use crate::disk::log::System;
use berth_replica::wal;
use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Segments kept ready. What is in flight when the disk fills up fits in one; each costs its size on disk.
const SPARES: usize = 1;

/// How often room is looked for while there is none, and the free space watched while there is.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A segment to go on in.
type Spare = wal::Spare<File>;

/// Whether there is room for more writes. Cheap to ask, from every thread.
#[derive(Clone, Debug)]
pub(crate) struct Room(Arc<AtomicBool>);

impl Room {
    /// `false`: take no new proposals, for the log could not grow by another segment. It turns true again by itself,
    /// about a second after space was freed.
    pub(crate) fn is_left(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The thread, which ends with this.
#[derive(Debug)]
pub(super) struct Preparer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    options: Options,
    state: Mutex<State>,
    changed: Condvar,
    room: Room,
}

#[derive(Debug)]
struct State {
    ready: VecDeque<Spare>,
    next: u64,
    /// An error that does not pass.
    failed: Option<DiskError>,
    stop: bool,
}

impl Preparer {
    /// Starts the thread. `next` is the number of the segment after the spares.
    pub(super) fn start(
        dir: &Path,
        options: &Options,
        ready: VecDeque<Spare>,
        next: u64,
    ) -> Result<Preparer, DiskError> {
        let left = !ready.is_empty() || has_space(dir, options.segment_bytes + options.reserve_bytes)?;
        let shared = Arc::new(Shared {
            dir: dir.to_path_buf(),
            options: options.clone(),
            state: Mutex::new(State {
                ready,
                next,
                failed: None,
                stop: false,
            }),
            changed: Condvar::new(),
            room: Room(Arc::new(AtomicBool::new(left))),
        });
        let own = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("wal-prepare".to_owned())
            .spawn(move || own.run())
            .map_err(failed(dir, "start a thread for"))?;
        Ok(Preparer {
            shared,
            thread: Some(thread),
        })
    }

    pub(super) fn room(&self) -> Room {
        self.shared.room.clone()
    }

    /// An error of the thread that does not pass, once.
    pub(super) fn check(&self) -> Result<(), DiskError> {
        self.shared.lock().failed.take().map_or(Ok(()), Err)
    }

    /// The next segment. Waits for space as long as the options say.
    pub(super) fn take(&self) -> Result<Spare, DiskError> {
        let state = self.shared.lock();
        let missing = |state: &mut State| state.ready.is_empty() && state.failed.is_none();
        let waited = self
            .shared
            .changed
            .wait_timeout_while(state, self.shared.options.room_wait, missing);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = state.failed.take() {
            return Err(error);
        }
        let spare = state.ready.pop_front().ok_or_else(|| DiskError::NoRoom {
            path: self.shared.dir.clone(),
        })?;
        self.shared.changed.notify_all();
        Ok(spare)
    }

    /// Space was freed: try again now.
    pub(super) fn look_again(&self) {
        self.shared.changed.notify_all();
    }
}

impl Drop for Preparer {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that prepares log segments panicked");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut state = self.lock();
        while !state.stop {
            let number = state.next;
            let wanted = state.ready.len() < SPARES;
            drop(state);
            let done = if wanted {
                self.prepare(number).map(Some)
            } else {
                self.watch_reserve().map(|()| None)
            };
            state = self.lock();
            match done {
                Ok(Some(spare)) => {
                    state.next = number + 1;
                    state.ready.push_back(spare);
                    self.set_room(true);
                    self.changed.notify_all();
                    continue;
                }
                Ok(None) => {}
                Err(DiskError::NoRoom { .. }) => self.set_room(false),
                Err(error) => {
                    self.set_room(false);
                    state.failed = Some(error);
                    self.changed.notify_all();
                    return;
                }
            }
            if !state.stop && (state.ready.len() >= SPARES || !self.room.is_left()) {
                let woken = self.changed.wait_timeout(state, LOOK_AGAIN);
                state = woken.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    fn prepare(&self, number: u64) -> Result<Spare, DiskError> {
        let needed = self.options.segment_bytes + self.options.reserve_bytes;
        if !has_space(&self.dir, needed)? {
            return Err(DiskError::NoRoom {
                path: wal::path(&self.dir, number),
            });
        }
        wal::make(&System::default(), &self.dir, number, self.options.segment_bytes)
    }

    fn watch_reserve(&self) -> Result<(), DiskError> {
        self.set_room(has_space(&self.dir, self.options.reserve_bytes)?);
        Ok(())
    }

    fn set_room(&self, left: bool) {
        if self.room.0.swap(left, Ordering::AcqRel) != left {
            if left {
                tracing::info!(dir = %self.dir.display(), "there is room on the disk again");
            } else {
                tracing::warn!(dir = %self.dir.display(), "no room on the disk for more of the log");
            }
        }
    }
}

fn has_space(dir: &Path, needed: u64) -> Result<bool, DiskError> {
    Ok(files::free_bytes(dir)? >= needed)
}
