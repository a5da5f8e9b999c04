//! The durable log of a member without its IO: the bytes of records, the order in which files are written, made durable,
//! named and removed, and what is read back after whatever a crash left.
//!
//! Everything here works on [`Files`]. The node gives it a file system, the simulator a disk that loses, tears and
//! reorders what was not synced: both run this very code.

mod error;
mod files;
mod generations;
mod journal;
mod reader;
mod record;
mod recovery;
mod replay;
mod segment;
mod spare;

pub use error::WalError;
pub use files::Files;
pub use generations::{Generations, Position};
pub use journal::Journal;
pub use reader::{OpenedJournal, open};
pub use record::{ALIGN, HEADER_BYTES, Header, Kind, Place, Record, write as write_record};
pub use recovery::{Images, recover};
pub use replay::{Kept, Replay};
pub use segment::{
    Found, MAX_SEGMENT_BYTES, SEGMENT_HEADER, SEGMENT_VERSION, Scan, check_header, header, is_blank, number,
    path, scan, seed,
};
pub use spare::{DRAFT, Spare, make};
