//! `berth lock`: holds a lock of the store while a command runs. The lock module of the server is used where it has
//! one; elsewhere in-order keys with a time to live are the queue.

use std::ffi::OsString;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use berth_sdk::{EtcdClient, Failures, KeysCall, Method, SdkError, StatusCode, key_path};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep};

use crate::args::LockArgs;
use crate::exit::{self, FAILED, Failure, Outcome};
use crate::kv::Session;
use crate::terminal::{EndWish, print_line, tell};

/// The store has no such key, or no longer.
const KEY_NOT_FOUND: u16 = 100;

/// Longest wait in the queue of the lock module: it answers only when the lock is held. A waiter that needs longer
/// than this ends with an error.
pub(crate) const LONGEST_QUEUE: Duration = Duration::from_secs(7 * 24 * 3600);

/// A place in a queue, or the lock itself when it is the first.
enum Hold {
    /// In the server's lock module.
    Module { path: String, index: String },
    /// A key of the queue.
    Place { key: String, index: u64 },
}

impl Hold {
    fn index(&self) -> String {
        match self {
            Self::Module { index, .. } => index.clone(),
            Self::Place { index, .. } => index.to_string(),
        }
    }

    /// Lives for another `ttl` seconds; false when it is gone.
    async fn renew(&self, client: &EtcdClient, ttl: u64) -> Result<bool, SdkError> {
        match self {
            Self::Module { path, index } => {
                let path = format!("{path}?ttl={ttl}&index={index}");
                let answer = client.raw(Method::PUT, &path, None).await?;
                Ok(answer.status.is_success())
            }
            Self::Place { key, .. } => {
                let call = KeysCall::put(key)
                    .query("prevExist", true)
                    .form("refresh", true)
                    .form("ttl", ttl);
                known(client.send(&call).await.map(|_| ()))
            }
        }
    }

    /// Lets go at once instead of at the end of the TTL.
    async fn release(&self, client: &EtcdClient) {
        let released = match self {
            Self::Module { path, index } => {
                let path = format!("{path}?index={index}");
                client.raw(Method::DELETE, &path, None).await.map(|_| true)
            }
            Self::Place { key, .. } => known(client.send(&KeysCall::delete(key)).await.map(|_| ())),
        };
        if let Err(error) = released {
            tell(&format!(
                "the lock stays until its time is over: {}",
                error.chain()
            ));
        }
    }
}

/// True where it worked, false where the key is not there.
fn known(sent: Result<(), Failures>) -> Result<bool, SdkError> {
    match sent {
        Ok(()) => Ok(true),
        Err(failures) => match failures.into_error() {
            error if error.store_code() == Some(KEY_NOT_FOUND) => Ok(false),
            error => Err(error),
        },
    }
}

pub(crate) async fn run(session: &Session, args: LockArgs) -> Outcome {
    let mut end = EndWish::new()?;
    let client = session.client();
    let module = key_path("/mod/v2/lock", &args.key);
    let hold = if has_module(client, &module).await? {
        tokio::select! {
            hold = acquire(client, module, args.ttl) => hold?,
            _ = end.next() => return Ok(exit::INTERRUPTED),
        }
    } else {
        let place = take_place(session, &args).await?;
        let turn = tokio::select! {
            turn = wait_turn(session, &args, &place) => turn,
            signal = kept(client, &place, args.ttl, &mut end) => Err(signal),
        };
        if let Err(ended) = turn {
            place.release(client).await;
            return ended.outcome();
        }
        place
    };
    print_line(&hold.index())?;
    let outcome = hold_on(client, &hold, &args, &mut end).await;
    hold.release(client).await;
    outcome
}

/// Why a hold is over before the command is.
enum Ended {
    BySignal,
    Lost(String),
    Failed(Failure),
}

impl Ended {
    fn outcome(self) -> Outcome {
        match self {
            Self::BySignal => Ok(exit::INTERRUPTED),
            Self::Lost(why) => Err(Failure::new(FAILED, anyhow::anyhow!("the lock is lost: {why}"))),
            Self::Failed(failure) => Err(failure),
        }
    }
}

/// Whether the server has the module that serves a path.
pub(crate) async fn has_module(client: &EtcdClient, path: &str) -> Result<bool, Failure> {
    let answer = client.raw(Method::GET, path, None).await.map_err(exit::keys)?;
    Ok(answer.status != StatusCode::NOT_FOUND)
}

async fn acquire(client: &EtcdClient, path: String, ttl: u64) -> Result<Hold, Failure> {
    let patient = client.clone().with_limit(LONGEST_QUEUE);
    let answer = patient
        .raw(Method::POST, &format!("{path}?ttl={ttl}"), None)
        .await;
    let answer = answer.map_err(exit::keys)?;
    let text = answer.text().trim().to_owned();
    if answer.status.is_success() {
        return Ok(Hold::Module { path, index: text });
    }
    Err(Failure::new(exit::STORE_REFUSES, anyhow::Error::msg(text)))
}

