//! What clients ask about networks, and what comes back of it.

use berth_exec::ExecError;
use berth_wire::docker::EndpointSettings;

use super::{Command, Handle, Reply};
use crate::container::Address;
use crate::error::Failure;
use crate::networks::{Network, NetworkWish};

/// What clients ask about networks.
#[derive(Debug)]
pub(crate) enum NetworkCommand {
    /// Make one; the reply is its id.
    Create {
        wish: Box<NetworkWish>,
        reply: Reply<String>,
    },
    /// Look at all, by name.
    List { reply: Reply<Vec<NetworkView>> },
    /// Look at one.
    Find {
        reference: String,
        reply: Reply<NetworkView>,
    },
    /// Remove one that nobody is in.
    Remove { reference: String, reply: Reply<()> },
    /// Give a container a place.
    Connect {
        reference: String,
        container: String,
        settings: Box<EndpointSettings>,
        reply: Reply<()>,
    },
    /// Take a place from a container.
    Disconnect {
        reference: String,
        container: String,
        force: bool,
        reply: Reply<()>,
    },
    /// Take a link from a container.
    Unlink {
        parent: String,
        alias: String,
        reply: Reply<()>,
    },
}

/// What came of changes of the host.
#[derive(Debug)]
pub(crate) enum NetworkInput {
    /// A bridge is there, or not.
    Made {
        id: String,
        result: Result<(), ExecError>,
        wish: Box<NetworkWish>,
        /// How often another subnet may be tried.
        tries: u32,
        reply: Reply<String>,
    },
    /// A bridge is gone, or not.
    Gone {
        id: String,
        result: Result<(), ExecError>,
        reply: Reply<()>,
    },
    /// A running container has a place more, or not.
    Joined {
        id: String,
        address: Box<Address>,
        result: Result<(), ExecError>,
        reply: Reply<()>,
    },
    /// A running container has a place less.
    Left {
        id: String,
        address: Box<Address>,
        result: Result<(), ExecError>,
        reply: Reply<()>,
    },
}

/// A network and those that are in it.
#[derive(Debug, Clone)]
pub(crate) struct NetworkView {
    pub(crate) network: Network,
    pub(crate) rows: Vec<NetworkRow>,
}

/// A running container in a network.
#[derive(Debug, Clone)]
pub(crate) struct NetworkRow {
    pub(crate) container: String,
    pub(crate) name: String,
    pub(crate) address: Address,
}

impl Handle {
    pub(crate) async fn create_network(&self, wish: NetworkWish) -> Result<String, Failure> {
        let wish = Box::new(wish);
        self.ask(|reply| Command::Network(NetworkCommand::Create { wish, reply }))
            .await
    }

    pub(crate) async fn networks(&self) -> Result<Vec<NetworkView>, Failure> {
        self.ask(|reply| Command::Network(NetworkCommand::List { reply }))
            .await
    }

    pub(crate) async fn network(&self, reference: &str) -> Result<NetworkView, Failure> {
        let reference = reference.to_owned();
        self.ask(|reply| Command::Network(NetworkCommand::Find { reference, reply }))
            .await
    }

    pub(crate) async fn remove_network(&self, reference: &str) -> Result<(), Failure> {
        let reference = reference.to_owned();
        self.ask(|reply| Command::Network(NetworkCommand::Remove { reference, reply }))
            .await
    }

    pub(crate) async fn connect(
        &self,
        reference: &str,
        container: &str,
        settings: EndpointSettings,
    ) -> Result<(), Failure> {
        self.ask(|reply| {
            Command::Network(NetworkCommand::Connect {
                reference: reference.to_owned(),
                container: container.to_owned(),
                settings: Box::new(settings),
                reply,
            })
        })
        .await
    }

    pub(crate) async fn disconnect(
        &self,
        reference: &str,
        container: &str,
        force: bool,
    ) -> Result<(), Failure> {
        self.ask(|reply| {
            Command::Network(NetworkCommand::Disconnect {
                reference: reference.to_owned(),
                container: container.to_owned(),
                force,
                reply,
            })
        })
        .await
    }

    pub(crate) async fn unlink(&self, parent: &str, alias: &str) -> Result<(), Failure> {
        self.ask(|reply| {
            Command::Network(NetworkCommand::Unlink {
                parent: parent.to_owned(),
                alias: alias.to_owned(),
                reply,
            })
        })
        .await
    }
}
