//! Watches that stay open for as long as their member runs, and go on with another one then, from where they were.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use berth_harness::until;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::soak::clients::BEAT;

/// What they do, for people.
pub(super) const WHAT: &str = "500 watches of a key that is written every second";

const WATCHES: usize = 500;
/// A member that takes no watch in this time is left alone for a while.
const PATIENCE: Duration = Duration::from_millis(500);
const LEFT_ALONE: Duration = Duration::from_secs(5);
/// How long the last event may take to reach all.
const SETTLED: Duration = Duration::from_secs(60);

/// A watch.
#[derive(Default)]
struct Watch {
    socket: Option<TcpStream>,
    text: String,
    /// The last index it told of.
    seen: u64,
}

/// All watches.
pub(super) struct Watches {
    members: Vec<SocketAddr>,
    events: AtomicU64,
    opened: AtomicU64,
    /// The index of the last event, once it is written.
    last: AtomicU64,
    /// Watches that have seen it.
    done: AtomicU64,
}

impl Watches {
    pub(super) fn new(members: Vec<SocketAddr>) -> Watches {
        Watches {
            members,
            events: AtomicU64::new(0),
            opened: AtomicU64::new(0),
            last: AtomicU64::new(u64::MAX),
            done: AtomicU64::new(0),
        }
    }

    pub(super) fn start(self: &Arc<Self>) -> JoinHandle<anyhow::Result<()>> {
        let own = Arc::clone(self);
        std::thread::spawn(move || own.watch_on())
    }

    /// The counts, for people.
    pub(super) fn told(&self) -> String {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        format!(
            "{} events, {} watches opened",
            count(&self.events),
            count(&self.opened)
        )
    }

    /// Waits until every watch has seen the last event.
    pub(super) fn finish(&self, last: u64) -> anyhow::Result<()> {
        self.last.store(last, Ordering::Relaxed);
        until("the last event at all watches", SETTLED, || {
            let done = self.done.load(Ordering::Relaxed);
            (done >= u64::try_from(WATCHES).unwrap_or(u64::MAX)).then_some(())
        });
        ensure!(self.events.load(Ordering::Relaxed) > 0, "no event was seen");
        Ok(())
    }

    /// Until all have seen the last event.
    fn watch_on(&self) -> anyhow::Result<()> {
        let epoll = Epoll::new(EpollCreateFlags::empty())?;
        let mut watches: Vec<Watch> = (0..WATCHES).map(|_| Watch::default()).collect();
        let mut alone = vec![None; self.members.len()];
        let mut ready = vec![EpollEvent::empty(); 256];
        loop {
            for (number, watch) in watches.iter_mut().enumerate() {
                if watch.socket.is_some() {
                    continue;
                }
                // A socket that is closed is no longer waited for.
                if let Some(socket) = self.open(watch.seen, number, &mut alone)? {
                    let events = EpollEvent::new(EpollFlags::EPOLLIN, number as u64);
                    epoll.add(&socket, events)?;
                    watch.socket = Some(socket);
                    watch.text.clear();
                }
            }
            let happened = epoll.wait(&mut ready, EpollTimeout::from(200_u16))?;
            for event in &ready[..happened] {
                let number = usize::try_from(event.data())?;
                watches
                    .get_mut(number)
                    .context("a watch that is none")?
                    .read(&self.events)?;
            }
            let last = self.last.load(Ordering::Relaxed);
            let done = watches.iter().filter(|watch| watch.seen >= last).count();
            self.done.store(u64::try_from(done)?, Ordering::Relaxed);
            if done == WATCHES {
                return Ok(());
            }
        }
    }

    /// Opens a watch from an index on, at one of the members that take it.
    fn open(
        &self,
        seen: u64,
        number: usize,
        alone: &mut [Option<Instant>],
    ) -> anyhow::Result<Option<TcpStream>> {
        for step in 0..self.members.len() {
            let member = (number + step) % self.members.len();
            if alone[member].is_some_and(|until| Instant::now() < until) {
                continue;
            }
            match open_at(self.members[member], seen) {
                Ok(socket) => {
                    self.opened.fetch_add(1, Ordering::Relaxed);
                    socket.set_nonblocking(true)?;
                    return Ok(Some(socket));
                }
                Err(_) => alone[member] = Some(Instant::now() + LEFT_ALONE),
            }
        }
        Ok(None)
    }
}

/// Sends the request and waits for the head of its answer.
fn open_at(address: SocketAddr, seen: u64) -> anyhow::Result<TcpStream> {
    let mut socket = TcpStream::connect_timeout(&address, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let from = match seen {
        0 => String::new(),
        seen => format!("&waitIndex={}", seen + 1),
    };
    write!(
        socket,
        "GET /v2/keys{BEAT}?wait=true&stream=true{from} HTTP/1.1\r\nHost: soak\r\n\r\n"
    )?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    ensure!(
        head.starts_with(b"HTTP/1.1 200"),
        "{}",
        String::from_utf8_lossy(&head)
    );
    Ok(socket)
}

impl Watch {
    /// Takes what came. A socket that has ended is let go; the next round opens another one.
    fn read(&mut self, events: &AtomicU64) -> anyhow::Result<()> {
        let Some(socket) = &mut self.socket else {
            return Ok(());
        };
        let mut bytes = [0; 8 << 10];
        match socket.read(&mut bytes) {
            Ok(count @ 1..) => self.text.push_str(&String::from_utf8_lossy(&bytes[..count])),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Ok(_) | Err(_) => self.socket = None,
        }
        while let Some((line, rest)) = self.text.split_once('\n') {
            // The sizes of the chunks are lines of their own.
            if line.starts_with('{') {
                let told: serde_json::Value = serde_json::from_str(line)?;
                let index = told["node"]["modifiedIndex"]
                    .as_u64()
                    .context("no index in an event")?;
                ensure!(
                    index > self.seen,
                    "a watch was told of {index} after {}",
                    self.seen
                );
                self.seen = index;
                events.fetch_add(1, Ordering::Relaxed);
            }
            self.text = rest.to_owned();
        }
        Ok(())
    }
}
