//! From a backup to the data directory of a member of a new cluster.

use crate::backup::{BackupCheck, BackupError, BackupHead};
use crate::bootstrap;
use crate::config::InitialCluster;
use crate::disk::{Disk, DiskError, Forming, Identity};
use crate::error::BootstrapError;
use berth_replica::{HardState, Member, Persist, Roster, SnapshotMark};
use berth_store::{Restorer, Store};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// What is read of a backup at a time.
const READ_BYTES: usize = 256 << 10;

/// What a member is restored to.
#[derive(Clone, Debug)]
pub struct Restore {
    /// Where its data goes; the directory must not be there yet, or be empty.
    pub data_dir: PathBuf,
    /// Its name.
    pub name: String,
    /// All members that are restored from this backup; `None`: this one alone.
    pub initial_cluster: Option<InitialCluster>,
}

/// A member that was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What the backup says about itself.
    pub head: BackupHead,
    /// The new member's id.
    pub member: u64,
    /// The new cluster's id.
    pub cluster: u64,
}

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The backup.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no whole, sound backup.
    #[error("{}", path.display())]
    Backup {
        /// The backup.
        path: PathBuf,
        /// What is wrong with it.
        source: BackupError,
    },
    /// Something is there already.
    #[error("--data-dir {}: it holds something already", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// What was said about the cluster cannot be.
    #[error(transparent)]
    Cluster(#[from] BootstrapError),
    /// The data cannot be written.
    #[error("cannot make the data directory")]
    Disk(#[from] DiskError),
    /// The data cannot get its name.
    #[error("--data-dir {}: cannot be made", path.display())]
    Place {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Makes a data directory of a new cluster from a backup. It is there whole, or not at all. Blocks.
///
/// Who was in the cluster of the backup can never join: the ids of the new one are others, even at the same URLs. All
/// members that are restored from one backup with the same list and token form one cluster.
///
/// # Errors
/// A damaged backup, a directory that holds something, or what the disk refuses.
pub fn restore(file: &Path, wish: &Restore) -> Result<Restored, RestoreError> {
    check_place(&wish.data_dir)?;
    let (head, digest, store) = read(file)?;
    let forming = forming(wish, &digest)?;
    let draft = draft(&wish.data_dir);
    let place = |source| RestoreError::Place {
        path: wish.data_dir.clone(),
        source,
    };
    // What an earlier try left.
    remove(&draft).map_err(place)?;
    let made = fill(&draft, wish, &forming, head, store);
    if made.is_err() {
        // Nobody takes it for a member; the next try removes it.
        drop(remove(&draft));
    }
    let restored = made?;
    fs::rename(&draft, &wish.data_dir).map_err(place)?;
    let parent = wish
        .data_dir
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let parent = File::open(parent.unwrap_or(Path::new(".")));
    parent.and_then(|parent| parent.sync_all()).map_err(place)?;
    Ok(restored)
}

fn remove(draft: &Path) -> io::Result<()> {
    match fs::remove_dir_all(draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Beside its place, so that it can be renamed.
fn draft(data_dir: &Path) -> PathBuf {
    let mut name = data_dir.file_name().unwrap_or_default().to_owned();
    name.push(".restoring");
    data_dir.with_file_name(name)
}

fn check_place(path: &Path) -> Result<(), RestoreError> {
    match fs::read_dir(path).map(|mut inside| inside.next().is_some()) {
        Ok(false) => Ok(()),
        Ok(true) => Err(RestoreError::NotEmpty {
            path: path.to_path_buf(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(RestoreError::Place {
            path: path.to_path_buf(),
            source,
        }),
    }
}

/// The state, with the backup's head and hash.
fn read(path: &Path) -> Result<(BackupHead, [u8; 32], Store), RestoreError> {
    let unreadable = |source| RestoreError::File {
        path: path.to_path_buf(),
        source,
    };
    let unsound = |source| RestoreError::Backup {
        path: path.to_path_buf(),
        source,
    };
    let mut file = File::open(path).map_err(unreadable)?;
    let mut check = BackupCheck::default();
    let mut restorer = Restorer::new();
    let mut piece = vec![0; READ_BYTES];
    loop {
        let bytes = match file.read(&mut piece) {
            Ok(0) => break,
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(error)),
        };
        let take = |number: &[u8], chunk: &[u8]| restorer.push(number, chunk).map_err(BackupError::from);
        check.read(&piece[..bytes], take).map_err(unsound)?;
    }
    let digest = check.digest;
    let head = check.finish().map_err(unsound)?;
    let store = restorer.finish().map_err(|error| unsound(error.into()))?;
    Ok((head, digest, store))
}

/// The members of the new cluster. Their ids come from the backup too: the same URLs and token as before make others.
fn forming(wish: &Restore, digest: &[u8; 32]) -> Result<Forming, RestoreError> {
    let Some(initial) = &wish.initial_cluster else {
        return Ok(Forming::default());
    };
    bootstrap::check_urls(initial)?;
    let named = initial.members.iter().find(|member| member.name == wish.name);
    let own = named.ok_or_else(|| BootstrapError::Unnamed {
        name: wish.name.clone(),
    })?;
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let token = format!("{} {digest}", initial.token);
    let id = |urls: &[String]| bootstrap::member_id(urls, &token);
    let ids: BTreeSet<u64> = initial
        .members
        .iter()
        .map(|member| id(&member.peer_urls))
        .collect();
    let founder = |member: &crate::config::InitialMember| Member {
        id: id(&member.peer_urls),
        name: member.name.clone(),
        peer_urls: member.peer_urls.clone(),
        client_urls: Vec::new(),
    };
    Ok(Forming {
        identity: Some(Identity {
            member: id(&own.peer_urls),
            cluster: bootstrap::cluster_id(&ids),
        }),
        founders: initial.members.iter().map(founder).collect(),
        ..Forming::default()
    })
}

/// Everything that the first start finds.
fn fill(
    dir: &Path,
    wish: &Restore,
    forming: &Forming,
    head: BackupHead,
    store: Store,
) -> Result<Restored, RestoreError> {
    let mut opened = Disk::open(dir, forming)?;
    let identity = opened.founding.identity;
    let alone = Member {
        name: wish.name.clone(),
        ..Member::bare(identity.member)
    };
    let founders = match forming.founders.as_slice() {
        [] => vec![alone],
        founders => founders.to_vec(),
    };
    let ids: Vec<u64> = founders.iter().map(|member| member.id).collect();
    let mut roster = Roster::founding(&ids);
    roster.members = founders.into_iter().map(|member| (member.id, member)).collect();
    // The log goes on behind the backup's last entry: numbers that clients have seen are not given again.
    let mark = SnapshotMark {
        index: head.raft_index.max(1),
        term: head.term.max(1),
        voters: roster.voters.iter().copied().collect(),
        roster,
    };
    let hard_state = HardState {
        term: mark.term,
        vote: 0,
        commit: mark.index,
    };
    opened.disk.persist(&Persist {
        number: 1,
        snapshot: Some((mark, Box::new(store))),
        entries: Vec::new(),
        hard_state: Some(hard_state),
        must_sync: true,
        after: Vec::new(),
    })?;
    Ok(Restored {
        head,
        member: identity.member,
        cluster: identity.cluster,
    })
}
