//! A connection to the keeper: requests and their answers, and reports in between.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{RecvFlags, SendFlags, Shutdown, shutdown};

use super::{Exit, Report, exit, lock};
use crate::channel;
use crate::error::ExecError;
use crate::protocol::{Answer, Ask, Known, MAX_MESSAGE, Message, Request, VERSION, decode, encode};

/// How long an answer may take: longer than the keeper gives a start. Then the request counts as failed.
const ANSWER_DEADLINE: Duration = Duration::from_secs(60);

/// How long the keeper may leave a message in the socket, or the greeting unanswered.
const SOCKET_DEADLINE: Duration = Duration::from_secs(10);

/// How long the keeper may take to kill everything and end.
const END_DEADLINE: Duration = Duration::from_secs(15);

/// The exit code of a container whose end nobody saw.
const UNSEEN: i32 = 255;

type Answered = (Answer, Option<OwnedFd>);

#[derive(Debug)]
pub(super) struct Connection {
    socket: OwnedFd,
    next: AtomicU64,
    lost: AtomicBool,
    replaced: AtomicBool,
    closed: AtomicBool,
    /// Who waits for which answer. One slot each, so the reader never waits for them.
    pending: Mutex<BTreeMap<u64, SyncSender<Answered>>>,
    /// Containers whose end is still to be reported.
    running: Mutex<BTreeSet<String>>,
    /// Ends with the reader.
    ended: Mutex<Receiver<()>>,
}

impl Connection {
    /// Greets the keeper behind the socket.
    pub(super) fn greet(
        socket: OwnedFd,
        reports: SyncSender<Report>,
    ) -> Result<(Arc<Self>, Vec<Known>), ExecError> {
        let failed = || ExecError::io("greeting the keeper");
        set_socket_timeout(&socket, Timeout::Send, Some(SOCKET_DEADLINE)).map_err(failed())?;
        set_socket_timeout(&socket, Timeout::Recv, Some(SOCKET_DEADLINE)).map_err(failed())?;
        send(&socket, 0, Ask::Hello { version: VERSION }, &[])?;
        let known = hear(&socket)?;
        set_socket_timeout(&socket, Timeout::Recv, None).map_err(failed())?;
        let running = known.iter().filter(|known| known.exit.is_none());
        let (end, ended) = sync_channel(0);
        let connection = Arc::new(Self {
            socket,
            next: AtomicU64::new(1),
            lost: AtomicBool::new(false),
            replaced: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            pending: Mutex::new(BTreeMap::new()),
            running: Mutex::new(running.map(|known| known.id.clone()).collect()),
            ended: Mutex::new(ended),
        });
        let reader = Arc::clone(&connection);
        thread::Builder::new()
            .name("keeper".to_owned())
            .spawn(move || {
                reader.read(&reports);
                drop(end);
            })
            .map_err(ExecError::io("starting a thread"))?;
        Ok((connection, known))
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Acquire)
    }

    pub(super) fn was_replaced(&self) -> bool {
        self.replaced.load(Ordering::Acquire)
    }

    /// The end of this container is to be reported from now on.
    pub(super) fn expect(&self, id: &str) {
        lock(&self.running).insert(id.to_owned());
    }

    /// It never ran.
    pub(super) fn unexpect(&self, id: &str) {
        lock(&self.running).remove(id);
    }

    /// Sends a request and waits for its answer.
    pub(super) fn ask(&self, ask: Ask, descriptors: &[BorrowedFd<'_>]) -> Result<Answered, ExecError> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = sync_channel(1);
        lock(&self.pending).insert(number, sender);
        let sent = if self.is_lost() {
            Err(ExecError::KeeperGone)
        } else {
            send(&self.socket, number, ask, descriptors)
        };
        let answer = sent.and_then(|()| {
            receiver
                .recv_timeout(ANSWER_DEADLINE)
                .map_err(|error| match error {
                    RecvTimeoutError::Disconnected => ExecError::KeeperGone,
                    RecvTimeoutError::Timeout => ExecError::Timeout {
                        seconds: ANSWER_DEADLINE.as_secs(),
                    },
                })
        });
        lock(&self.pending).remove(&number);
        answer
    }

    /// Sends a request whose answer nobody waits for.
    pub(super) fn tell(&self, ask: Ask) -> Result<(), ExecError> {
        send(&self.socket, self.next.fetch_add(1, Ordering::Relaxed), ask, &[])
    }

    /// Has the keeper kill everything and end, and waits for that.
    pub(super) fn end(&self) -> Result<(), ExecError> {
        self.closed.store(true, Ordering::Release);
        self.tell(Ask::End)?;
        match lock(&self.ended).recv_timeout(END_DEADLINE) {
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Ok(()),
            Err(RecvTimeoutError::Timeout) => Err(ExecError::Timeout {
                seconds: END_DEADLINE.as_secs(),
            }),
        }
    }

    /// Ends the connection; containers run on.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        // One that has ended already needs no end.
        let _ = shutdown(&self.socket, Shutdown::Both);
    }

    fn read(&self, reports: &SyncSender<Report>) {
        let mut buffer = vec![0; MAX_MESSAGE];
        while let Ok((count @ 1.., descriptors)) =
            channel::receive(self.socket.as_fd(), &mut buffer, RecvFlags::empty())
        {
            let Some(message) = decode(&buffer[..count]) else {
                tracing::error!("a message of the keeper is not understood");
                break;
            };
            self.take(message, descriptors, reports);
        }
        self.lose(reports);
    }

    fn take(&self, message: Message, descriptors: Vec<OwnedFd>, reports: &SyncSender<Report>) {
        match message {
            Message::Answer { number, answer } => {
                let waiting = lock(&self.pending).remove(&number);
                if let Some(waiting) = waiting {
                    // Whoever has given up needs no answer.
                    let _ = waiting.try_send((answer, descriptors.into_iter().next()));
                }
            }
            Message::Exited { id, exit: ended } => {
                lock(&self.running).remove(&id);
                // Without anybody to report to, the keeper still knows.
                let _ = reports.send(Report::Exited {
                    id,
                    exit: exit(ended),
                });
            }
            Message::Replaced => self.replaced.store(true, Ordering::Release),
            Message::Known(_) => {}
        }
    }

    /// A keeper that has died takes the ends of its containers with it.
    fn lose(&self, reports: &SyncSender<Report>) {
        self.lost.store(true, Ordering::Release);
        lock(&self.pending).clear();
        let left = std::mem::take(&mut *lock(&self.running));
        if self.closed.load(Ordering::Acquire) || self.was_replaced() {
            return;
        }
        tracing::error!(containers = left.len(), "the connection to the keeper has ended");
        for id in left {
            let unseen = Exit {
                code: UNSEEN,
                signal: None,
                oom_killed: false,
                finished_at: SystemTime::now(),
            };
            let _ = reports.send(Report::Exited { id, exit: unseen });
        }
    }
}

