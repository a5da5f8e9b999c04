//! A netlink socket: requests with an answer, dumps, and batches of nftables messages.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with, sockopt,
};

use super::message::{HEADER, Message, messages, word};

/// The kernel answers within the call that asks; this only keeps a bug from hanging a thread for ever.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// The kernel builds dumps in pieces of at most 32 KiB.
const RECEIVE_BUFFER: usize = 64 * 1024;

/// A table that changes while it is dumped is read again, this often at most.
const DUMP_TRIES: u32 = 5;

/// Room for the answers to a batch: one for each message, about 1 KiB each in the kernel's account.
const SOCKET_BUFFER: usize = 1024 * 1024;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_DUMP_INTR: u16 = 0x10;

/// Which part of the kernel to talk to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Family {
    /// Links, addresses, routes.
    Route,
    /// nftables and connection tracking.
    Netfilter,
}

/// One message of an answer: kind and payload.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) kind: u16,
    pub(crate) payload: Vec<u8>,
}

/// A socket that belongs to the network namespace of the thread that opened it.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

impl Socket {
    /// Opens a socket in the network namespace of the calling thread.
    pub(crate) fn open(family: Family) -> io::Result<Self> {
        let protocol = match family {
            Family::Route => None,
            Family::Netfilter => Some(netlink::NETFILTER),
        };
        let fd = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            SocketFlags::CLOEXEC,
            protocol,
        )?;
        sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, Some(ANSWER_TIMEOUT))?;
        // The kernel caps this silently; what it grants is enough for batches as small as ours.
        sockopt::set_socket_recv_buffer_size(&fd, SOCKET_BUFFER)?;
        Ok(Self { fd, sequence: 0 })
    }

    /// Sends a request and waits for its acknowledgement.
    pub(crate) fn request(&mut self, message: Message) -> io::Result<()> {
        self.ask(message, NLM_F_ACK).map(drop)
    }

    /// Sends a request that is answered by messages and an acknowledgement.
    pub(crate) fn get(&mut self, message: Message) -> io::Result<Vec<Answer>> {
        self.ask(message, NLM_F_ACK)
    }

    /// Reads a whole table.
    pub(crate) fn dump(&mut self, message: impl Fn() -> Message) -> io::Result<Vec<Answer>> {
        for _ in 0..DUMP_TRIES {
            match self.ask(message(), NLM_F_DUMP) {
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                result => return result,
            }
        }
        Err(io::Error::from_raw_os_error(libc::EBUSY))
    }

    /// Sends messages as one transaction: all of them happen, or none.
    pub(crate) fn batch(&mut self, begin: Message, requests: Vec<Message>, end: Message) -> io::Result<()> {
        let count = u32::try_from(requests.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let first = self.sequence.wrapping_add(1);
        let mut bytes = begin.finish(self.next(), 0);
        for request in requests {
            bytes.extend_from_slice(&request.finish(self.next(), NLM_F_ACK));
        }
        bytes.extend_from_slice(&end.finish(self.next(), 0));
        self.send(&bytes)?;
        let mut waiting = count;
        while waiting > 0 {
            for (sequence, outcome) in self.acknowledgements()? {
                if sequence.wrapping_sub(first) > count {
                    continue;
                }
                if let Err(error) = outcome {
                    self.drain();
                    return Err(error);
                }
                waiting = waiting.saturating_sub(1);
            }
        }
        Ok(())
    }

    fn ask(&mut self, message: Message, flags: u16) -> io::Result<Vec<Answer>> {
        let sequence = self.next();
        self.send(&message.finish(sequence, flags))?;
        let mut answers = Vec::new();
        let mut interrupted = false;
        let mut buffer = vec![0; RECEIVE_BUFFER];
        loop {
            let length = self.receive(&mut buffer)?;
            for message in messages(&buffer[..length]).filter(|message| message.sequence == sequence) {
                interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
                match message.kind {
                    NLMSG_ERROR | NLMSG_DONE => {
                        outcome(message.payload)?;
                        return if interrupted {
                            Err(io::Error::from_raw_os_error(libc::EINTR))
                        } else {
                            Ok(answers)
                        };
                    }
                    kind => answers.push(Answer {
                        kind,
                        payload: message.payload.to_vec(),
                    }),
                }
            }
        }
    }

    fn acknowledgements(&self) -> io::Result<Vec<(u32, io::Result<()>)>> {
        let mut buffer = vec![0; RECEIVE_BUFFER];
        let length = self.receive(&mut buffer)?;
        Ok(messages(&buffer[..length])
            .filter(|message| message.kind == NLMSG_ERROR)
            .map(|message| (message.sequence, outcome(message.payload)))
            .collect())
    }

    /// Answers that are left over must not be taken for those of the next request.
    fn drain(&self) {
        let mut buffer = vec![0; RECEIVE_BUFFER];
        while matches!(recv(&self.fd, &mut buffer[..], RecvFlags::DONTWAIT), Ok((length, _)) if length > 0) {}
    }

    fn next(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        let sent = send(&self.fd, bytes, SendFlags::empty())?;
        if sent == bytes.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }

    fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let (length, _) = rustix::io::retry_on_intr(|| recv(&self.fd, &mut buffer[..], RecvFlags::empty()))?;
        if length < HEADER {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(length)
    }
}

/// An error message starts with the negative error number, zero for success.
fn outcome(payload: &[u8]) -> io::Result<()> {
    let code = word(payload, 0).unwrap_or_default().cast_signed();
    if code == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(code.wrapping_neg()))
    }
}
