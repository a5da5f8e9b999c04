//! A person at a process: input, output, signals, and the terminal if it has one.

use std::future::pending;
use std::io;
use std::pin::pin;
use std::time::Duration;

use berth_sdk::{Attached, AttachedInput, EngineClient, RawConsole, SdkError, Size, stdin_is_terminal};
use berth_wire::docker::DetachKeys;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::terminal::{Forwarded, tell, write_frame};

/// What is read of standard input at a time.
const INPUT_PIECE: usize = 32 * 1024;

/// How often the first size of a terminal is told, and the pause after a refusal: the process may not be there yet.
const SIZE_TRIES: u32 = 10;
const SIZE_PAUSE: Duration = Duration::from_millis(20);

/// Whose process it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Of<'a> {
    Container(&'a str),
    Exec(&'a str),
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// All output was read.
    Output,
    /// The person left; the process goes on.
    Left,
}

/// What a session is.
pub(super) struct Session<'a> {
    pub(super) client: &'a EngineClient,
    pub(super) of: Of<'a>,
    pub(super) tty: bool,
    pub(super) stdin: bool,
    pub(super) keys: DetachKeys,
}

/// Whether a terminal was asked for that this side cannot give.
pub(super) fn lacks_terminal(tty: bool, stdin: bool) -> bool {
    tty && stdin && !stdin_is_terminal()
}

impl Session<'_> {
    /// Carries input and output until one of them ends it. Signals go to the container, where they are given.
    pub(super) async fn run(&self, attached: Attached, signals: Option<&mut Forwarded>) -> io::Result<End> {
        let mut attached = attached.raw(self.tty);
        let console = if self.tty && self.stdin && stdin_is_terminal() {
            Some(RawConsole::set()?)
        } else {
            None
        };
        let mut resized = signal(SignalKind::window_change())?;
        let keys = (self.tty && self.stdin).then(|| self.keys.clone());
        let (leave, left) = oneshot::channel();
        let input = tokio::spawn(feed(attached.take_input(), self.stdin, keys, leave));
        self.first_size().await;
        let mut left = pin!(async {
            if left.await.is_err() {
                pending::<()>().await;
            }
        });
        let mut output = pin!(copy_output(&mut attached));
        let mut signals = signals;
        let end = loop {
            let signal = async {
                match &mut signals {
                    Some(signals) => signals.next().await,
                    None => pending().await,
                }
            };
            tokio::select! {
                copied = &mut output => break copied.map(|()| End::Output),
                () = &mut left => break Ok(End::Left),
                _ = resized.recv(), if self.tty => drop(self.size().await),
                signal = signal => self.forward(signal).await,
            }
        };
        input.abort();
        drop(console);
        end
    }

    /// A signal goes to the container; those for further processes are this process's own.
    pub(super) async fn forward(&self, signal: &str) {
        let Of::Container(id) = self.of else { return };
        if let Err(error) = self.client.kill(id, Some(signal)).await {
            tell(&format!("SIG{signal} did not reach the container: {error}"));
        }
    }

    async fn size(&self) -> Result<(), SdkError> {
        let Some(size) = Size::of_stdout().filter(|_| self.tty) else {
            return Ok(());
        };
        match self.of {
            Of::Container(id) => self.client.resize(id, size).await,
            Of::Exec(id) => self.client.resize_exec(id, size).await,
        }
    }

    async fn first_size(&self) {
        for _ in 0..SIZE_TRIES {
            if self.size().await.is_ok() {
                return;
            }
            tokio::time::sleep(SIZE_PAUSE).await;
        }
    }
}

async fn copy_output(attached: &mut Attached) -> io::Result<()> {
    while let Some(frame) = attached.next().await? {
        write_frame(&frame)?;
    }
    Ok(())
}

/// Sends standard input; its end is that of the process's. Without it the input ends at once.
async fn feed(
    input: Option<AttachedInput>,
    interactive: bool,
    keys: Option<DetachKeys>,
    leave: oneshot::Sender<()>,
) {
    let Some(mut input) = input else { return };
    if interactive && copy_input(&mut input, keys).await {
        // Nobody listens any more when all has ended.
        let _ = leave.send(());
        return;
    }
    drop(input.shutdown().await);
}

/// True when the keys were typed that leave.
async fn copy_input(input: &mut AttachedInput, mut keys: Option<DetachKeys>) -> bool {
    let mut stdin = tokio::io::stdin();
    let mut piece = vec![0; INPUT_PIECE];
    let mut typed = Vec::new();
    while let Ok(count) = stdin.read(&mut piece).await {
        if count == 0 {
            break;
        }
        typed.clear();
        let left = match &mut keys {
            Some(keys) => keys.take(&piece[..count], &mut typed),
            None => {
                typed.extend_from_slice(&piece[..count]);
                false
            }
        };
        if input.write_all(&typed).await.is_err() || input.flush().await.is_err() {
            break;
        }
        if left {
            return true;
        }
    }
    false
}
