//! Reads json-file logs: the tail, a span of time, and what is still being written.

mod files;

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use berth_wire::docker::{Stream, encode_frame};
use bytes::Bytes;
use rustix::fs::inotify;
use serde::Deserialize;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, watch};

use crate::clock;
use crate::container::RunState;
use files::{LogFiles, Piece};

/// How much of the file is read at a time.
const READ_SIZE: usize = 64 * 1024;

/// The longest record that is believed: a keeper cuts lines at 16 KiB, escapes make at most six bytes of one.
const MAX_RECORD: usize = 1024 * 1024;

/// Output waiting for a slow reader, in batches of about [`READ_SIZE`]; then reading the file waits too.
const BATCHES: usize = 4;

/// What a client wants to see of a log.
#[derive(Debug, Clone)]
pub(crate) struct LogOptions {
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
    /// Not earlier than this.
    pub(crate) since: Option<i64>,
    /// Not later than this.
    pub(crate) until: Option<i64>,
    /// Only so many records from the end.
    pub(crate) tail: Option<u64>,
    pub(crate) timestamps: bool,
    pub(crate) details: bool,
    pub(crate) follow: bool,
    /// No frames: the container has a terminal.
    pub(crate) raw: bool,
}

#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    log: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    stream: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    time: std::borrow::Cow<'a, str>,
}

/// Starts reading; the receiver gives batches of frames and ends when there is no more to come.
pub(crate) fn read(
    path: PathBuf,
    options: LogOptions,
    run: watch::Receiver<RunState>,
) -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(BATCHES);
    tokio::spawn(async move {
        if let Err(error) = pump(path, options, run, &sender).await {
            // A reader that has gone away needs no error.
            let _ = sender.send(Err(error)).await;
        }
    });
    receiver
}

async fn pump(
    path: PathBuf,
    options: LogOptions,
    mut run: watch::Receiver<RunState>,
    sender: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let follow = options.follow;
    let watch = if follow { watch_file(&path)? } else { None };
    let Some(mut reader) = blocking(move || LogReader::open(&path, options)).await? else {
        return Ok(());
    };
    loop {
        // Looked at before reading: the log is complete when the container is reported to have ended.
        let ended = !run.borrow_and_update().running;
        loop {
            let (back, batch) = blocking(move || {
                let batch = reader.next_batch()?;
                Ok((reader, batch))
            })
            .await?;
            reader = back;
            let Some(batch) = batch else { break };
            if !batch.is_empty() && sender.send(Ok(batch)).await.is_err() {
                return Ok(());
            }
        }
        let Some(watch) = watch.as_ref().filter(|_| !ended && !reader.past_until) else {
            return Ok(());
        };
        tokio::select! {
            changed = file_changed(watch) => changed?,
            changed = run.changed() => if changed.is_err() { return Ok(()) },
            () = sender.closed() => return Ok(()),
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)?
}

/// A descriptor that becomes readable when the file grows or another one takes its place; none when there is no directory
/// for it.
fn watch_file(path: &Path) -> io::Result<Option<AsyncFd<OwnedFd>>> {
    let fd = inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC)?;
    let directory = path.parent().unwrap_or(path);
    let changes = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE | inotify::WatchFlags::MOVED_TO;
    match inotify::add_watch(&fd, directory, changes) {
        Ok(_) => register(fd).map(Some),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[allow(
    deprecated,
    reason = "the safe constructor is unsound only for types that change their descriptor; an OwnedFd does not"
)]
fn register(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(fd)
}

async fn file_changed(watch: &AsyncFd<OwnedFd>) -> io::Result<()> {
    let mut guard = watch.readable().await?;
    let mut buffer = [0u8; 4096];
    match rustix::io::read(watch.get_ref(), &mut buffer) {
        Ok(_) => Ok(()),
        Err(rustix::io::Errno::AGAIN) => {
            guard.clear_ready();
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Turns the records of a log's files into what the client sees, a batch at a time.
#[derive(Debug)]
struct LogReader {
    files: LogFiles,
    options: LogOptions,
    /// Bytes read and not yet used: at most one unfinished record between batches.
    pending: Vec<u8>,
    /// The record at hand is over the limit: skip to its end.
    skipping: bool,
    past_until: bool,
}

impl LogReader {
    /// Opens a log at the place where its tail begins; none when nothing was ever logged.
    fn open(path: &Path, options: LogOptions) -> io::Result<Option<Self>> {
        let files = LogFiles::open(path, options.tail)?;
        Ok(files.map(|files| Self {
            files,
            options,
            pending: Vec::new(),
            skipping: false,
            past_until: false,
        }))
    }

    /// The next piece of output, possibly empty; none at the (present) end of the last file.
    fn next_batch(&mut self) -> io::Result<Option<Bytes>> {
        if self.past_until {
            return Ok(None);
        }
        let before = self.pending.len();
        self.pending.resize(before + READ_SIZE, 0);
        let count = match self.files.read(&mut self.pending[before..])? {
            Piece::Bytes(count) => count,
            Piece::End => {
                self.pending.truncate(before);
                return Ok(None);
            }
            // Records are whole; what is left of one was cut by a crash.
            Piece::OtherFile => {
                self.pending.clear();
                self.skipping = false;
                return Ok(Some(Bytes::new()));
            }
        };
        self.pending.truncate(before + count);
        let pending = std::mem::take(&mut self.pending);
        let mut out = Vec::with_capacity(READ_SIZE);
        let mut rest = pending.as_slice();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = rest.split_at(end);
            rest = &after[1..];
            if !std::mem::take(&mut self.skipping) {
                self.render(line, &mut out);
            }
            if self.past_until {
                break;
            }
        }
        if rest.len() > MAX_RECORD {
            self.skipping = true;
        }
        self.pending = if self.skipping { Vec::new() } else { rest.to_vec() };
        Ok(Some(out.into()))
    }

    /// Appends one record. A line that is no record (cut by a crash) is left out.
    fn render(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let Ok(record) = serde_json::from_slice::<Record<'_>>(line) else {
            return;
        };
        let (stream, wanted) = match record.stream.as_ref() {
            "stderr" => (Stream::Stderr, self.options.stderr),
            _ => (Stream::Stdout, self.options.stdout),
        };
        let time = clock::parse_rfc3339(&record.time).unwrap_or_default();
        if self.options.until.is_some_and(|until| time > until) {
            self.past_until = true;
            return;
        }
        if !wanted || self.options.since.is_some_and(|since| time < since) {
            return;
        }
        let mut prefix = String::new();
        if self.options.timestamps {
            prefix = clock::render_fixed(time) + " ";
        }
        if self.options.details {
            prefix.push(' ');
        }
        let text = prefix + record.log.as_ref();
        if self.options.raw {
            out.extend_from_slice(text.as_bytes());
        } else {
            encode_frame(stream, text.as_bytes(), out);
        }
    }
}

#[cfg(test)]
mod tests;
