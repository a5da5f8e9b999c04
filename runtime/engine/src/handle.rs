//! The way to the event loop: commands with a place for the answer, and a handle that everybody may clone.

mod networks;

use std::sync::Arc;

use berth_exec::ExecError;
use berth_plan::{ExecSpec, Facts, Plan};
use berth_wire::docker::{CreateRequest, ExecConfig, ExecStart, HostConfig, ImageConfig};
use tokio::sync::{mpsc, oneshot, watch};

use crate::container::{Address, Container, PublishedAt, RunState};
use crate::error::{Failure, LaunchFailure, RecordError};
use crate::execs::FoundExec;
use crate::health::Probed;
use crate::lifecycle::{Answer, Grace, Ticket};

pub(crate) use networks::{NetworkCommand, NetworkInput, NetworkRow, NetworkView};

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
    /// Give other limits, or another restart policy.
    Update {
        reference: String,
        wish: Box<HostConfig>,
        reply: Reply<()>,
    },
    /// Take another host's part of the configuration before a start.
    Configure {
        reference: String,
        request: Box<CreateRequest>,
        moves: bool,
        reply: Reply<()>,
    },
    /// Look at a container, and at its run as it changes.
    Find { reference: String, reply: Reply<Found> },
    /// Look at all containers, newest first.
    List { reply: Reply<Vec<Arc<Container>>> },
    /// About further processes in containers.
    Exec(ExecCommand),
    /// About networks.
    Network(NetworkCommand),
    /// Take nothing more; the reply names the containers that run.
    Close { reply: Reply<Vec<String>> },
}

/// What clients ask about further processes in containers.
#[derive(Debug)]
pub(crate) enum ExecCommand {
    /// Make one; the reply is its id.
    Create {
        reference: String,
        config: Box<ExecConfig>,
        reply: Reply<String>,
    },
    /// Start it, which can be done once.
    Begin {
        id: String,
        start: ExecStart,
        reply: Reply<Begun>,
    },
    /// Look at it.
    Find { id: String, reply: Reply<FoundExec> },
}

/// An exec that is to be launched now.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) container: Arc<Container>,
    pub(crate) found: FoundExec,
    pub(crate) spec: ExecSpec,
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
    /// Further processes that run in it.
    pub(crate) execs: Vec<String>,
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
    /// Stop its processes where they are.
    Pause,
    /// Let them go on.
    Unpause,
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
        recorded: std::sync::mpsc::SyncSender<Result<(), RecordError>>,
    },
    /// A launch is over.
    Launched {
        id: String,
        result: Result<Launched, LaunchFailure>,
    },
    /// The launch of an exec is over; a failed one has an exit code that stands for it.
    ExecLaunched { id: String, result: Result<i64, i64> },
    /// The limits of a running container have been changed, or not.
    LimitsChanged {
        id: String,
        result: Result<(), ExecError>,
        wish: Box<HostConfig>,
        reply: Reply<()>,
    },
    /// A freezing is over.
    Froze { id: String, ticket: Ticket, done: bool },
    /// A thawing is over.
    Thawed {
        id: String,
        ticket: Option<Ticket>,
        done: bool,
    },
    /// What the host held of an ended run is gone.
    Cleaned { id: String },
    /// The networks of an ended run are gone.
    Disconnected { addresses: Vec<Address> },
    /// About networks.
    Network(NetworkInput),
    /// The files of a container are gone, or not.
    Erased { id: String, done: bool },
    /// The wait before the next start is over.
    RestartDue { id: String, number: u64 },
    /// A grace time is over.
    GraceOver { id: String, number: u64 },
    /// A probe is due.
    ProbeDue { id: String, number: u64 },
    /// A probe is over.
    Probed {
        id: String,
        number: u64,
        exec: String,
        probed: Probed,
    },
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

    pub(crate) async fn create_exec(&self, reference: &str, config: ExecConfig) -> Result<String, Failure> {
        self.ask(|reply| {
            Command::Exec(ExecCommand::Create {
                reference: reference.to_owned(),
                config: Box::new(config),
                reply,
            })
        })
        .await
    }

    pub(crate) async fn begin_exec(&self, id: &str, start: ExecStart) -> Result<Begun, Failure> {
        self.ask(|reply| {
            Command::Exec(ExecCommand::Begin {
                id: id.to_owned(),
                start,
                reply,
            })
        })
        .await
    }

    pub(crate) async fn find_exec(&self, id: &str) -> Result<FoundExec, Failure> {
        self.ask(|reply| {
            Command::Exec(ExecCommand::Find {
                id: id.to_owned(),
                reply,
            })
        })
        .await
    }

    pub(crate) async fn update(&self, reference: &str, wish: HostConfig) -> Result<(), Failure> {
        self.ask(|reply| Command::Update {
            reference: reference.to_owned(),
            wish: Box::new(wish),
            reply,
        })
        .await
    }

    /// `moves`: the request says which networks and links.
    pub(crate) async fn configure(
        &self,
        reference: &str,
        request: CreateRequest,
        moves: bool,
    ) -> Result<(), Failure> {
        self.ask(|reply| Command::Configure {
            reference: reference.to_owned(),
            request: Box::new(request),
            moves,
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
