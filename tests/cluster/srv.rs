//! Members that find each other by SRV records, of a DNS server that the test is itself.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use berth_harness::{Process, Scratch, quiet_port, request, until};

use crate::{QUICK, berth, turn};

const LIMIT: Duration = Duration::from_secs(30);
/// How often the server looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);

const A: u16 = 1;
const SRV: u16 = 33;

/// A DNS server on loopback. Dropping it ends it.
struct Dns {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What a name has, by its name and type.
type Zone = BTreeMap<(String, u16), Vec<Vec<u8>>>;

fn name_bytes(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        bytes.push(u8::try_from(label.len()).unwrap());
        bytes.extend_from_slice(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

fn srv(port: u16, target: &str) -> Vec<u8> {
    let mut data = vec![0, 0, 0, 10];
    data.extend_from_slice(&port.to_be_bytes());
    data.extend(name_bytes(target));
    data
}

/// The answer to a query of one question.
fn answer(zone: &Zone, query: &[u8]) -> Option<Vec<u8>> {
    let mut at = 12;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
    let question = query.get(12..at + 4)?;
    let name = labels.join(".");
    let found = zone.get(&(name.clone(), kind)).map_or(&[][..], Vec::as_slice);
    let known = zone.keys().any(|(known, _)| *known == name);
    let mut out = query[..2].to_vec();
    // An answer, with authority, and recursion as it was wished; NXDOMAIN for names that are not there.
    out.extend_from_slice(&[0x85, if known { 0x80 } else { 0x83 }]);
    out.extend_from_slice(&[0, 1]);
    out.extend_from_slice(&u16::try_from(found.len()).unwrap().to_be_bytes());
    out.extend_from_slice(&[0, 0, 0, 0]);
    out.extend_from_slice(question);
    for data in found {
        // The name of the question, the type, IN, a minute.
        out.extend_from_slice(&[0xc0, 12]);
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
        out.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
        out.extend_from_slice(data);
    }
    Some(out)
}

impl Dns {
    fn start(zone: Zone) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(LOOK)).unwrap();
        let address = socket.local_addr().unwrap();
        let (asked, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counter, ending) = (Arc::clone(&asked), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut query = [0; 1500];
            while !ending.load(Ordering::Relaxed) {
                let Ok((length, from)) = socket.recv_from(&mut query) else {
                    continue;
                };
                counter.fetch_add(1, Ordering::Relaxed);
                if let Some(answer) = answer(&zone, &query[..length]) {
                    socket.send_to(&answer, from).unwrap();
                }
            }
        });
        Self {
            address,
            asked,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn zone(service: &str, ports: &[u16]) -> Zone {
    let mut zone = Zone::new();
    // A name that members and clients, who ask their system for its address, know as well.
    let records = ports.iter().map(|port| srv(*port, "localhost."));
    zone.insert((format!("{service}.example.test"), SRV), records.collect());
    zone.insert(("localhost".to_owned(), A), vec![vec![127, 0, 0, 1]]);
    zone
}

/// A member that knows the domain only.
fn start(scratch: &Scratch, at: usize, client: u16, peer: u16, dns: SocketAddr, more: &[&str]) -> Process {
    let mut command = berth().command(&["store", "--discovery-srv", "example.test"]);
    command
        .args(["--name", &format!("m{at}")])
        .arg("--data-dir")
        .arg(scratch.join(&format!("m{at}")))
        .args(["--listen-client", &format!("127.0.0.1:{client}")])
        .args(["--listen-peer", &format!("127.0.0.1:{peer}")])
        .args(["--dns-server", &dns.to_string()])
        .args(QUICK)
        .args(more);
    Process::start(&mut command, &scratch.join(&format!("m{at}.log")))
}

fn healthy(process: &mut Process, client: u16) {
    until("a healthy member", LIMIT, || {
        assert_eq!(process.ended(), None, "{}", process.output());
        let at = SocketAddr::from(([127, 0, 0, 1], client));
        let answer = request(at, "GET", "/health", &[], b"").ok()?;
        (answer.status == 200).then_some(())
    });
}

#[test]
fn three_members_form_a_cluster_by_a_domain_which_counts_at_the_first_start_only() {
    let _turn = turn();
    let scratch = Scratch::new();
    let peers = [quiet_port(), quiet_port(), quiet_port()];
    let clients = [quiet_port(), quiet_port(), quiet_port()];
    let mut records = zone("_etcd-server._tcp", &peers);
    records.extend(zone("_etcd-client._tcp", &clients));
    let dns = Dns::start(records);
    let mut members: Vec<Process> = (0..3)
        .map(|at| start(&scratch, at, clients[at], peers[at], dns.address, &[]))
        .collect();
    for at in 0..3 {
        healthy(&mut members[at], clients[at]);
    }
    let at = SocketAddr::from(([127, 0, 0, 1], clients[0]));
    until("the members' names", LIMIT, || {
        let list = request(at, "GET", "/v2/members", &[], b"").ok()?.json();
        let mut names: Vec<String> = list["members"]
            .as_array()?
            .iter()
            .map(|member| {
                let url = member["peerURLs"][0].as_str().unwrap();
                assert!(url.starts_with("http://localhost:"), "{url}");
                member["name"].as_str().unwrap().to_owned()
            })
            .collect();
        names.sort();
        (names == ["m0", "m1", "m2"]).then_some(())
    });
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let put = request(at, "PUT", "/v2/keys/k", &form, b"value=1").unwrap();
    assert_eq!(put.status, 201, "{}", put.text());
    // Clients find them by the same domain.
    let server = dns.address.to_string();
    let words = [
        "--discovery-srv",
        "example.test",
        "--dns-server",
        &server,
        "get",
        "/k",
    ];
    assert_eq!(berth().run(&words).ok(), "1");
    let words = [
        "--discovery-srv",
        "elsewhere.test",
        "--dns-server",
        &server,
        "get",
        "/k",
    ];
    let unknown = berth().run(&words);
    assert_eq!(unknown.code, 2, "{}", unknown.stderr);
    assert!(
        unknown.stderr.contains("no records for _etcd-client._tcp"),
        "{}",
        unknown.stderr
    );
    // A further start asks nobody.
    let asked = dns.asked.load(Ordering::Relaxed);
    assert!(asked > 0);
    assert!(members[2].stop().success());
    members[2] = start(&scratch, 2, clients[2], peers[2], dns.address, &[]);
    healthy(&mut members[2], clients[2]);
    assert_eq!(dns.asked.load(Ordering::Relaxed), asked);
}

#[test]
fn what_the_records_lack_ends_the_start_with_the_flag_named() {
    let scratch = Scratch::new();
    let (client, peer) = (quiet_port(), quiet_port());
    let refused = |dns: &Dns, more: &[&str]| {
        let mut process = start(&scratch, 9, client, peer, dns.address, more);
        assert!(!process.wait(LIMIT).success());
        process.output()
    };
    let nothing = Dns::start(Zone::new());
    let said = refused(&nothing, &[]);
    assert!(
        said.contains("--discovery-srv example.test: no records for _etcd-server._tcp"),
        "{said}"
    );
    let others = Dns::start(zone("_etcd-server._tcp", &[peer + 1]));
    let said = refused(&others, &[]);
    assert!(said.contains("no record names this member"), "{said}");
    let named = Dns::start(zone("_etcd-server-blue._tcp", &[peer]));
    let said = refused(&named, &[]);
    assert!(said.contains("no records for"), "{said}");
    let said = refused(&named, &["--initial-cluster", "m9=http://127.0.0.1:1"]);
    assert!(
        said.contains("--discovery-srv: not together with --initial-cluster"),
        "{said}"
    );
    let mut blue = start(
        &scratch,
        9,
        client,
        peer,
        named.address,
        &["--discovery-srv-name", "blue"],
    );
    healthy(&mut blue, client);
}
