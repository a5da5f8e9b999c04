//! Which descriptors the keeper waits for.

use std::collections::HashMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;

use crate::log::Stream;

/// Events taken at a time; the rest comes with the next call.
const BATCH: usize = 64;

/// What a descriptor belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    Listener,
    Daemon,
    /// What a stage says about itself.
    Report(String),
    /// The end of a process that has handed over.
    Helper(u64),
    /// A container's end.
    Process(String),
    Output(String, Stream),
    Input(String),
    Client(u64),
}

/// A place in the poller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Token(u64);

#[derive(Debug)]
pub(super) struct Poller {
    epoll: OwnedFd,
    /// A number is never used twice, so an event that comes late belongs to nobody.
    sources: HashMap<u64, Source>,
    next: u64,
}

impl Poller {
    pub(super) fn new() -> Result<Self, Errno> {
        Ok(Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            sources: HashMap::new(),
            next: 0,
        })
    }

    pub(super) fn watch(
        &mut self,
        fd: BorrowedFd<'_>,
        source: Source,
        flags: EventFlags,
    ) -> Result<Token, Errno> {
        let number = self.next;
        self.next += 1;
        epoll::add(&self.epoll, fd, EventData::new_u64(number), flags)?;
        self.sources.insert(number, source);
        Ok(Token(number))
    }

    pub(super) fn watch_input(&mut self, fd: BorrowedFd<'_>, source: Source) -> Result<Token, Errno> {
        self.watch(fd, source, EventFlags::IN)
    }

    pub(super) fn change(&mut self, fd: BorrowedFd<'_>, token: Token, flags: EventFlags) {
        // Cannot fail for a descriptor that is watched; if it did, the next event would come too often or not at all.
        let _ = epoll::modify(&self.epoll, fd, EventData::new_u64(token.0), flags);
    }

    pub(super) fn forget(&mut self, fd: BorrowedFd<'_>, token: Token) {
        // Closing alone would not do: a stage may have a copy.
        let _ = epoll::delete(&self.epoll, fd);
        self.sources.remove(&token.0);
    }

    /// What has happened; nothing after the timeout.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> Result<Vec<(Source, EventFlags)>, Errno> {
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut events = Vec::with_capacity(BATCH);
        match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let known = |event: &epoll::Event| {
            let number = event.data.u64();
            Some((self.sources.get(&number)?.clone(), event.flags))
        };
        Ok(events.iter().filter_map(known).collect())
    }
}
