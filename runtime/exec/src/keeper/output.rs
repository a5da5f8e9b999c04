//! What containers say: into the log, and to whoever is attached.

use std::os::fd::AsFd;
use std::time::SystemTime;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;

use super::Keeper;
use super::poller::Source;
use crate::log::{Stream, rfc3339};

/// What is still read of an output after the end of its container, in pieces: more than a pipe holds. A process
/// elsewhere that has been handed the pipe could go on for ever.
const LAST_PIECES: usize = 32;

impl Keeper {
    /// One piece of output.
    pub(super) fn read_output(&mut self, id: &str, stream: Stream) {
        self.take_piece(id, stream);
    }

    /// Reads one piece; false when there is none now.
    fn take_piece(&mut self, id: &str, stream: Stream) -> bool {
        let Some(container) = self.containers.get_mut(id) else {
            return false;
        };
        let Some(pipe) = &container.output(stream).pipe else {
            return false;
        };
        let count = match rustix::io::read(&pipe.fd, &mut self.buffer) {
            Ok(0) => {
                self.close_output(id, stream);
                return false;
            }
            Ok(count) => count,
            Err(Errno::AGAIN | Errno::INTR) => return false,
            Err(_) => {
                self.close_output(id, stream);
                return false;
            }
        };
        let bytes = &self.buffer[..count];
        let mut records = Vec::new();
        let time = rfc3339(SystemTime::now());
        container.output(stream).lines.push(bytes, &time, &mut records);
        container.append(&records);
        self.hand_out(id, stream, count);
        true
    }

    /// The last line may have no end.
    fn close_output(&mut self, id: &str, stream: Stream) {
        let Some(container) = self.containers.get_mut(id) else {
            return;
        };
        let output = container.output(stream);
        let Some(mut pipe) = output.pipe.take() else {
            return;
        };
        pipe.forget(&mut self.poller);
        let mut records = Vec::new();
        output.lines.finish(&rfc3339(SystemTime::now()), &mut records);
        container.append(&records);
    }

    /// Everything that a container said before it ended.
    pub(super) fn finish_output(&mut self, id: &str) {
        for stream in Stream::BOTH {
            for _ in 0..LAST_PIECES {
                if !self.take_piece(id, stream) {
                    break;
                }
            }
            self.close_output(id, stream);
        }
        if let Some(container) = self.containers.get_mut(id) {
            container.drop_input(&mut self.poller);
            container.terminal = None;
        }
    }

    /// Outputs of a container are read unless a client has too much waiting.
    pub(super) fn regulate(&mut self, id: &str) {
        let full = self
            .clients
            .values()
            .any(|client| client.id == id && client.is_full());
        let Some(container) = self.containers.get_mut(id) else {
            return;
        };
        for stream in Stream::BOTH {
            let Some(pipe) = &mut container.output(stream).pipe else {
                continue;
            };
            match (full, pipe.token) {
                (true, Some(_)) => pipe.forget(&mut self.poller),
                (false, None) => {
                    let source = Source::Output(id.to_owned(), stream);
                    // Without memory for it the output stays unread until a client reads the next piece.
                    pipe.token = self.poller.watch(pipe.fd.as_fd(), source, EventFlags::IN).ok();
                }
                (true, None) | (false, Some(_)) => {}
            }
        }
    }
}
