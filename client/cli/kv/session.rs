//! A client of the store with the manners of the name that berth was called by.

use std::io;
use std::time::Duration;

use berth_sdk::{
    ClientTls, Endpoint, EtcdClient, Failures, KeyAnswer, KeysCall, MembersError, Method, SdkError, TlsFiles,
    parse_endpoints,
};
use tokio::time::timeout;

use super::{show, users, words};
use crate::args::{Format, Global, StoreClient};
use crate::exit::{self, FAILED, Failure, NO_STORE, STORE_REFUSES};
use crate::terminal::{note, print};

/// The port of an endpoint that names none.
const DEFAULT_PORT: u16 = 2379;

/// Whose manners: words, exit codes, which members are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// berth's own.
    Berth,
    /// Those of etcdctl, to the byte.
    Etcdctl,
}

/// How a key is printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Its value.
    Simple,
    /// Its value and its numbers.
    Extended,
    /// A JSON document.
    Json,
    /// A name that etcdctl does not know and complains about only after the request.
    Unknown(String),
}

/// What it takes to reach the store.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    pub(crate) endpoints: String,
    pub(crate) limit: Option<Duration>,
    pub(crate) total: Option<Duration>,
    pub(crate) debug: bool,
    /// A name and a password with a colon between them; the password is asked for without.
    pub(crate) user: Option<String>,
    /// For members whose URLs are https.
    pub(crate) tls: TlsFiles,
}

/// A client of the store.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    client: EtcdClient,
    shape: Shape,
    style: Style,
    total: Option<Duration>,
    debug: bool,
}

impl Session {
    /// A session of `berth`.
    pub(crate) fn open(global: &Global, store: &StoreClient) -> Result<Self, Failure> {
        let shape = match global.format {
            Format::Text => Shape::Simple,
            Format::Extended => Shape::Extended,
            Format::Json => Shape::Json,
        };
        let connection = Connection {
            endpoints: store.peers.clone().unwrap_or_else(|| global.endpoints.clone()),
            limit: store.timeout,
            total: store.total_timeout,
            debug: store.debug,
            user: store.username.clone(),
            tls: TlsFiles {
                ca: store.ca_file.clone(),
                cert: store.cert_file.clone(),
                key: store.key_file.clone(),
                insecure: store.insecure_skip_tls_verify,
            },
        };
        Self::new(connection, shape, Style::Berth)
    }

    /// A session of etcdctl; [`Session::sync`] comes next.
    pub(crate) fn of_etcdctl(connection: Connection, shape: Shape) -> Result<Self, Failure> {
        Self::new(connection, shape, Style::Etcdctl)
    }

    fn new(connection: Connection, shape: Shape, style: Style) -> Result<Self, Failure> {
        let endpoints = parse_endpoints(&connection.endpoints, Some(DEFAULT_PORT))?;
        let mut client = EtcdClient::new(endpoints)?;
        if let Some(limit) = connection.limit.filter(|limit| !limit.is_zero()) {
            client = client.with_limit(limit);
        }
        if let Some(user) = &connection.user {
            let asked;
            let (name, password) = match user.split_once(':') {
                Some(split) => split,
                None => {
                    asked = users::ask(style, "Password: ")?;
                    (user.as_str(), asked.as_str())
                }
            };
            client = client.with_user(name, password);
        }
        if !connection.tls.is_empty() {
            let tls = ClientTls::new(&connection.tls).map_err(|error| {
                let error = anyhow::Error::new(error);
                Failure::usage(format!("--ca-file, --cert-file, --key-file: {error:#}"))
            })?;
            client = client.with_tls(Some(tls));
        }
        if connection.debug {
            client = client.with_observer(show_request);
        }
        Ok(Self {
            client,
            shape,
            style,
            total: connection.total.filter(|total| !total.is_zero()),
            debug: connection.debug,
        })
    }

    /// Goes on with the client URLs of all members, as etcdctl does in front of its commands.
    pub(crate) async fn sync(&mut self) -> Result<(), Failure> {
        if self.debug {
            note(&format!(
                "start to sync cluster using endpoints({})",
                self.endpoint_list(",")
            ));
        }
        match self.client.members().await {
            Ok(members) => {
                let urls: Vec<String> = members
                    .into_iter()
                    .flat_map(|member| member.client_urls)
                    .collect();
                if urls.is_empty() {
                    let given = self.endpoint_list(",");
                    note("etcd cluster has no published client endpoints.");
                    note(&format!(
                        "Try '--no-sync' if you want to access non-published client endpoints({given})."
                    ));
                    return Err(words::error(STORE_REFUSES, "client: no endpoints available"));
                }
                self.client = self
                    .client
                    .with_members(parse_endpoints(&urls.join(","), Some(DEFAULT_PORT))?)?;
            }
            Err(MembersError::Unanswered(failures)) if words::never_connected(&failures) => {
                return Err(words::failure(NO_STORE, &failures, false));
            }
            // The command itself will find out with the members that were given.
            Err(MembersError::Unanswered(_) | MembersError::Refused { .. }) => {}
        }
        if self.debug {
            note(&format!("got endpoints({}) after sync", self.endpoint_list(",")));
        }
        Ok(())
    }

