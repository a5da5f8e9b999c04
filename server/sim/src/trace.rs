//! What a run did, as a rolling hash and, if wanted, as lines to read.

/// Lines kept at most: the newest ones, for a run is only read backwards from its failure.
const MAX_LINES: usize = 200_000;

#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    events: u64,
    lines: Option<std::collections::VecDeque<String>>,
}

impl Trace {
    pub(crate) fn new(readable: bool) -> Trace {
        Trace {
            hash: 0,
            events: 0,
            lines: readable.then(Default::default),
        }
    }

    /// One thing that happened at a virtual time, with the numbers that describe it.
    pub(crate) fn note(&mut self, now_us: u64, what: &str, numbers: &[u64]) {
        self.events += 1;
        self.mix(now_us);
        what.bytes().for_each(|byte| self.mix(u64::from(byte)));
        numbers.iter().for_each(|number| self.mix(*number));
        let Some(lines) = &mut self.lines else { return };
        if lines.len() == MAX_LINES {
            lines.pop_front();
        }
        lines.push_back(format!("{:>12} {what} {numbers:?}", now_us));
    }

    /// Adds words to the newest line, if there are lines.
    pub(crate) fn remark(&mut self, words: impl FnOnce() -> String) {
        if let Some(line) = self.lines.as_mut().and_then(|lines| lines.back_mut()) {
            line.push(' ');
            line.push_str(&words());
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default().into()
    }

    fn mix(&mut self, word: u64) {
        let product = (self.hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.hash = (product ^ (product >> 29)).rotate_left(23);
    }
}

#[cfg(test)]
mod tests {
    use super::Trace;

    #[test]
    fn the_hash_tells_order_and_the_lines_are_optional() {
        let run = |readable, notes: &[(u64, &str)]| {
            let mut trace = Trace::new(readable);
            notes.iter().for_each(|(at, what)| trace.note(*at, what, &[1, 2]));
            (trace.hash(), trace.into_lines().len())
        };
        let forth = run(true, &[(1, "a"), (2, "b")]);
        assert_eq!(forth.1, 2);
        assert_eq!(run(false, &[(1, "a"), (2, "b")]), (forth.0, 0));
        assert_ne!(run(true, &[(2, "b"), (1, "a")]).0, forth.0);
    }
}
