//! An election in the leader module of a store: the server keeps the queue of those who stand, and the first of them leads.

use std::convert::Infallible;
use std::time::Duration;

use berth_sdk::{KeysCall, Method, query_of};
use tokio::time::{Instant, sleep};

use super::{HISTORY_CLEARED, code};
use crate::args::ElectArgs;
use crate::exit::{self, Failure, Outcome};
use crate::kv::Session;
use crate::lock::LONGEST_QUEUE;
use crate::terminal::{EndWish, print_line, tell};

/// Where the module keeps the queues, as keys.
const QUEUES: &str = "/_etcd/mod/lock/";

/// Between two tries when a member is gone, or there is no leader among them.
const PAUSE: Duration = Duration::from_millis(500);

/// Whoever takes part ends with an error when nothing has worked for so long. Members elect a leader within seconds.
const LONGEST_OUTAGE: Duration = Duration::from_secs(30);

pub(super) async fn run(session: &Session, args: &ElectArgs, path: String, end: &mut EndWish) -> Outcome {
    let mut election = Election {
        session,
        ttl: args.ttl,
        queue: format!("{QUEUES}{}", args.key.trim_matches('/')),
        path,
        shown: None,
        leads: None,
    };
    let ended = tokio::select! {
        ended = election.take_part(args.name.as_deref().filter(|_| !args.listen)) => Some(ended),
        _ = end.next() => None,
    };
    election.step_down().await;
    match ended {
        Some(Err(failure)) => Err(failure),
        Some(Ok(never)) => match never {},
        None => Ok(0),
    }
}

struct Election<'a> {
    session: &'a Session,
    /// Seconds.
    ttl: u64,
    /// The path of the election in the module.
    path: String,
    /// The directory of its queue.
    queue: String,
    /// The leader that was printed last.
    shown: Option<String>,
    /// The name that this one leads under, while it leads.
    leads: Option<String>,
}

/// What the queue looks like.
struct Seen {
    leader: Option<String>,
    /// The first index that is not seen yet.
    next: u64,
}

impl Election<'_> {
    async fn take_part(&mut self, name: Option<&str>) -> Result<Infallible, Failure> {
        let Some(name) = name else {
            return observe(self.session, &self.queue, &mut self.shown).await;
        };
        loop {
            let place = tokio::select! {
                place = stand(self.session, self.request(name)) => place?,
                never = observe(self.session, &self.queue, &mut self.shown) => match never? {},
            };
            self.leads = Some(name.to_owned());
            show(&mut self.shown, Some(name))?;
            self.lead(name, &place).await;
            self.leads = None;
            self.shown = None;
            tell(&format!("{name} leads no longer"));
        }
    }

    /// To lead, or to go on leading.
    fn request(&self, name: &str) -> String {
        let ttl = self.ttl.to_string();
        format!("{}?{}", self.path, query_of(&[("name", name), ("ttl", &ttl)]))
    }

    /// Leads until another one may.
    async fn lead(&self, name: &str, place: &str) {
        let life = Duration::from_secs(self.ttl);
        let client = self.session.client().clone().with_limit(life / 3);
        // A place that has gone is not to be taken again from the end of the queue: then another one leads.
        let renewal = format!("{}&timeout=0", self.request(name));
        let mut renewed_at = Instant::now();
        loop {
            sleep(life / 3).await;
            let sent_at = Instant::now();
            match client.raw(Method::PUT, &renewal, None).await {
                Ok(answer) if answer.status.is_success() => {
                    if answer.text().trim() != place {
                        return;
                    }
                    renewed_at = sent_at;
                }
                Ok(_) => {
                    let seen = tokio::time::timeout(life / 3, look(self.session, &self.queue)).await;
                    if matches!(seen, Ok(Ok(seen)) if seen.leader.as_deref() != Some(name)) {
                        return;
                    }
                }
                Err(error) if renewed_at.elapsed() >= life => {
                    return tell(&format!("no longer leading: {}", error.chain()));
                }
                Err(_) => {}
            }
            if renewed_at.elapsed() >= life {
                return;
            }
        }
    }

    /// Lets another one lead at once instead of at the end of the TTL.
    async fn step_down(&mut self) {
        let Some(name) = self.leads.take() else {
            return;
        };
        let path = format!("{}?{}", self.path, query_of(&[("name", &name)]));
        if let Err(error) = self.session.client().raw(Method::DELETE, &path, None).await {
            tell(&format!("{name} leads until its time is over: {}", error.chain()));
        }
    }
}

