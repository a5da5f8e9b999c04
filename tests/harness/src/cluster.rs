//! Several `berth store` processes that form one cluster, on loopback or each on a host of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::berth::Berth;
use crate::http::{Response, request_within};
use crate::process::Process;
use crate::scratch::Scratch;
use crate::wait::until;

/// Longest time from the start of a cluster, or of one of its members, until it serves, on a busy machine.
const LONGEST_START: Duration = Duration::from_secs(30);
/// Longest wait for a leader.
const LONGEST_ELECTION: Duration = Duration::from_secs(30);
/// Longest wait for the answer to a look at a member.
const LOOK: Duration = Duration::from_secs(3);

/// Ports below those that the system gives to outgoing connections: a member that is away must find its own free.
const FIRST_PORT: u16 = 11_000;
const PORTS: u16 = 16_000;

static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// A TCP port of 127.0.0.1 that stays free while nobody listens there.
///
/// # Panics
/// When no port can be had.
#[must_use]
pub fn quiet_port() -> u16 {
    let start = u16::try_from(std::process::id() * 64 % u32::from(PORTS)).unwrap();
    (0..PORTS)
        .map(|_| FIRST_PORT + (start + NEXT_PORT.fetch_add(1, Ordering::Relaxed)) % PORTS)
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}

/// One member.
#[derive(Debug)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Where clients reach it.
    pub client: SocketAddr,
    /// Where other members reach it.
    pub peer: SocketAddr,
    /// Its data directory.
    pub data: PathBuf,
    /// Its process runs in this network namespace.
    namespace: Option<String>,
    /// What it is started with beside names, places and the flags of all.
    initial: Vec<String>,
    /// It was removed from the cluster.
    left: bool,
    log: PathBuf,
    process: Option<Process>,
}

/// A cluster. Dropping it kills all members.
#[derive(Debug)]
pub struct Cluster {
    berth: Berth,
    extra: Vec<String>,
    members: Vec<Member>,
}

impl Cluster {
    /// Starts members on loopback and waits until they have a leader.
    ///
    /// # Panics
    /// When there is none in time.
    #[must_use]
    pub fn start(berth: &Berth, scratch: &Scratch, size: usize, extra: &[&str]) -> Self {
        let places = (0..size).map(|_| {
            let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
            (None, address(quiet_port()), address(quiet_port()))
        });
        Self::start_at(berth, scratch, places.collect(), extra)
    }

    /// The same with namespaces, addresses for clients and addresses for members of the caller's choice.
    ///
    /// # Panics
    /// When there is no leader in time.
    #[must_use]
    pub fn start_at(
        berth: &Berth,
        scratch: &Scratch,
        places: Vec<(Option<String>, SocketAddr, SocketAddr)>,
        extra: &[&str],
    ) -> Self {
        let mut members: Vec<Member> = places
            .into_iter()
            .enumerate()
            .map(|(at, (namespace, client, peer))| {
                let name = format!("m{at}");
                Member {
                    data: scratch.join(&name),
                    log: scratch.join(&format!("{name}.log")),
                    name,
                    client,
                    peer,
                    namespace,
                    initial: Vec::new(),
                    left: false,
                    process: None,
                }
            })
            .collect();
        let list = members
            .iter()
            .map(|member| format!("{}=http://{}", member.name, member.peer));
        let list = list.collect::<Vec<_>>().join(",");
        for member in &mut members {
            member.initial = vec!["--initial-cluster".to_owned(), list.clone()];
        }
        let mut cluster = Self {
            berth: berth.clone(),
            extra: extra.iter().map(|flag| (*flag).to_owned()).collect(),
            members,
        };
        for at in 0..cluster.members.len() {
            cluster.spawn(at);
        }
        cluster
    }

    fn spawn(&mut self, at: usize) {
        let member = &self.members[at];
        let arguments = ["store", "--name", &member.name];
        let mut command = match &member.namespace {
            Some(namespace) => {
                let own = self.berth.command(&arguments);
                let mut command = Command::new("nsenter");
                command
                    .arg(format!("--net=/run/netns/{namespace}"))
                    .arg(own.get_program())
                    .args(own.get_args());
                command
            }
            None => self.berth.command(&arguments),
        };
        command
            .arg("--data-dir")
            .arg(&member.data)
            .arg("--listen-client")
            .arg(member.client.to_string())
            .arg("--listen-peer")
            .arg(member.peer.to_string())
            .args(&member.initial)
            .args(&self.extra);
        let process = Process::start(&mut command, &member.log);
        self.members[at].process = Some(process);
    }

