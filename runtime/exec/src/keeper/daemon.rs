//! The connection to the daemon: one at a time, a newer one replaces an older one.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with};

use super::Keeper;
use super::client::Gone;
use super::container::{Container, Phase};
use super::poller::{Source, Token};
use crate::channel;
use crate::protocol::{Answer, Ask, MAX_MESSAGE, Message, Request, VERSION, decode, encode};
use crate::run_step::window;

/// Messages that wait for a slow daemon; at the bound the connection is given up, and a new one learns everything.
const MAX_WAITING: usize = 16 * 1024;

/// Requests taken in one turn; the rest waits in the socket for the next one.
const REQUESTS: usize = 16;

#[derive(Debug)]
pub(super) struct Daemon {
    socket: OwnedFd,
    token: Token,
    waiting: VecDeque<(Vec<u8>, Option<OwnedFd>)>,
    /// It has said hello in our language.
    greeted: bool,
}

impl Keeper {
    pub(super) fn accept(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let Ok(socket) = accept_with(&self.listener, flags) else {
            return;
        };
        let peer = rustix::net::sockopt::socket_peercred(&socket);
        if !peer.is_ok_and(|peer| peer.uid == rustix::process::geteuid()) {
            return;
        }
        self.tell(&Message::Replaced);
        self.lose_daemon();
        if let Ok(token) = self.poller.watch_input(socket.as_fd(), Source::Daemon) {
            self.daemon = Some(Daemon {
                socket,
                token,
                waiting: VecDeque::new(),
                greeted: false,
            });
        }
    }

    fn lose_daemon(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            self.poller.forget(daemon.socket.as_fd(), daemon.token);
        }
        // The numbers of the next one's requests are others.
        self.containers.values_mut().for_each(Container::orphan);
        if self.containers.is_empty() {
            // Nobody will ever start what they wait for.
            self.clients.clear();
        }
    }

    pub(super) fn serve_daemon(&mut self, flags: EventFlags) {
        if flags.contains(EventFlags::OUT) {
            self.flush_daemon();
        }
        for _ in 0..REQUESTS {
            let Some(daemon) = &self.daemon else {
                return;
            };
            let mut buffer = [0; MAX_MESSAGE];
            match channel::receive(daemon.socket.as_fd(), &mut buffer, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return self.lose_daemon(),
                Ok((count, descriptors)) => match decode(&buffer[..count]) {
                    Some(request) => self.request(request, descriptors),
                    None => return self.lose_daemon(),
                },
                Err(Errno::AGAIN) => return,
                Err(_) => return self.lose_daemon(),
            }
        }
    }

    fn request(&mut self, request: Request, descriptors: Vec<OwnedFd>) {
        let Request { number, ask } = request;
        let greeted = self.daemon.as_ref().is_some_and(|daemon| daemon.greeted);
        match ask {
            Ask::Hello { version } => self.greet(number, version),
            _ if !greeted => self.lose_daemon(),
            Ask::Start => self.start(number, descriptors),
            Ask::Signal { id, signal } => {
                let sent = self
                    .containers
                    .get(&id)
                    .is_some_and(|container| container.signal(signal));
                self.answer(number, if sent { Answer::Done } else { Answer::NotRunning });
            }
            Ask::Forget { id } => {
                self.forget(&id);
                self.answer(number, Answer::Done);
            }
            Ask::Attach {
                id,
                stdin,
                stdout,
                stderr,
                raw,
            } => match self.attach(&id, [stdin, stdout, stderr, raw]) {
                Ok(Some(socket)) => self.answer_with(number, Answer::Done, Some(socket)),
                Ok(None) | Err(_) => self.answer(number, Answer::TooManyClients),
            },
            Ask::Resize { id, rows, columns } => {
                let answer = self.resize(&id, rows, columns);
                self.answer(number, answer);
            }
            Ask::End => self.end(),
        }
    }

    fn greet(&mut self, number: u64, version: u32) {
        if version == VERSION {
            for known in self.known() {
                self.tell(&Message::Known(known));
            }
            if let Some(daemon) = &mut self.daemon {
                daemon.greeted = true;
            }
        }
        self.answer(number, Answer::Version(VERSION));
    }

    /// A container that still runs is forgotten at its end; one that never was has no more clients.
    fn forget(&mut self, id: &str) {
        match self.containers.get_mut(id) {
            Some(container) => match container.phase {
                Phase::Starting { .. } | Phase::Running | Phase::Failed => container.forgotten = true,
                Phase::Ended(_) => {
                    self.containers.remove(id);
                }
            },
            None => {
                let waiting = self.clients.iter().filter(|(_, client)| client.id == id);
                let waiting: Vec<u64> = waiting.map(|(number, _)| *number).collect();
                for number in waiting {
                    self.remove_client(number, Gone::Done);
                }
            }
        }
    }

    fn resize(&self, id: &str, rows: u16, columns: u16) -> Answer {
        let Some(container) = self.containers.get(id).filter(|container| container.lives()) else {
            return Answer::NotRunning;
        };
        let Some(terminal) = &container.terminal else {
            return Answer::NoTerminal;
        };
        match rustix::termios::tcsetwinsize(terminal, window(rows, columns)) {
            Ok(()) => Answer::Done,
            Err(_) => Answer::NotRunning,
        }
    }

    fn end(&mut self) {
        self.ending = true;
        for container in self.containers.values() {
            container.kill();
        }
    }

    pub(super) fn answer(&mut self, number: u64, answer: Answer) {
        self.answer_with(number, answer, None);
    }

    /// The answer to a start, if whoever asked is still there.
    pub(super) fn answer_to(&mut self, number: Option<u64>, answer: Answer) {
        if let Some(number) = number {
            self.answer(number, answer);
        }
    }

    fn answer_with(&mut self, number: u64, answer: Answer, descriptor: Option<OwnedFd>) {
        self.send(encode(&Message::Answer { number, answer }), descriptor);
    }

    /// Tells the daemon, if there is one. What is not told now is told to the next one.
    pub(super) fn tell(&mut self, message: &Message) {
        self.send(encode(message), None);
    }

    fn send(&mut self, bytes: Vec<u8>, descriptor: Option<OwnedFd>) {
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        if daemon.waiting.len() >= MAX_WAITING {
            return self.lose_daemon();
        }
        daemon.waiting.push_back((bytes, descriptor));
        self.flush_daemon();
    }

    fn flush_daemon(&mut self) {
        let Some(daemon) = &mut self.daemon else {
            return;
        };
        while let Some((bytes, descriptor)) = daemon.waiting.front() {
            let descriptors: Vec<_> = descriptor.iter().map(AsFd::as_fd).collect();
            match channel::send(daemon.socket.as_fd(), bytes, &descriptors, SendFlags::DONTWAIT) {
                Ok(()) => drop(daemon.waiting.pop_front()),
                Err(Errno::AGAIN) => break,
                Err(_) => return self.lose_daemon(),
            }
        }
        let mut flags = EventFlags::IN;
        flags.set(EventFlags::OUT, !daemon.waiting.is_empty());
        self.poller.change(daemon.socket.as_fd(), daemon.token, flags);
    }
}