/// Waits to lead; gives the place in the queue. Whoever stops waiting gives it up.
async fn stand(session: &Session, request: String) -> Result<String, Failure> {
    let patient = session.client().clone().with_limit(LONGEST_QUEUE);
    let mut outage = Outage::default();
    loop {
        // A second try is no second waiter: the name is the same.
        match patient.raw(Method::PUT, &request, None).await {
            Ok(answer) if answer.status.is_success() => return Ok(answer.text().trim().to_owned()),
            Ok(answer) => {
                let text = answer.text().trim().to_owned();
                let refused = Failure::new(exit::STORE_REFUSES, anyhow::Error::msg(text));
                if !answer.status.is_server_error() {
                    return Err(refused);
                }
                outage.bear(refused).await?;
            }
            Err(error) => outage.bear(exit::keys(error)).await?,
        }
    }
}

/// How long nothing has worked.
#[derive(Default)]
struct Outage {
    /// The first failure, and the last.
    failures: Option<(Instant, Instant)>,
}

impl Outage {
    /// Waits for another try; the failure itself when there have been enough. A try that took long before it failed had been
    /// waiting in the queue, and nothing was wrong until then.
    async fn bear(&mut self, failure: Failure) -> Result<(), Failure> {
        let now = Instant::now();
        let first = match self.failures {
            Some((first, last)) if now - last <= LONGEST_OUTAGE => first,
            Some(_) | None => now,
        };
        if now - first > LONGEST_OUTAGE {
            return Err(failure);
        }
        self.failures = Some((first, now));
        sleep(PAUSE).await;
        Ok(())
    }
}

/// Prints one leader after the other.
async fn observe(session: &Session, queue: &str, shown: &mut Option<String>) -> Result<Infallible, Failure> {
    let mut outage = Outage::default();
    loop {
        let seen = match look(session, queue).await {
            Ok(seen) => seen,
            Err(failure) => {
                outage.bear(failure).await?;
                continue;
            }
        };
        show(shown, seen.leader.as_deref())?;
        let call = KeysCall::watch(queue, true, Some(seen.next));
        match session.wait(&call).await {
            Ok(_) => outage = Outage::default(),
            // The history does not reach back: the queue has to be read again.
            Err(failures) if code(&failures) == Some(HISTORY_CLEARED) => {}
            Err(failures) => outage.bear(session.failed(failures, false)).await?,
        }
    }
}

async fn look(session: &Session, queue: &str) -> Result<Seen, Failure> {
    let call = KeysCall::get(queue, false, true, true);
    match session.client().send(&call).await {
        Ok(answer) => {
            let first = answer.event.node.nodes.first();
            Ok(Seen {
                leader: first.and_then(|place| place.value.clone()),
                next: answer.index + 1,
            })
        }
        Err(failures) => match super::missing_at(&failures) {
            Some(index) => Ok(Seen {
                leader: None,
                next: index + 1,
            }),
            None => Err(session.failed(failures, false)),
        },
    }
}

/// Prints a leader that is another one than before.
fn show(shown: &mut Option<String>, leader: Option<&str>) -> Result<(), Failure> {
    if let Some(leader) = leader
        && shown.as_deref() != Some(leader)
    {
        print_line(leader)?;
    }
    *shown = leader.map(str::to_owned);
    Ok(())
}
