//! Members that come and go as faults among other faults, on hosts that are network namespaces, under clients that record.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use berth_checker::prng::Prng;
use berth_harness::{Cluster, Lan, Response, Scratch, need_root, request_within, until};
use serde_json::Value;

use crate::nemesis::{REST, pass, pick, strike, wished};
use crate::recorder::{Recording, check, recorded};
use crate::{QUICK, berth, turn};

/// Members at the beginning and at the end of each change.
const SIZE: u8 = 3;
/// One more member than that, and a host for one that joins while another one has not quite left.
const HOSTS: u8 = SIZE + 2;
/// How long a change may take, over the faults that come in between.
const CHANGED: Duration = Duration::from_secs(60);
/// How long one request about members may take; a leader that is cut off never answers.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a fault in the midst of a change lasts at least, in milliseconds, and how much longer at most.
const MIDST: (u64, u64) = (300, 900);

/// The members, where they stand, and who records them.
struct Field<'a> {
    cluster: Cluster,
    lan: &'a Lan,
    scratch: &'a Scratch,
    hosts: Vec<u8>,
    recording: Option<Arc<Recording>>,
}

fn place(lan: &Lan, host: u8) -> (Option<String>, SocketAddr, SocketAddr) {
    let address = |port| SocketAddr::new(lan.address(host), port);
    (Some(lan.host(host)), address(2379), address(2380))
}

impl Field<'_> {
    fn recording(&self) -> &Arc<Recording> {
        self.recording.as_ref().unwrap()
    }

    fn others(&self, victim: usize) -> Vec<usize> {
        let present = self.cluster.present().into_iter();
        present.filter(|at| *at != victim).collect()
    }

    fn ask(&self, at: usize, method: &str, target: &str, body: &str) -> Option<Response> {
        let json = [("Content-Type", "application/json")];
        let client = self.cluster.client(at);
        request_within(client, method, target, &json, body.as_bytes(), PATIENCE).ok()
    }

    /// What one member knows of all: ids by URL for members.
    fn listed(&self, at: usize) -> Option<Vec<(String, String)>> {
        let answer = self.ask(at, "GET", "/v2/members", "")?.json();
        let pair = |member: &Value| {
            let url = member["peerURLs"][0].as_str()?.to_owned();
            Some((url, member["id"].as_str()?.to_owned()))
        };
        answer["members"].as_array()?.iter().map(pair).collect()
    }

    fn url(&self, at: usize) -> String {
        format!("http://{}", self.cluster.members()[at].peer)
    }

    /// Asks one after the other to remove a member until it is done; what got no answer may have been done.
    fn remove(&self, through: &[usize], victim: usize) {
        let url = self.url(victim);
        let id = until("a listed member", CHANGED, || {
            let known = self.listed(through[through.len() - 1])?;
            known
                .into_iter()
                .find(|(known, _)| *known == url)
                .map(|(_, id)| id)
        });
        let mut turns = through.iter().cycle();
        until("a removal", CHANGED, || {
            let at = *turns.next()?;
            let answer = self.ask(at, "DELETE", &format!("/v2/members/{id}"), "")?;
            [204, 410].contains(&answer.status).then_some(())
        });
    }

    /// A member that ran when it was removed ends by itself.
    fn see_off(&mut self, victim: usize, farewell: u64) {
        let (code, log) = self.cluster.wait_removed(victim);
        assert_eq!(code, 1, "{log}");
        let said = "this member was removed from the cluster for ever";
        assert!(log.contains(said), "{log}");
        self.recording().left(self.cluster.client(victim), farewell);
    }

    /// A fresh member on a host where nobody stands is made known to the others and started; `midst` comes right then.
    fn join(&mut self, through: &[usize], midst: impl FnOnce(&mut Self)) -> usize {
        let taken: Vec<u8> = self.cluster.present().iter().map(|at| self.hosts[*at]).collect();
        let host = (0..HOSTS)
            .find(|host| !taken.contains(host))
            .expect("a free host");
        let at = self.cluster.prepare_at(self.scratch, place(self.lan, host));
        self.hosts.push(host);
        let (url, name) = (self.url(at), self.cluster.members()[at].name.clone());
        let wish = format!("{{\"peerURLs\":[\"{url}\"]}}");
        let mut turns = through.iter().cycle();
        let known = until("an added member", CHANGED, || {
            let through = *turns.next()?;
            let answer = self.ask(through, "POST", "/v2/members", &wish)?;
            // Nobody else asks for it: one that is there is what an attempt without an answer has done.
            let added = [201, 409].contains(&answer.status);
            let known = self.listed(through).filter(|_| added)?;
            known.iter().any(|(known, _)| *known == url).then_some(known)
        });
        let pairs = known.iter().map(|(known, _)| {
            let present = self.cluster.present();
            let own = present.into_iter().find(|at| self.url(*at) == *known);
            let name = own.map_or(&name, |own| &self.cluster.members()[own].name);
            format!("{name}={known}")
        });
        let list = pairs.collect::<Vec<_>>().join(",");
        self.cluster.start_joining(at, &list, &[]);
        midst(self);
        self.cluster.wait_healthy(at);
        self.cluster.wait_voter(at);
        self.recording().joined(self.cluster.client(at));
        at
    }
}

