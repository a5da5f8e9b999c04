//! Attached clients.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use berth_plan::Stdin;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};

use super::Keeper;
use super::container::{Container, Phase};
use super::poller::{Source, Token};
use crate::log::{Stream, frame_header};

/// The most clients at a time, of all containers; the next one is refused.
const MAX_CLIENTS: usize = 2048;

/// With more than this waiting for a client, in bytes, its container's output is not read until it has caught up.
const FULL: usize = 256 * 1024;

/// How long a client may take nothing while something waits for it; then it is cut off, and its container goes on.
const STALL: Duration = Duration::from_secs(10);

/// A client that has closed both directions is seen to close one first. Only one that keeps the other open for this long
/// has ended its input.
const HALF_CLOSE_GRACE: Duration = Duration::from_millis(100);

#[derive(Debug)]
#[allow(clippy::struct_excessive_bools, reason = "what the client asked for")]
pub(super) struct Client {
    pub(super) id: String,
    socket: OwnedFd,
    token: Token,
    stdin: bool,
    stdout: bool,
    stderr: bool,
    /// It wants no frames.
    raw: bool,
    waiting: Vec<u8>,
    /// Since when it has taken nothing.
    stalled: Option<Instant>,
    /// When it closed its direction.
    half_closed: Option<Instant>,
    input_over: bool,
    /// Goes when nothing waits for it any more.
    leaving: bool,
}

/// Why a client goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gone {
    /// It went by itself, or could not be kept.
    Left,
    /// It was too slow.
    Cut,
    /// Its container has ended, or will never be.
    Done,
}

impl Client {
    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() > FULL
    }

    pub(super) fn is_late(&self, now: Instant) -> bool {
        self.stalled
            .is_some_and(|since| now.duration_since(since) >= STALL)
    }

    pub(super) fn is_timed(&self) -> bool {
        self.stalled.is_some()
    }

    fn wants(&self, stream: Stream) -> bool {
        match stream {
            Stream::Stdout => self.stdout && !self.leaving,
            Stream::Stderr => self.stderr && !self.leaving,
        }
    }

    /// Sends what waits, as far as there is room.
    fn flush(&mut self) -> Result<(), Errno> {
        let mut sent = 0;
        while sent < self.waiting.len() {
            match send(
                &self.socket,
                &self.waiting[sent..],
                SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
            ) {
                Ok(count) => sent += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(errno) => return Err(errno),
            }
        }
        self.waiting.drain(..sent);
        if self.waiting.is_empty() {
            self.stalled = None;
        } else if sent > 0 || self.stalled.is_none() {
            self.stalled = Some(Instant::now());
        }
        Ok(())
    }
}

