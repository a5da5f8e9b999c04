//! The way to the event loop: commands with a place for the answer, and a handle that everybody may clone.

use std::net::Ipv4Addr;
use std::sync::Arc;

use berth_plan::{Facts, Plan};
use berth_wire::docker::{CreateRequest, ImageConfig};
use tokio::sync::{mpsc, oneshot, watch};

use crate::container::{Container, PublishedAt, RunState};
use crate::error::{Failure, LaunchFailure};
use crate::lifecycle::{Answer, Grace};

/// Inputs waiting for the event loop. At the bound senders wait, so clients feel the load.
pub(crate) const QUEUE: usize = 1024;

/// Where the answer to a command goes.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, Failure>>;

/// What clients ask of the event loop.
#[derive(Debug)]
pub(crate) enum Command {
    /// Make a container.
    Create { wish: Box<Wish>, reply: Reply<Created> },
    /// Change the life of a container.
    Change {
        reference: String,
        change: Change,
        reply: Reply<Answer>,
    },
    /// Give another name.
    Rename {
        reference: String,
        name: String,
        reply: Reply<()>,
    },
    /// Look at a container, and at its run as it changes.
    Find { reference: String, reply: Reply<Found> },
    /// Look at all containers, newest first.
    List { reply: Reply<Vec<Arc<Container>>> },
    /// Take nothing more; the reply names the containers that run.
    Close { reply: Reply<Vec<String>> },
}

/// A request to make a container, with the image that it names.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) request: CreateRequest,
    /// None: choose one.
    pub(crate) name: Option<String>,
    pub(crate) image_id: String,
    pub(crate) image: ImageConfig,
}

/// A made container.
#[derive(Debug)]
pub(crate) struct Created {
    pub(crate) id: String,
    pub(crate) warnings: Vec<String>,
}

/// A found container.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) container: Arc<Container>,
    pub(crate) run: watch::Receiver<RunState>,
}

/// What may be done with a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Start it.
    Start,
    /// Stop it; what is absent is the container's own choice.
    Stop {
        signal: Option<i32>,
        grace: Option<Grace>,
    },
    /// Stop and start it.
    Restart {
        signal: Option<i32>,
        grace: Option<Grace>,
    },
    /// Send a signal.
    Kill { signal: i32 },
    /// Remove it.
    Remove { force: bool },
}

/// Everything that reaches the event loop.
#[derive(Debug)]
pub(crate) enum Input {
    /// From a client.
    Command(Command),
    /// From the keeper.
    Exited { id: String, exit: Ended },
    /// A launch knows what it will do to the host; it goes on when this is on record.
    Planned {
        id: String,
        plan: Box<Plan>,
        ports: Vec<PublishedAt>,
        recorded: std::sync::mpsc::SyncSender<()>,
    },
    /// A launch is over.
    Launched {
        id: String,
        result: Result<Launched, LaunchFailure>,
    },
    /// What the host held of an ended run is gone.
    Cleaned { id: String },
    /// The network of an ended run is gone.
    Disconnected { address: Ipv4Addr },
    /// The files of a container are gone, or not.
    Erased { id: String, done: bool },
    /// A grace time is over.
    GraceOver { id: String, number: u64 },
    /// The end of the loop.
    Halt,
}

/// A successful launch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Launched {
    pub(crate) pid: i64,
    pub(crate) started_at: i64,
}

/// How a process ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) code: i64,
    pub(crate) oom_killed: bool,
    pub(crate) finished_at: i64,
}

/// A cloneable way to the event loop.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    inputs: mpsc::Sender<Input>,
    facts: Arc<Facts>,
}

impl Handle {
    pub(crate) fn new(inputs: mpsc::Sender<Input>, facts: Arc<Facts>) -> Self {
        Self { inputs, facts }
    }

    /// What is known about the host.
    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Failure> {
        let (reply, answer) = oneshot::channel();
        self.inputs
            .send(Input::Command(command(reply)))
            .await
            .map_err(|_| Failure::Stopping)?;
        answer.await.map_err(|_| Failure::Stopping)?
    }

    pub(crate) async fn create(&self, wish: Wish) -> Result<Created, Failure> {
        self.ask(|reply| Command::Create {
            wish: Box::new(wish),
            reply,
        })
        .await
    }

    pub(crate) async fn change(&self, reference: &str, change: Change) -> Result<Answer, Failure> {
        self.ask(|reply| Command::Change {
            reference: reference.to_owned(),
            change,
            reply,
        })
        .await
    }

    pub(crate) async fn rename(&self, reference: &str, name: &str) -> Result<(), Failure> {
        self.ask(|reply| Command::Rename {
            reference: reference.to_owned(),
            name: name.to_owned(),
            reply,
        })
        .await
    }

    pub(crate) async fn find(&self, reference: &str) -> Result<Found, Failure> {
        self.ask(|reply| Command::Find {
            reference: reference.to_owned(),
            reply,
        })
        .await
    }

    pub(crate) async fn list(&self) -> Result<Vec<Arc<Container>>, Failure> {
        self.ask(|reply| Command::List { reply }).await
    }

    /// Ends the loop; everything sent later is refused.
    pub(crate) async fn halt(&self) {
        // A loop that has ended already needs no telling.
        drop(self.inputs.send(Input::Halt).await);
    }

    pub(crate) async fn close(&self) -> Result<Vec<String>, Failure> {
        self.ask(|reply| Command::Close { reply }).await
    }
}