fn send(socket: &OwnedFd, number: u64, ask: Ask, descriptors: &[BorrowedFd<'_>]) -> Result<(), ExecError> {
    let bytes = encode(&Request { number, ask });
    // A keeper that ends meanwhile is the same as one that is gone.
    channel::send(socket.as_fd(), &bytes, descriptors, SendFlags::empty()).map_err(|_| ExecError::KeeperGone)
}

/// What the keeper says to a greeting.
fn hear(socket: &OwnedFd) -> Result<Vec<Known>, ExecError> {
    let mut buffer = vec![0; MAX_MESSAGE];
    let mut known = Vec::new();
    loop {
        let received = channel::receive(socket.as_fd(), &mut buffer, RecvFlags::empty());
        let (count, _) = received.map_err(|_| ExecError::KeeperGone)?;
        if count == 0 {
            return Err(ExecError::KeeperGone);
        }
        match decode(&buffer[..count]) {
            Some(Message::Known(one)) => known.push(one),
            Some(Message::Answer {
                answer: Answer::Version(VERSION),
                ..
            }) => return Ok(known),
            Some(Message::Answer {
                answer: Answer::Version(found),
                ..
            }) => {
                return Err(ExecError::KeeperVersion {
                    found,
                    wanted: VERSION,
                });
            }
            // Told while the greeting was on its way; the list has it too.
            Some(Message::Exited { .. }) => {}
            Some(Message::Answer { .. } | Message::Replaced) | None => return Err(ExecError::Malformed),
        }
    }
}
