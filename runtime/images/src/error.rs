//! What can go wrong with images, and which kind of failure it is to the one who asked.

use std::io;
use std::path::PathBuf;

use crate::changes::ChangeError;
use crate::reference::ReferenceError;

/// A failure of the image store.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// There is no such image; the text names it as docker does.
    #[error("No such image: {0}")]
    NotFound(String),
    /// The beginning of an id belongs to several images.
    #[error("multiple IDs found with provided prefix: {0}")]
    Ambiguous(String),
    /// A name that is not one.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A change that cannot be made to the configuration.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The image cannot be removed as asked.
    #[error(
        "conflict: unable to remove repository reference {reference:?} (must force) - a container is using its referenced image {id}"
    )]
    NameInUse {
        /// The name.
        reference: String,
        /// The short id of the image.
        id: String,
    },
    /// The image cannot be removed while a container needs it.
    #[error("conflict: unable to delete {id} (cannot be forced) - image is being used by a container")]
    InUse {
        /// The short id of the image.
        id: String,
    },
    /// The image has several names.
    #[error(
        "conflict: unable to delete {id} (must be forced) - image is referenced in multiple repositories"
    )]
    SeveralNames {
        /// The short id of the image.
        id: String,
    },
    /// The archive is refused.
    #[error("archive: {0}")]
    Archive(#[from] ArchiveError),
    /// The directory was written by something that this version does not know.
    #[error("image directory {path:?} has the unknown format {found:?}")]
    Format {
        /// The directory.
        path: PathBuf,
        /// What it says about itself.
        found: String,
    },
    /// A file of the store is damaged.
    #[error("image directory: {path:?} is damaged")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The disk refused.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done, naming the thing.
        doing: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// What a failure means to the one who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageErrorKind {
    /// No such image.
    NotFound,
    /// The request cannot be understood.
    BadRequest,
    /// The request does not go with what is there.
    Conflict,
    /// The store or the host is at fault.
    Internal,
}

impl ImageError {
    /// The kind of failure.
    #[must_use]
    pub fn kind(&self) -> ImageErrorKind {
        match self {
            Self::NotFound(_) => ImageErrorKind::NotFound,
            Self::Ambiguous(_) | Self::Reference(_) | Self::Change(_) => ImageErrorKind::BadRequest,
            Self::NameInUse { .. } | Self::InUse { .. } | Self::SeveralNames { .. } => {
                ImageErrorKind::Conflict
            }
            Self::Archive(error) => match error {
                ArchiveError::Write { .. } => ImageErrorKind::Internal,
                ArchiveError::Read(_)
                | ArchiveError::Compression(_)
                | ArchiveError::Header(_)
                | ArchiveError::Refused { .. }
                | ArchiveError::Limit(_) => ImageErrorKind::BadRequest,
            },
            Self::Format { .. } | Self::Damaged { .. } | Self::Io { .. } => ImageErrorKind::Internal,
        }
    }

    /// Names what was being done when the kernel refused.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}

/// Why an archive is not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It cannot be read to its end.
    #[error("cannot be read: {0}")]
    Read(#[source] io::Error),
    /// It is compressed in a way that is not supported.
    #[error("{0} compression is not supported yet")]
    Compression(&'static str),
    /// A header of the archive makes no sense.
    #[error("{0}")]
    Header(&'static str),
    /// An entry must not be unpacked.
    #[error("entry {path:?} {reason}")]
    Refused {
        /// The entry's name.
        path: String,
        /// Why.
        reason: &'static str,
    },
    /// It has more of something than is allowed.
    #[error("more than {0}")]
    Limit(String),
    /// An entry could not be written.
    #[error("entry {path:?} cannot be written: {source}")]
    Write {
        /// The entry's name.
        path: String,
        /// The kernel's answer.
        source: io::Error,
    },
}
