//! Who this member is: the file `member` of a data directory, which also names the version of the directory's layout, and
//! with whom it formed the cluster.

use crate::disk::error::{DiskError, corrupt};
use crate::disk::files;
use crate::disk::sheet::{self, Sheet};
use berth_replica::Member;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// How a data directory is laid out. Another number is refused.
const LAYOUT_VERSION: u64 = 1;

/// The same with founders. A program that does not know of them would take the member for alone: it must not read this.
const FOUNDERS_VERSION: u64 = 2;

/// The same of a member that joined a cluster, to which the founders are only those it knew then.
const JOINED_VERSION: u64 = 3;

const NAME: &str = "berth-data";

/// Who this member is; made at the first start, the same ever after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// This member; not 0.
    pub(crate) member: u64,
    /// Its cluster; not 0.
    pub(crate) cluster: u64,
}

/// How this member came to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Founding {
    pub(crate) identity: Identity,
    /// Drawn with the data directory: a member that lost its data has another one.
    pub(crate) birth: u64,
    /// Those it formed the cluster with, itself among them; none if it was alone. If it joined, those that it knew then.
    pub(crate) founders: Vec<Member>,
    /// It was added to a cluster that was there.
    pub(crate) joined: bool,
    /// What the cluster's forming was given to tell it from others, as far as this member knows.
    pub(crate) token: Option<String>,
}

/// What a first start makes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Forming {
    /// None: one drawn at random.
    pub(crate) identity: Option<Identity>,
    pub(crate) founders: Vec<Member>,
    pub(crate) joins: bool,
    pub(crate) token: Option<String>,
}

/// A founder in the file.
#[derive(Serialize, Deserialize)]
struct Founder {
    id: u64,
    name: String,
    peer_urls: Vec<String>,
}

impl Founding {
    /// What the file says; none when it is not there.
    pub(super) fn read(path: &Path) -> Result<Option<Founding>, DiskError> {
        if !path.exists() {
            return Ok(None);
        }
        let lines = match sheet::read(path, NAME, LAYOUT_VERSION) {
            Err(DiskError::Version {
                found: found @ (FOUNDERS_VERSION | JOINED_VERSION),
                ..
            }) => sheet::read(path, NAME, found),
            read => read,
        }?;
        let number = |word: &str| {
            let line = lines.iter().find(|(found, _)| found == word);
            line.and_then(|(_, hex)| u64::from_str_radix(hex, 16).ok())
                .filter(|number| *number != 0)
        };
        let missing = || corrupt(path, 0, "a number is missing");
        let identity = Identity {
            member: number("member").ok_or_else(missing)?,
            cluster: number("cluster").ok_or_else(missing)?,
        };
        let founders = lines.iter().filter(|(word, _)| word == "founder");
        let founders = founders.map(|(_, line)| {
            let founder: Founder =
                serde_json::from_str(line).map_err(|_| corrupt(path, 0, "a founder cannot be read"))?;
            Ok(Member {
                id: founder.id,
                name: founder.name,
                peer_urls: founder.peer_urls,
                client_urls: Vec::new(),
            })
        });
        Ok(Some(Founding {
            identity,
            // Directories of earlier versions have none, and are known by this one.
            birth: number("birth").unwrap_or(identity.cluster),
            founders: founders.collect::<Result<_, DiskError>>()?,
            joined: lines.iter().any(|(word, _)| word == "joined"),
            token: lines
                .iter()
                .find(|(word, _)| word == "token")
                .and_then(|(_, text)| serde_json::from_str(text).ok()),
        }))
    }

    /// A new one, durable.
    pub(super) fn create(path: &Path, forming: &Forming) -> Result<Founding, DiskError> {
        let identity = match forming.identity {
            Some(identity) => identity,
            None => Identity {
                member: files::random()?,
                cluster: files::random()?,
            },
        };
        let birth = files::random()?;
        let version = if forming.joins {
            JOINED_VERSION
        } else if forming.founders.is_empty() {
            LAYOUT_VERSION
        } else {
            FOUNDERS_VERSION
        };
        let mut sheet = Sheet::new(NAME, version)
            .line("member", format_args!("{:016x}", identity.member))
            .line("cluster", format_args!("{:016x}", identity.cluster))
            .line("birth", format_args!("{birth:016x}"));
        for member in &forming.founders {
            let founder = Founder {
                id: member.id,
                name: member.name.clone(),
                peer_urls: member.peer_urls.clone(),
            };
            // Numbers and strings can always be written, and without line breaks.
            sheet = sheet.line("founder", serde_json::to_string(&founder).unwrap_or_default());
        }
        if forming.joins {
            sheet = sheet.line("joined", "later");
        }
        if let Some(token) = &forming.token {
            sheet = sheet.line("token", serde_json::to_string(token).unwrap_or_default());
        }
        sheet.write(path)?;
        Ok(Founding {
            identity,
            birth,
            founders: forming.founders.clone(),
            joined: forming.joins,
            token: forming.token.clone(),
        })
    }
}