    /// All members.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Where clients reach a member.
    #[must_use]
    pub fn client(&self, at: usize) -> SocketAddr {
        self.members[at].client
    }

    /// Where clients reach each of them.
    #[must_use]
    pub fn clients(&self) -> Vec<SocketAddr> {
        self.members.iter().map(|member| member.client).collect()
    }

    /// Those that were not removed.
    #[must_use]
    pub fn present(&self) -> Vec<usize> {
        (0..self.members.len())
            .filter(|at| !self.members[*at].left)
            .collect()
    }

    /// One request with a JSON document to a member.
    ///
    /// # Panics
    /// When it does not answer.
    #[must_use]
    pub fn ask_json(&self, at: usize, method: &str, target: &str, body: &str) -> Response {
        let json = [("Content-Type", "application/json")];
        let answer = request_within(
            self.client(at),
            method,
            target,
            &json,
            body.as_bytes(),
            LONGEST_ELECTION,
        );
        answer.unwrap_or_else(|error| panic!("{method} {target} {body}: {error}"))
    }

    /// The id of a member, as another one lists it.
    ///
    /// # Panics
    /// When it is not listed by its name in time.
    #[must_use]
    pub fn id(&self, through: usize, at: usize) -> String {
        until("a listed member", LONGEST_START, || {
            let listed = self.ask(through, "GET", "/v2/members", "").ok()?.json();
            let members = listed["members"].as_array()?;
            let name = self.members[at].name.as_str();
            let found = members.iter().find(|member| member["name"] == name)?;
            Some(found["id"].as_str()?.to_owned())
        })
    }

    /// A place for one more member, which is not started and not known to the others.
    #[must_use]
    pub fn prepare(&mut self, scratch: &Scratch) -> usize {
        let address = || SocketAddr::from(([127, 0, 0, 1], quiet_port()));
        self.prepare_at(scratch, (None, address(), address()))
    }

    /// The same with a namespace, an address for clients and an address for members of the caller's choice.
    #[must_use]
    pub fn prepare_at(
        &mut self,
        scratch: &Scratch,
        place: (Option<String>, SocketAddr, SocketAddr),
    ) -> usize {
        let (namespace, client, peer) = place;
        let name = format!("m{}", self.members.len());
        self.members.push(Member {
            data: scratch.join(&name),
            log: scratch.join(&format!("{name}.log")),
            name,
            client,
            peer,
            namespace,
            initial: Vec::new(),
            left: false,
            process: None,
        });
        self.members.len() - 1
    }

    /// Adds a member through another one, and starts it as etcd's documents say. Gives its place.
    ///
    /// # Panics
    /// When it is not added.
    pub fn join(&mut self, scratch: &Scratch, through: usize) -> usize {
        let at = self.prepare(scratch);
        let wish = format!("{{\"peerURLs\":[\"http://{}\"]}}", self.members[at].peer);
        let added = self.ask_json(through, "POST", "/v2/members", &wish);
        assert_eq!(added.status, 201, "{}", added.text());
        let list = self.initial_cluster(through, at);
        self.start_joining(at, &list, &[]);
        at
    }

    /// The members as `--initial-cluster` has them, with the name of one that has not started.
    #[must_use]
    pub fn initial_cluster(&self, through: usize, new: usize) -> String {
        let listed = self.ask_json(through, "GET", "/v2/members", "").json();
        let pairs = listed["members"].as_array().unwrap().iter().map(|member| {
            let url = member["peerURLs"][0].as_str().unwrap();
            let name = match member["name"].as_str().unwrap() {
                "" => &self.members[new].name,
                name => name,
            };
            format!("{name}={url}")
        });
        pairs.collect::<Vec<_>>().join(",")
    }

    /// Starts a prepared member so that it joins.
    pub fn start_joining(&mut self, at: usize, initial: &str, more: &[&str]) {
        let flags = [
            "--initial-cluster",
            initial,
            "--initial-cluster-state",
            "existing",
        ];
        let flags = flags.iter().chain(more);
        self.members[at].initial = flags.map(|flag| (*flag).to_owned()).collect();
        self.spawn(at);
    }

    /// Waits until a member knows itself to have a vote, as its log tells.
    ///
    /// # Panics
    /// When it has none in time.
    pub fn wait_voter(&self, at: usize) {
        until("a vote", LONGEST_START, || {
            let log = self.log(at);
            let line = log.lines().rfind(|line| line.contains("membership changed"))?;
            line.contains("learners={}").then_some(())
        });
    }

    /// Another address for the other members, from the next start on.
    pub fn move_to(&mut self, at: usize, peer: SocketAddr) {
        self.members[at].peer = peer;
    }

