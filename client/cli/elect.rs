//! `berth elect`: one leader among many. The leader module of the server is used where it has one; elsewhere it is a key with
//! a time to live, which holds the leader's name.

mod module;

use std::time::Duration;

use berth_sdk::{Failures, KeyAnswer, KeysCall, SdkError, key_path};
use tokio::time::{Instant, sleep};

use crate::args::ElectArgs;
use crate::exit::{Failure, Outcome};
use crate::kv::Session;
use crate::lock::has_module;
use crate::terminal::{EndWish, print_line, tell};

const KEY_NOT_FOUND: u16 = 100;
const COMPARE_FAILED: u16 = 101;
const KEY_EXISTS: u16 = 105;
const HISTORY_CLEARED: u16 = 401;

pub(crate) async fn run(session: &Session, args: ElectArgs) -> Outcome {
    let mut end = EndWish::new()?;
    let path = key_path("/mod/v2/leader", &args.key);
    if has_module(session.client(), &path).await? {
        return module::run(session, &args, path, &mut end).await;
    }
    let mut election = Election {
        session,
        args: &args,
        shown: None,
        led: None,
    };
    let ended = tokio::select! {
        ended = election.take_part() => Some(ended),
        _ = end.next() => None,
    };
    election.step_down().await;
    match ended {
        Some(Err(failure)) => Err(failure),
        Some(Ok(never)) => match never {},
        None => Ok(0),
    }
}

/// What the key of an election looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    leader: Option<String>,
    /// The first index that is not seen yet.
    next: u64,
}

struct Election<'a> {
    session: &'a Session,
    args: &'a ElectArgs,
    /// The leader that was printed last.
    shown: Option<String>,
    /// The index of the key while this one leads.
    led: Option<u64>,
}

impl Election<'_> {
    async fn take_part(&mut self) -> Result<std::convert::Infallible, Failure> {
        let name = self.args.name.clone();
        loop {
            if let Some(name) = name.as_deref().filter(|_| !self.args.listen)
                && self.stand(name).await?
            {
                self.lead(name).await?;
            }
            let mut seen = self.look().await?;
            self.show(seen.leader.as_deref())?;
            while seen.leader.is_some() || self.args.listen {
                let Some(next) = self.change(seen.next).await? else {
                    break;
                };
                seen = next;
                self.show(seen.leader.as_deref())?;
            }
        }
    }

    /// Tries to become the leader; false when there is one.
    async fn stand(&mut self, name: &str) -> Result<bool, Failure> {
        let call = KeysCall::put(&self.args.key)
            .query("prevExist", false)
            .form("value", name)
            .form("ttl", self.args.ttl);
        match self.session.client().send(&call).await {
            Ok(answer) => {
                self.led = Some(answer.event.node.modified_index);
                self.show(Some(name))?;
                Ok(true)
            }
            Err(failures) if code(&failures) == Some(KEY_EXISTS) => Ok(false),
            Err(failures) => Err(self.session.failed(failures, false)),
        }
    }

    /// Leads until another one may: renews the key, and only the one that it made itself.
    async fn lead(&mut self, name: &str) -> Result<(), Failure> {
        let life = Duration::from_secs(self.args.ttl);
        let mut renewed_at = Instant::now();
        while let Some(index) = self.led {
            sleep(life / 3).await;
            let sent_at = Instant::now();
            let call = KeysCall::put(&self.args.key)
                .query("prevIndex", index)
                .form("refresh", true)
                .form("ttl", self.args.ttl);
            let client = self.session.client().clone().with_limit(life / 3);
            match client.send(&call).await {
                Ok(answer) => {
                    self.led = Some(answer.event.node.modified_index);
                    renewed_at = sent_at;
                }
                // A renewal without an answer may have been carried out, and the index is another one then.
                Err(failures) if code(&failures) == Some(COMPARE_FAILED) => {
                    self.led = self.still_mine(name).await?;
                }
                Err(failures) if code(&failures) == Some(KEY_NOT_FOUND) => self.led = None,
                Err(failures) if renewed_at.elapsed() >= life => {
                    self.led = None;
                    tell(&format!("no longer leading: {}", failures.into_error().chain()));
                }
                Err(_) => {}
            }
        }
        self.shown = None;
        tell(&format!("{name} leads no longer"));
        Ok(())
    }

    async fn still_mine(&self, name: &str) -> Result<Option<u64>, Failure> {
        let call = KeysCall::get(&self.args.key, false, false, true);
        match self.session.client().send(&call).await {
            Ok(answer) => {
                let node = answer.event.node;
                Ok((node.value.as_deref() == Some(name)).then_some(node.modified_index))
            }
            Err(failures) if code(&failures) == Some(KEY_NOT_FOUND) => Ok(None),
            Err(failures) => Err(self.session.failed(failures, false)),
        }
    }

    async fn look(&self) -> Result<Seen, Failure> {
        let call = KeysCall::get(&self.args.key, false, false, true);
        match self.session.client().send(&call).await {
            Ok(answer) => Ok(Seen {
                next: answer.index.max(answer.event.node.modified_index) + 1,
                leader: answer.event.node.value,
            }),
            Err(failures) => match missing_at(&failures) {
                Some(index) => Ok(Seen {
                    leader: None,
                    next: index + 1,
                }),
                None => Err(self.session.failed(failures, false)),
            },
        }
    }

    /// The next change; `None` when the history does not reach back and the key has to be read again.
    async fn change(&self, from: u64) -> Result<Option<Seen>, Failure> {
        let call = KeysCall::watch(&self.args.key, false, Some(from));
        match self.session.wait(&call).await {
            Ok(answer) => Ok(Some(seen(&answer))),
            Err(failures) if code(&failures) == Some(HISTORY_CLEARED) => Ok(None),
            Err(failures) => Err(self.session.failed(failures, false)),
        }
    }

    /// Prints a leader that is another one than before.
    fn show(&mut self, leader: Option<&str>) -> Result<(), Failure> {
        if let Some(leader) = leader
            && self.shown.as_deref() != Some(leader)
        {
            print_line(leader)?;
        }
        self.shown = leader.map(str::to_owned);
        Ok(())
    }

    /// Lets another one lead at once instead of at the end of the TTL.
    async fn step_down(&mut self) {
        let Some(index) = self.led.take() else {
            return;
        };
        let call = KeysCall::delete(&self.args.key).query("prevIndex", index);
        if let Err(failures) = self.session.client().send(&call).await {
            let error = failures.into_error().chain();
            tell(&format!("the key stays until its time is over: {error}"));
        }
    }
}

fn code(failures: &Failures) -> Option<u16> {
    failures.refusal()?.store_code()
}

/// The store's index, where it said that there is no such key.
fn missing_at(failures: &Failures) -> Option<u64> {
    if let SdkError::Store { code, index, .. } = failures.refusal()? {
        return (*code == KEY_NOT_FOUND).then_some(*index);
    }
    None
}

fn seen(answer: &KeyAnswer) -> Seen {
    Seen {
        leader: answer.event.node.value.clone(),
        next: answer.event.node.modified_index + 1,
    }
}