async fn take_place(session: &Session, args: &LockArgs) -> Result<Hold, Failure> {
    let who = format!(
        "{}:{}",
        nix::unistd::gethostname()?.to_string_lossy(),
        std::process::id()
    );
    let call = KeysCall::post(&args.key).form("value", who).form("ttl", args.ttl);
    let node = session.send(&call).await?.event.node;
    Ok(Hold::Place {
        key: node.key,
        index: node.created_index,
    })
}

/// Waits until no earlier place is left.
async fn wait_turn(session: &Session, args: &LockArgs, hold: &Hold) -> Result<(), Ended> {
    let Hold::Place { index: mine, .. } = hold else {
        return Ok(());
    };
    loop {
        let listed = session.send(&KeysCall::get(&args.key, false, true, true)).await;
        let listed = listed.map_err(Ended::Failed)?;
        let places = &listed.event.node.nodes;
        if !places.iter().any(|place| place.created_index == *mine) {
            return Err(Ended::Lost("its place in the queue is gone".to_owned()));
        }
        let earlier = places.iter().filter(|place| place.created_index < *mine);
        // Only the place just before matters: when it goes, one waiter wakes and not all of them.
        let Some(before) = earlier.max_by_key(|place| place.created_index) else {
            return Ok(());
        };
        let call = KeysCall::watch(&before.key, false, Some(listed.index + 1));
        if let Err(failures) = session.wait(&call).await {
            // A history that was cleared is no trouble: the list is read again.
            if failures.refusal().is_none() {
                return Err(Ended::Failed(session.failed(failures, false)));
            }
        }
    }
}

/// Renews a hold at a third of its life until it is lost or a signal comes.
async fn kept(client: &EtcdClient, hold: &Hold, ttl: u64, end: &mut EndWish) -> Ended {
    tokio::select! {
        _ = end.next() => Ended::BySignal,
        why = renewed(client, hold, ttl) => Ended::Lost(why),
    }
}

/// Renews a hold until it is gone, or until so long nothing was heard of the store that it must be.
async fn renewed(client: &EtcdClient, hold: &Hold, ttl: u64) -> String {
    let life = Duration::from_secs(ttl);
    let mut renewed_at = Instant::now();
    loop {
        sleep(life / 3).await;
        let sent_at = Instant::now();
        match renew_in_time(client, life, hold, ttl).await {
            Ok(true) => renewed_at = sent_at,
            Ok(false) => return "the store does not know it any more".to_owned(),
            Err(error) if renewed_at.elapsed() >= life => return error.chain(),
            Err(_) => {}
        }
    }
}

/// A renewal that comes later than the end of the life is none.
async fn renew_in_time(client: &EtcdClient, life: Duration, hold: &Hold, ttl: u64) -> Result<bool, SdkError> {
    let client = client.clone().with_limit(life / 3);
    hold.renew(&client, ttl).await
}

/// Runs the command while the lock is held, or waits for a signal.
async fn hold_on(client: &EtcdClient, hold: &Hold, args: &LockArgs, end: &mut EndWish) -> Outcome {
    let Some((program, words)) = args.command.split_first() else {
        return match kept(client, hold, args.ttl, end).await {
            Ended::BySignal => Ok(0),
            ended @ (Ended::Lost(_) | Ended::Failed(_)) => ended.outcome(),
        };
    };
    let (mut ended, process) = start(program, words)?;
    let lost = renewed(client, hold, args.ttl);
    tokio::pin!(lost);
    loop {
        tokio::select! {
            status = &mut ended => return Ok(code(status??)),
            name = end.next() => {
                pass_on(process, if name == "SIGINT" { Signal::SIGINT } else { Signal::SIGTERM });
            }
            why = &mut lost => {
                pass_on(process, Signal::SIGTERM);
                ended.await??;
                return Ended::Lost(why).outcome();
            }
        }
    }
}

fn pass_on(process: Pid, signal: Signal) {
    // A process that has just ended needs no signal, and no other error can be.
    if let Err(error) = kill(process, signal) {
        tell(&format!("{signal} was not passed on: {error}"));
    }
}

type Waiting = tokio::task::JoinHandle<std::io::Result<ExitStatus>>;

fn start(program: &OsString, words: &[OsString]) -> Result<(Waiting, Pid), Failure> {
    let spawned = Command::new(program).args(words).spawn();
    let mut child = spawned.map_err(|error| {
        let code = if error.kind() == std::io::ErrorKind::NotFound {
            exit::NOT_THERE
        } else {
            exit::CANNOT_RUN
        };
        Failure::new(code, anyhow::anyhow!("{}: {error}", program.to_string_lossy()))
    })?;
    let process = Pid::from_raw(i32::try_from(child.id())?);
    Ok((tokio::task::spawn_blocking(move || child.wait()), process))
}

/// The exit code of a command, as a shell has it.
fn code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let number = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    number
        .and_then(|number| u8::try_from(number).ok())
        .unwrap_or(FAILED)
}
