//! Which nodes have a deadline, soonest first.

use crate::key::Key;
use imbl::OrdSet;

#[derive(Clone, Default)]
pub(crate) struct Deadlines(OrdSet<(u64, Key)>);

impl Deadlines {
    pub(crate) fn add(&mut self, deadline: Option<u64>, key: &Key) {
        if let Some(deadline) = deadline {
            self.0.insert((deadline, key.clone()));
        }
    }

    pub(crate) fn cancel(&mut self, deadline: Option<u64>, key: &Key) {
        if let Some(deadline) = deadline {
            self.0.remove(&(deadline, key.clone()));
        }
    }

    pub(crate) fn soonest(&self) -> Option<u64> {
        self.0.get_min().map(|(deadline, _)| *deadline)
    }

    /// The first key whose deadline is not after `now`; equal deadlines in the order of keys.
    pub(crate) fn due(&self, now: u64) -> Option<Key> {
        let (deadline, key) = self.0.get_min()?;
        (*deadline <= now).then(|| key.clone())
    }
}
