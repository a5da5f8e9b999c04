//! Puts image and log together: what a member goes on from.

use crate::config::Recovered;
use crate::effect::SnapshotMark;
use crate::wal::error::corrupt;
use crate::wal::files::Files;
use crate::wal::generations::Position;
use crate::wal::journal::Journal;
use crate::wal::replay::{Kept, Replay};
use crate::wal::spare::Spare;
use berth_store::Store;
use std::path::Path;

/// The images of the state beside a log.
pub trait Images {
    /// Why one cannot be read.
    type Error: std::error::Error + 'static;

    /// The published images, newest first.
    fn newest_first(&self) -> Vec<Position>;
    /// Reads an image.
    fn load(&self, position: Position) -> Result<(SnapshotMark, Store), Self::Error>;
    /// Puts an image aside that cannot be read, so that it does not count any more.
    fn put_aside(&self, position: Position) -> Result<(), Self::Error>;
    /// Whether no older image may take this one's place: it is sound, but nothing for this program.
    fn is_final(error: &Self::Error) -> bool;
}

type Image = Option<(SnapshotMark, Store)>;

/// What a member goes on from: the newest image that can be read, and the part of the log that follows it. The log is
/// told of an image that it does not know of.
pub fn recover<F: Files, I: Images<Error = F::Error>>(
    journal: &mut Journal<F>,
    supply: &mut dyn FnMut() -> Result<Spare<F::File>, F::Error>,
    mut replay: Replay,
    images: &I,
) -> Result<Recovered, F::Error> {
    let (snapshot, kept) = choose::<F, I>(journal.dir(), &mut replay, images)?;
    let mut hard_state = replay.hard_state;
    let (index, term) = snapshot
        .as_ref()
        .map_or((0, 0), |(mark, _)| (mark.index, mark.term));
    let last = kept.entries.last().map_or(index, |entry| entry.index);
    if hard_state.commit > last {
        let reason = "committed entries are missing at the end of the log";
        return Err(corrupt(journal.dir(), 0, reason).into());
    }
    hard_state.commit = hard_state.commit.max(index);
    if hard_state.term < term {
        // No vote was given in a term that was never made durable.
        hard_state.term = term;
        hard_state.vote = 0;
    }
    if let Some((mark, _)) = snapshot.as_ref().filter(|_| kept.mark_missing) {
        journal.append(supply, Some(mark), &[], Some(&hard_state), true)?;
    }
    Ok(Recovered {
        hard_state,
        snapshot,
        entries: kept.entries,
    })
}

/// The newest image that can be read, and the part of the log that follows it.
fn choose<F: Files, I: Images<Error = F::Error>>(
    log_dir: &Path,
    replay: &mut Replay,
    images: &I,
) -> Result<(Image, Kept), F::Error> {
    let mut unreadable: Vec<(Position, F::Error)> = Vec::new();
    let mut image = None;
    for position in images.newest_first() {
        match images.load(position) {
            Ok(loaded) => {
                image = Some(loaded);
                break;
            }
            Err(error) if I::is_final(&error) => return Err(error),
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "an image cannot be read"
                );
                unreadable.push((position, error));
            }
        }
    }
    match replay.after(image.as_ref().map(|(mark, _)| mark)) {
        Ok(kept) => {
            for (position, _) in unreadable {
                images.put_aside(position)?;
            }
            Ok((image, kept))
        }
        Err(reason) => match unreadable.into_iter().next() {
            Some((_, error)) => Err(error),
            None => Err(corrupt(log_dir, 0, reason).into()),
        },
    }
}
