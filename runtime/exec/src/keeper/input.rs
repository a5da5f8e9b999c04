//! What clients say to containers.

use std::os::fd::AsFd;

use rustix::event::epoll::EventFlags;
use rustix::io::Errno;

use super::Keeper;
use super::poller::Source;

impl Keeper {
    /// Writes what waits, as far as there is room, and lets clients go on when nothing waits any more.
    pub(super) fn write_input(&mut self, id: &str) {
        let Some(container) = self.containers.get_mut(id) else {
            return;
        };
        let Some(input) = &mut container.input else {
            return;
        };
        let mut written = 0;
        let mut broken = false;
        while written < input.waiting.len() {
            match rustix::io::write(&input.pipe.fd, &input.waiting[written..]) {
                Ok(count) => written += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                // The container has closed its input: what is said to it is lost, as with any pipe.
                Err(_) => {
                    broken = true;
                    break;
                }
            }
        }
        input.waiting.drain(..written);
        if broken || (input.ending && input.waiting.is_empty()) {
            container.drop_input(&mut self.poller);
        } else if input.waiting.is_empty() {
            input.pipe.forget(&mut self.poller);
        } else if input.pipe.token.is_none() {
            let source = Source::Input(id.to_owned());
            match self.poller.watch(input.pipe.fd.as_fd(), source, EventFlags::OUT) {
                Ok(token) => input.pipe.token = Some(token),
                Err(_) => container.drop_input(&mut self.poller),
            }
        }
        self.listen_to_clients(id);
    }

    /// No more input: the container sees its end after what waits. A terminal has none.
    pub(super) fn end_input(&mut self, id: &str) {
        if let Some(container) = self.containers.get_mut(id)
            && !container.has_terminal
            && let Some(input) = &mut container.input
        {
            input.ending = true;
            self.write_input(id);
        }
    }
}
