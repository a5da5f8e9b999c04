//! Images: content, tags, layers, root file systems.

#![forbid(unsafe_code)]

mod archive;
mod builtin;
mod changes;
mod difference;
mod digest;
mod erase;
mod error;
mod init_layer;
mod pack;
mod place_files;
mod reference;
mod store;
mod unpack;

pub use builtin::place_program;
pub use changes::ChangeError;
pub use difference::{Commit, Difference, DifferenceKind};
pub use erase::erase;
pub use error::{ArchiveError, ImageError, ImageErrorKind};
pub use pack::{Manner, end_archive, pack_directory, pack_file};
pub use place_files::{Extract, copy_tree, extract};
pub use reference::{Reference, ReferenceError};
pub use store::{ContainerLayers, Image, ImageStore, Removed};
pub use unpack::Limits;
