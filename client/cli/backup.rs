//! `berth backup` and `berth restore`: the whole store as one checked file, and a new cluster from it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use berth_node::{BackupCheck, BackupHead, InitialCluster, Restore};
use berth_sdk::BackupStream;

use crate::args::{BackupArgs, Output, RestoreArgs};
use crate::exit::{FAILED, Failure, Outcome, keys};
use crate::kv::Session;
use crate::terminal::print;

/// Takes a backup of a live member.
pub(crate) async fn backup(session: &Session, output: Output, args: BackupArgs) -> Outcome {
    let file = &args.file;
    // Asked before anything is sent, and again by the system when the file gets its name.
    if file.symlink_metadata().is_ok() {
        return Err(Failure::usage(format!("{}: it is there already", file.display())));
    }
    let draft = Draft::new(file).with_context(|| format!("cannot make {}", file.display()));
    let draft = draft.map_err(|error| Failure::new(FAILED, error))?;
    let stream = session.client().backup(args.stale).await.map_err(keys)?;
    let from = stream.from.clone();
    let taken = take(stream, &draft)
        .await
        .with_context(|| format!("{from}: the backup was not taken"))
        .map_err(|error| Failure::new(FAILED, error))?;
    let kept = draft.keep(file);
    kept.with_context(|| format!("cannot make {}", file.display()))
        .map_err(|error| Failure::new(FAILED, error))?;
    print(&said(output, &taken.0, taken.1, file))?;
    Ok(0)
}

/// Writes what comes in, and checks it on the way.
async fn take(mut stream: BackupStream, draft: &Draft) -> anyhow::Result<(BackupHead, u64)> {
    let mut check = BackupCheck::default();
    let mut bytes = 0;
    while let Some(piece) = stream.next().await? {
        check.push(&piece)?;
        (&draft.file).write_all(&piece)?;
        bytes += piece.len() as u64;
    }
    Ok((check.finish()?, bytes))
}

fn said(output: Output, head: &BackupHead, bytes: u64, file: &Path) -> String {
    match output {
        Output::Text => format!(
            "{}: {} keys and directories at index {}, {bytes} bytes, of cluster {}\n",
            file.display(),
            head.nodes,
            head.index,
            head.cluster
        ),
        Output::Json => {
            let mut text = serde_json::to_string(head).unwrap_or_default();
            text.push('\n');
            text
        }
    }
}

/// A file that has no name of its own yet; it goes with this unless it is kept.
struct Draft {
    file: File,
    path: PathBuf,
}

impl Draft {
    /// Beside its place, so that it can be given its name. Values of keys may be secrets: only its owner reads it.
    fn new(place: &Path) -> io::Result<Self> {
        let mut name = place.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.tmp", std::process::id()));
        let path = place.with_file_name(name);
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { file, path })
    }

    /// Gives it its name when it is on the disk. A file of that name that came meanwhile stays.
    fn keep(self, place: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::hard_link(&self.path, place)?;
        let parent = place.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // What cannot be removed hurts nobody.
        let _ = fs::remove_file(&self.path);
    }
}

/// Makes the data directory of a member of a new cluster.
pub(crate) fn restore(output: Output, args: RestoreArgs) -> Outcome {
    let failed = |error: anyhow::Error| Failure::new(FAILED, error);
    let initial_cluster = match args.initial_cluster.as_deref().map(str::trim) {
        None | Some("") => None,
        Some(list) => Some(InitialCluster {
            members: InitialCluster::parse(list)?,
            token: args.initial_cluster_token.clone(),
            existing: false,
        }),
    };
    let wish = Restore {
        data_dir: args.data_dir,
        name: args.name,
        initial_cluster,
    };
    let restored = berth_node::restore(&args.file, &wish).map_err(|error| failed(error.into()))?;
    let text = match output {
        Output::Text => format!(
            "{}: member {:x} ({}) of the new cluster {:x}, {} keys and directories at index {}\n",
            wish.data_dir.display(),
            restored.member,
            wish.name,
            restored.cluster,
            restored.head.nodes,
            restored.head.index
        ),
        Output::Json => format!(
            "{}\n",
            serde_json::json!({
                "member": format!("{:x}", restored.member),
                "cluster": format!("{:x}", restored.cluster),
                "name": wish.name,
                "index": restored.head.index,
                "nodes": restored.head.nodes,
            })
        ),
    };
    print(&text)?;
    Ok(0)
}
