//! Which images are kept: the newest two, so that should the newest not be readable, the one before it and the log since
//! then give the same state.

/// Images kept.
const GENERATIONS: usize = 2;

/// A place in the log: index and term. Later ones are greater.
pub type Position = (u64, u64);

/// The published images.
#[derive(Clone, Debug, Default)]
pub struct Generations {
    /// Oldest first.
    kept: Vec<Position>,
}

impl Generations {
    /// Those that were found.
    pub fn new(found: impl IntoIterator<Item = Position>) -> Generations {
        let mut kept: Vec<Position> = found.into_iter().collect();
        kept.sort_unstable();
        Generations { kept }
    }

    /// The name of an image.
    pub fn name((index, term): Position) -> String {
        format!("{index:016x}-{term:016x}")
    }

    /// The place in an image's name; none for other names.
    pub fn position(name: &str) -> Option<Position> {
        let (index, term) = name.split_once('-')?;
        if index.len() != 16 || term.len() != 16 {
            return None;
        }
        Some((
            u64::from_str_radix(index, 16).ok()?,
            u64::from_str_radix(term, 16).ok()?,
        ))
    }

    /// Whether an image is there.
    pub fn contains(&self, position: Position) -> bool {
        self.kept.contains(&position)
    }

    /// An image is durable under its name; gives those that are to go.
    pub fn publish(&mut self, position: Position) -> Vec<Position> {
        self.kept.push(position);
        self.kept.sort_unstable();
        let surplus = self.kept.len().saturating_sub(GENERATIONS);
        self.kept.drain(..surplus).collect()
    }

    /// An image is there no more.
    pub fn forget(&mut self, position: Position) {
        self.kept.retain(|kept| *kept != position);
    }

    /// Newest first.
    pub fn newest_first(&self) -> Vec<Position> {
        self.kept.iter().rev().copied().collect()
    }

    /// The log is needed from this index on: that of the older image, or from the beginning when there is only one.
    pub fn keep_from(&self) -> u64 {
        let older = self.kept.len().checked_sub(GENERATIONS);
        older.map_or(0, |older| self.kept[older].0)
    }
}

#[cfg(test)]
mod tests {
    use super::Generations;

    #[test]
    fn the_newest_two_are_kept_and_the_log_from_the_older_on() {
        let mut kept = Generations::new([(7, 1)]);
        assert_eq!(kept.keep_from(), 0);
        assert!(kept.publish((9, 1)).is_empty());
        assert_eq!(kept.keep_from(), 7);
        assert_eq!(kept.publish((12, 2)), [(7, 1)]);
        assert_eq!(kept.newest_first(), [(12, 2), (9, 1)]);
        kept.forget((12, 2));
        assert_eq!((kept.keep_from(), kept.contains((12, 2))), (0, false));
    }

    #[test]
    fn names_are_read_back_and_others_are_not() {
        assert_eq!(
            Generations::position(&Generations::name((12, 300))),
            Some((12, 300))
        );
        for name in ["", "1-2", "manifest", "000000000000000g-0000000000000001"] {
            assert_eq!(Generations::position(name), None, "{name}");
        }
    }
}