impl Keeper {
    /// A client's end, for the daemon to hand on; none when there are too many.
    pub(super) fn attach(
        &mut self,
        id: &str,
        [stdin, stdout, stderr, raw]: [bool; 4],
    ) -> Result<Option<OwnedFd>, Errno> {
        if self.clients.len() >= MAX_CLIENTS {
            return Ok(None);
        }
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )?;
        let number = self.next_client;
        self.next_client += 1;
        let token = self
            .poller
            .watch(ours.as_fd(), Source::Client(number), EventFlags::empty())?;
        let client = Client {
            id: id.to_owned(),
            socket: ours,
            token,
            stdin,
            stdout,
            stderr,
            raw,
            waiting: Vec::new(),
            stalled: None,
            half_closed: None,
            input_over: false,
            leaving: false,
        };
        self.clients.insert(number, client);
        self.listen_to(number);
        Ok(Some(theirs))
    }

    pub(super) fn listen_to_clients(&mut self, id: &str) {
        for number in self.clients_of(id) {
            self.listen_to(number);
        }
    }

    fn clients_of(&self, id: &str) -> Vec<u64> {
        let of_id = self
            .clients
            .iter()
            .filter(|(_, client)| client.id == id && !client.leaving);
        of_id.map(|(number, _)| *number).collect()
    }

    /// Waits for exactly what can be dealt with now.
    fn listen_to(&mut self, number: u64) {
        let Some(client) = self.clients.get(&number) else {
            return;
        };
        let input = self
            .containers
            .get(&client.id)
            .and_then(|container| container.input.as_ref());
        let room = input.is_some_and(|input| input.waiting.is_empty() && !input.ending);
        let mut flags = EventFlags::empty();
        flags.set(
            EventFlags::IN,
            client.stdin && room && !client.input_over && !client.leaving,
        );
        flags.set(EventFlags::OUT, !client.waiting.is_empty());
        self.poller.change(client.socket.as_fd(), client.token, flags);
    }

    pub(super) fn serve_client(&mut self, number: u64, flags: EventFlags) {
        if flags.contains(EventFlags::IN) {
            self.read_client(number);
        }
        if flags.contains(EventFlags::OUT) {
            self.flush_client(number);
        }
        if flags.intersects(EventFlags::HUP | EventFlags::ERR) {
            // What it said before it went is still the container's.
            while self.read_client(number) {}
            self.remove_client(number, Gone::Left);
        }
    }

    /// Takes one piece of input; false when there is none, or no room for it.
    fn read_client(&mut self, number: u64) -> bool {
        let Some(client) = self.clients.get_mut(&number) else {
            return false;
        };
        let Some(container) = self.containers.get_mut(&client.id) else {
            return false;
        };
        let Some(input) = &mut container.input else {
            return false;
        };
        if !client.stdin || client.input_over || !input.waiting.is_empty() || input.ending {
            return false;
        }
        match recv(&client.socket, &mut self.buffer[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => {
                client.input_over = true;
                client.half_closed = Some(Instant::now());
                let (id, once) = (client.id.clone(), input.kind == Stdin::Once);
                if once {
                    self.end_input(&id);
                } else {
                    self.timed = true;
                }
                self.listen_to(number);
                false
            }
            Ok((count, _)) => {
                input.waiting.extend_from_slice(&self.buffer[..count]);
                let id = client.id.clone();
                self.write_input(&id);
                true
            }
            Err(_) => false,
        }
    }

    /// Clients that have ended their input and stayed end that of their container. True while any may yet do so.
    pub(super) fn end_half_closed(&mut self, now: Instant) -> bool {
        let mut pending = false;
        let mut ended = Vec::new();
        for client in self.clients.values_mut() {
            let Some(since) = client.half_closed else {
                continue;
            };
            if now.duration_since(since) < HALF_CLOSE_GRACE {
                pending = true;
            } else {
                client.half_closed = None;
                ended.push(client.id.clone());
            }
        }
        for id in ended {
            self.end_input(&id);
        }
        pending
    }

    /// Gives a piece of output, which is in the buffer, to all that want it.
    pub(super) fn hand_out(&mut self, id: &str, stream: Stream, count: usize) {
        let header = frame_header(stream, u32::try_from(count).unwrap_or(u32::MAX));
        for number in self.clients_of(id) {
            let Some(client) = self.clients.get_mut(&number) else {
                continue;
            };
            if !client.wants(stream) {
                continue;
            }
            if !client.raw {
                client.waiting.extend_from_slice(&header);
            }
            client.waiting.extend_from_slice(&self.buffer[..count]);
            self.flush_client(number);
        }
    }

    fn flush_client(&mut self, number: u64) {
        let Some(client) = self.clients.get_mut(&number) else {
            return;
        };
        if client.flush().is_err() {
            return self.remove_client(number, Gone::Left);
        }
        if client.leaving && client.waiting.is_empty() {
            return self.remove_client(number, Gone::Done);
        }
        self.timed |= client.is_timed();
        let id = client.id.clone();
        self.listen_to(number);
        self.regulate(&id);
    }

    /// The container has ended: its clients go as soon as they have got everything.
    pub(super) fn end_clients(&mut self, id: &str) {
        for number in self.clients_of(id) {
            if let Some(client) = self.clients.get_mut(&number) {
                client.leaving = true;
            }
            self.flush_client(number);
        }
    }

    pub(super) fn remove_client(&mut self, number: u64, gone: Gone) {
        let Some(client) = self.clients.remove(&number) else {
            return;
        };
        self.poller.forget(client.socket.as_fd(), client.token);
        let once = |container: &Container| {
            let runs = matches!(container.phase, Phase::Starting { .. } | Phase::Running);
            let input = container.input.as_ref();
            runs && input.is_some_and(|input| input.kind == Stdin::Once)
        };
        if gone != Gone::Done && client.stdin && self.containers.get(&client.id).is_some_and(once) {
            self.end_input(&client.id);
        }
        self.regulate(&client.id);
    }
}