    /// Waits until a member has ended by itself; gives its exit code and what it said.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn wait_end(&mut self, at: usize) -> (i32, String) {
        let mut process = self.members[at].process.take().expect("a running member");
        let status = process.wait(LONGEST_START);
        (status.code().unwrap_or(-1), self.log(at))
    }

    /// The same of a member that was removed, which counts no more.
    ///
    /// # Panics
    /// When it does not end in time.
    pub fn wait_removed(&mut self, at: usize) -> (i32, String) {
        self.members[at].left = true;
        self.wait_end(at)
    }

    /// A member that is away was removed, and counts no more.
    pub fn forget(&mut self, at: usize) {
        self.members[at].left = true;
    }

    /// The process ids of those that run.
    #[must_use]
    pub fn ids(&self) -> Vec<u32> {
        let processes = self.members.iter().filter_map(|member| member.process.as_ref());
        processes.map(Process::id).collect()
    }

    /// A member's log.
    #[must_use]
    pub fn log(&self, at: usize) -> String {
        std::fs::read_to_string(&self.members[at].log).unwrap_or_default()
    }

    /// One short request to a member.
    pub fn ask(&self, at: usize, method: &str, target: &str, body: &str) -> std::io::Result<Response> {
        let form = [("Content-Type", "application/x-www-form-urlencoded")];
        request_within(
            self.client(at),
            method,
            target,
            &form,
            body.as_bytes(),
            LONGEST_ELECTION,
        )
    }

    /// What a member says about itself.
    #[must_use]
    pub fn stats(&self, at: usize) -> Option<Value> {
        let answer = request_within(self.client(at), "GET", "/v2/stats/self", &[], b"", LOOK).ok()?;
        serde_json::from_slice(&answer.body).ok()
    }

    /// The leader that a majority of the members follows, itself among them.
    #[must_use]
    pub fn leader_now(&self) -> Option<usize> {
        let stats: Vec<Option<Value>> = (0..self.members.len())
            .map(|at| {
                let running = !self.members[at].left && self.members[at].process.is_some();
                if running { self.stats(at) } else { None }
            })
            .collect();
        let leader = stats.iter().position(|stats| {
            stats
                .as_ref()
                .is_some_and(|stats| stats["state"] == "StateLeader")
        })?;
        let id = &stats[leader].as_ref()?["id"];
        let follows = |stats: &&Option<Value>| {
            stats
                .as_ref()
                .is_some_and(|stats| stats["leaderInfo"]["leader"] == *id)
        };
        (stats.iter().filter(follows).count() > self.present().len() / 2).then_some(leader)
    }

    /// Waits for a leader.
    ///
    /// # Panics
    /// When there is none in time.
    #[must_use]
    pub fn leader(&self) -> usize {
        until("a leader", LONGEST_ELECTION, || self.leader_now())
    }

    /// Waits until a member serves a quorum read.
    ///
    /// # Panics
    /// When it does not in time.
    pub fn wait_healthy(&self, at: usize) {
        until("a healthy member", LONGEST_START, || {
            let answer = request_within(self.client(at), "GET", "/health", &[], b"", LOOK).ok()?;
            (answer.status == 200).then_some(())
        });
    }

    /// The same for all of them.
    ///
    /// # Panics
    /// When one does not in time.
    pub fn wait_all(&self) {
        self.present().into_iter().for_each(|at| self.wait_healthy(at));
    }

    /// SIGKILL.
    ///
    /// # Panics
    /// When the member is not running.
    pub fn kill(&mut self, at: usize) {
        self.members[at].process.take().expect("a running member").kill();
    }

    /// SIGTERM; the exit must be clean.
    ///
    /// # Panics
    /// When the member is not running, or ends otherwise.
    pub fn stop(&mut self, at: usize) {
        let mut process = self.members[at].process.take().expect("a running member");
        let status = process.stop();
        assert!(
            status.success(),
            "a member ended with {status}:\n{}",
            process.output()
        );
    }

    /// Starts a member again with the same flags.
    ///
    /// # Panics
    /// When it is running.
    pub fn restart(&mut self, at: usize) {
        assert!(self.members[at].process.is_none(), "the member is running");
        self.spawn(at);
    }

    /// SIGSTOP.
    pub fn pause(&self, at: usize) {
        self.signal(at, Signal::SIGSTOP);
    }

    /// SIGCONT.
    pub fn resume(&self, at: usize) {
        self.signal(at, Signal::SIGCONT);
    }

    fn signal(&self, at: usize, signal: Signal) {
        if let Some(process) = &self.members[at].process {
            process.signal(signal);
        }
    }
}