/// One change of the members, and a fault in its midst.
fn change(field: &mut Field<'_>, prng: &mut Prng) -> &'static str {
    let leader = field.cluster.leader();
    let present = field.cluster.present();
    let victim = pick(prng, &present);
    let time = MIDST.0 + prng.below(MIDST.1);
    match prng.below(6) {
        0 => {
            let farewell = field.recording().farewell(field.cluster.client(leader));
            // Itself first; it may end before it answers again.
            let through: Vec<usize> = [leader].into_iter().chain(field.others(leader)).collect();
            field.remove(&through, leader);
            field.see_off(leader, farewell);
            field.join(&field.others(leader), |_| ());
            "removal of the leader through itself"
        }
        1 => {
            let farewell = field.recording().farewell(field.cluster.client(leader));
            field.remove(&field.others(leader), leader);
            field.see_off(leader, farewell);
            field.join(&field.others(leader), |_| ());
            "removal of the leader through another"
        }
        2 => {
            let farewell = field.recording().farewell(field.cluster.client(victim));
            field.cluster.kill(victim);
            field.remove(&field.others(victim), victim);
            field.cluster.forget(victim);
            field.recording().left(field.cluster.client(victim), farewell);
            field.join(&field.others(victim), |_| ());
            "replacement of a dead member"
        }
        3 => {
            let new = field.join(&present, |field| {
                field.cluster.kill(leader);
                pass(time);
                field.cluster.restart(leader);
            });
            let through: Vec<usize> = [new].into_iter().chain(field.others(victim)).collect();
            let farewell = field.recording().farewell(field.cluster.client(victim));
            field.remove(&through, victim);
            field.see_off(victim, farewell);
            "addition while the leader dies, then a removal through the new one"
        }
        4 => {
            let farewell = field.recording().farewell(field.cluster.client(leader));
            field.lan.isolate(field.hosts[leader]);
            field.remove(&field.others(leader), leader);
            pass(time);
            field.lan.heal();
            field.see_off(leader, farewell);
            field.join(&field.others(leader), |_| ());
            "removal of a leader that is cut off"
        }
        _ => {
            let farewell = field.recording().farewell(field.cluster.client(victim));
            let through = field.others(victim);
            field.remove(&through, victim);
            field.see_off(victim, farewell);
            field.join(&through, |field| {
                let paused = pick(prng, &through);
                field.cluster.pause(paused);
                pass(time);
                field.cluster.resume(paused);
            });
            "replacement while another one stands still"
        }
    }
}

#[test]
fn members_come_and_go_among_other_faults() {
    need_root();
    let time = Duration::from_secs(wished("BERTH_FAULT_SECONDS", 8));
    let seed = wished("BERTH_FAULT_SEED", 3);
    let _turn = turn();
    let scratch = Scratch::new();
    let lan = Lan::new(&scratch, HOSTS);
    let flags = [&QUICK[..], &["--snapshot-count", "500"]].concat();
    let places = (0..SIZE).map(|host| place(&lan, host)).collect();
    let mut field = Field {
        cluster: Cluster::start_at(&berth(), &scratch, places, &flags),
        lan: &lan,
        scratch: &scratch,
        hosts: (0..SIZE).collect(),
        recording: None,
    };
    lan.within(|| {
        field.cluster.wait_all();
        let mut prng = Prng::new(seed, "churn");
        let (mut changes, mut struck) = (Vec::new(), Vec::new());
        let history = recorded(&field.cluster.clients(), seed, |recording| {
            field.recording = Some(Arc::clone(recording));
            let begun = Instant::now();
            while begun.elapsed() < time {
                changes.push(change(&mut field, &mut prng));
                struck.push(strike(&mut field.cluster, &lan, &field.hosts, &mut prng));
                pass(prng.below(REST));
                field.cluster.wait_all();
            }
        });
        println!("seed {seed}: {changes:?}, {struck:?}");
        check(&history, &field.cluster);
        assert_eq!(field.cluster.present().len(), usize::from(SIZE));
    });
}
