//! What waits in memory for readers that do not take it, over all connections: a bound on its bytes, and who goes at the bound.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// Bytes of answers and events that wait for slow readers, at a time. A few of the largest listings fit. At the bound, the
/// connection whose reader has taken nothing for the longest time is cut, and streams that lag end.
pub(crate) const MAX_WAITING_BYTES: usize = 128 << 20;

/// The account of what waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    most: usize,
    account: Mutex<Account>,
}

#[derive(Debug, Default)]
struct Account {
    bytes: usize,
    next: u64,
    /// In the order in which they began to wait. Who is taken out here sees the end of its channel.
    answers: BTreeMap<u64, (usize, oneshot::Sender<()>)>,
}

impl Account {
    fn remove(&mut self, number: u64) {
        if let Some((bytes, _)) = self.answers.remove(&number) {
            self.bytes -= bytes;
        }
    }
}

/// An answer that waits for its reader; accounted for until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    waiting: Arc<Waiting>,
    number: u64,
    gone: oneshot::Receiver<()>,
}

/// The text of an event that waits for its readers; accounted for until it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    waiting: Arc<Waiting>,
    bytes: usize,
}

impl Waiting {
    /// With a bound in bytes.
    pub(crate) fn new(most: usize) -> Waiting {
        Waiting {
            most,
            account: Mutex::default(),
        }
    }

    /// An answer begins to wait. One that is larger than the bound may, if no other does.
    pub(crate) fn answer(self: &Arc<Self>, bytes: usize) -> Place {
        let mut account = self.account();
        while account.bytes > self.most.saturating_sub(bytes) {
            let Some((_, (oldest, _))) = account.answers.pop_first() else {
                break;
            };
            account.bytes -= oldest;
        }
        let number = account.next;
        account.next += 1;
        account.bytes += bytes;
        let (there, gone) = oneshot::channel();
        account.answers.insert(number, (bytes, there));
        drop(account);
        Place {
            waiting: Arc::clone(self),
            number,
            gone,
        }
    }

    /// The text of an event begins to wait, for however many readers. At the bound, the longest waiting answer makes room: a connection
    /// that is cut lets go of the events that wait for it, too, but only then, so one has to do for one event.
    pub(crate) fn event(self: &Arc<Self>, bytes: usize) -> Share {
        let mut account = self.account();
        account.bytes += bytes;
        if account.bytes > self.most
            && let Some((_, (oldest, _))) = account.answers.pop_first()
        {
            account.bytes -= oldest;
        }
        drop(account);
        Share {
            waiting: Arc::clone(self),
            bytes,
        }
    }

    /// Whether nothing more should wait.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes() > self.most
    }

    /// The bytes that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.account().bytes
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waiting.account().remove(self.number);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.waiting.account().bytes -= self.bytes;
    }
}

/// Resolves when the connection is to be cut, to make room for others.
impl Future for Place {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.gone).poll(context).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::Waiting;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Waker};

    fn is_cut(place: &mut super::Place) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        Future::poll(Pin::new(place), &mut context).is_ready()
    }

    #[test]
    fn the_longest_waiting_answer_makes_room() {
        let waiting = Arc::new(Waiting::new(100));
        let mut first = waiting.answer(40);
        let mut second = waiting.answer(60);
        assert_eq!(
            (waiting.bytes(), is_cut(&mut first)),
            (100, false),
            "the bound itself fits"
        );
        let mut third = waiting.answer(1);
        assert!(is_cut(&mut first) && !is_cut(&mut second) && !is_cut(&mut third));
        assert_eq!(waiting.bytes(), 61);
        drop(first);
        assert_eq!(waiting.bytes(), 61, "what was cut is not counted twice");
        let mut large = waiting.answer(1_000);
        assert!(is_cut(&mut second) && is_cut(&mut third) && !is_cut(&mut large));
        assert!(waiting.is_full());
        drop((second, third, large));
        assert_eq!(waiting.bytes(), 0);
    }

    #[test]
    fn events_are_counted_and_one_makes_one_go() {
        let waiting = Arc::new(Waiting::new(100));
        let (mut first, mut second) = (waiting.answer(1), waiting.answer(1));
        let event = waiting.event(98);
        assert!(!is_cut(&mut first));
        let large = waiting.event(500);
        assert!(waiting.is_full() && is_cut(&mut first) && !is_cut(&mut second));
        drop((event, large));
        assert_eq!(waiting.bytes(), 1);
    }
}
