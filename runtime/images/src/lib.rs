//! Images: content, tags, layers, root file systems.

#![forbid(unsafe_code)]

mod archive;
mod builtin;
mod changes;
mod digest;
mod erase;
mod error;
mod init_layer;
mod reference;
mod store;
mod unpack;

pub use changes::ChangeError;
pub use error::{ArchiveError, ImageError, ImageErrorKind};
pub use reference::{Reference, ReferenceError};
pub use store::{ContainerLayers, Image, ImageStore, Removed};
pub use unpack::Limits;