    /// Says which members will be asked.
    pub(crate) fn announce(&self) {
        if self.debug {
            note(&format!("Cluster-Endpoints: {}", self.endpoint_list(", ")));
        }
    }

    fn endpoint_list(&self, between: &str) -> String {
        let endpoints: Vec<String> = self.client.endpoints().map(Endpoint::to_string).collect();
        endpoints.join(between)
    }

    pub(crate) fn client(&self) -> &EtcdClient {
        &self.client
    }

    pub(crate) fn style(&self) -> Style {
        self.style
    }

    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }

    pub(crate) fn is_json(&self) -> bool {
        self.shape == Shape::Json && self.style == Style::Berth
    }

    pub(crate) fn is_simple(&self) -> bool {
        self.shape == Shape::Simple
    }

    /// Sends a request.
    pub(crate) async fn send(&self, call: &KeysCall) -> Result<KeyAnswer, Failure> {
        self.within(call, false).await
    }

    /// Sends a request that etcd's client tries only once; berth's own client decides by what happened.
    pub(crate) async fn send_once(&self, call: &KeysCall) -> Result<KeyAnswer, Failure> {
        self.within(call, true).await
    }

    /// Waits for a change, without a limit.
    pub(crate) async fn wait(&self, call: &KeysCall) -> Result<KeyAnswer, Failures> {
        self.client.send(call).await
    }

    async fn within(&self, call: &KeysCall, once: bool) -> Result<KeyAnswer, Failure> {
        let sent = self.client.send(call);
        let answer = match self.total {
            None => sent.await,
            Some(total) => match timeout(total, sent).await {
                Ok(answer) => answer,
                Err(_) => return Err(self.too_late(total)),
            },
        };
        answer.map_err(|failures| self.failed(failures, once))
    }

    fn too_late(&self, total: Duration) -> Failure {
        match self.style {
            Style::Berth => Failure::new(
                NO_STORE,
                anyhow::anyhow!("the store did not answer within {total:?}"),
            ),
            Style::Etcdctl => words::error(STORE_REFUSES, "context deadline exceeded"),
        }
    }

    /// The end of a command that a request failed.
    pub(crate) fn failed(&self, failures: Failures, once: bool) -> Failure {
        match self.style {
            Style::Berth => exit::keys(failures.into_error()),
            Style::Etcdctl => words::failure(STORE_REFUSES, &failures, once),
        }
    }

    /// The end of a command that makes no sense.
    pub(crate) fn usage(&self, text: &str) -> Failure {
        match self.style {
            Style::Berth => Failure::usage(text.to_owned()),
            Style::Etcdctl => words::error(FAILED, text),
        }
    }

    /// The end of a command on members.
    pub(crate) fn members_failed(&self, error: MembersError) -> Failure {
        match (self.style, error) {
            (_, MembersError::Refused { message, .. }) => Failure::usage(message),
            (Style::Berth, MembersError::Unanswered(failures)) => exit::keys(failures.into_error()),
            (Style::Etcdctl, MembersError::Unanswered(failures)) => {
                Failure::usage(words::unavailable(failures.errors()))
            }
        }
    }

    /// Prints a key in the shape that was asked for.
    pub(crate) fn show(&self, answer: &KeyAnswer) -> io::Result<()> {
        match &self.shape {
            Shape::Simple => print(&show::simple(&answer.event)),
            Shape::Extended => print(&show::extended(answer)),
            Shape::Json => print(&show::json(&answer.event)),
            Shape::Unknown(name) => {
                note(&format!("Unsupported output format: {name}"));
                Ok(())
            }
        }
    }
}

/// A request as a command line that can be pasted.
fn show_request(method: &Method, url: &str, form: Option<&str>) {
    let form = form.map(|form| format!(" -d \"{form}\"")).unwrap_or_default();
    note(&format!("cURL Command: curl -X {method} {url}{form}"));
}

/// Whether the store refused with this number.
pub(crate) fn refused_with(failures: &Failures, code: u16) -> bool {
    failures.refusal().and_then(SdkError::store_code) == Some(code)
}
