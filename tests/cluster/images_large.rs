//! A large image for a member that was away: the others go on without an election, and take writes all the time.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use berth_harness::{Cluster, Response, Scratch, request_within, until};

use crate::nemesis::wished;
use crate::workload::under_load;
use crate::{berth, turn};

/// Bytes of a value: most of what one request may have.
const VALUE: usize = 400 << 10;
const WRITERS: usize = 4;
/// Behind an image 2 500 entries of the log are kept while those who are there are up to date: so many images later, of 1 000 entries each, it does not reach
/// back to the state. Writes that change nothing bring it there.
const IMAGES: usize = 4;
/// How long a look at a member may take.
const LOOK: Duration = Duration::from_secs(10);
/// How long the image and all around it may take.
const INSTALLED: Duration = Duration::from_secs(180);

fn put(cluster: &Cluster, at: usize, target: &str, body: &str) -> Response {
    let answer = cluster.ask(at, "PUT", target, body).unwrap();
    assert!(answer.status < 500, "{}", answer.text());
    answer
}

/// How many images a member has saved.
fn saved(cluster: &Cluster, at: usize) -> usize {
    let page = cluster.ask(at, "GET", "/metrics", "").unwrap().text();
    let count = page
        .lines()
        .find_map(|line| line.strip_prefix("berth_images_total "));
    count.unwrap().parse().unwrap()
}

/// A state of so many bytes, and a log that no longer reaches back behind it.
fn fill(cluster: &Cluster, at: usize, bytes: usize) {
    let body = format!("value={}", "x".repeat(VALUE));
    let body = body.as_str();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || {
                for number in (writer..bytes.div_ceil(VALUE)).step_by(WRITERS) {
                    let key = format!("/v2/keys/large/{number}");
                    assert_eq!(put(cluster, at, &key, body).status, 201);
                }
            });
        }
    });
    let wanted = saved(cluster, at) + IMAGES;
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| {
                until("images", INSTALLED, || {
                    for _ in 0..100 {
                        put(cluster, at, "/v2/keys/large/0?prevIndex=1", "value=x");
                    }
                    (saved(cluster, at) >= wanted).then_some(())
                });
            });
        }
    });
}

/// Whom a member follows, in which term.
fn reign(client: SocketAddr) -> Option<(String, String)> {
    let stats = request_within(client, "GET", "/v2/stats/self", &[], b"", LOOK).ok()?;
    let leader = stats.json()["leaderInfo"]["leader"].as_str()?.to_owned();
    let answer = request_within(client, "GET", "/v2/keys/mark?quorum=true", &[], b"", LOOK).ok()?;
    Some((leader, answer.header("x-raft-term")?.to_owned()))
}

/// Ends the looks also when the test panics.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Looks at some members again and again; what they said that is not `expected`, and how often it was.
fn look_on(
    clients: &[SocketAddr],
    expected: &(String, String),
    stop: &AtomicBool,
) -> (usize, Vec<(String, String)>) {
    let (mut as_expected, mut others) = (0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        for told in clients.iter().filter_map(|client| reign(*client)) {
            if told == *expected {
                as_expected += 1;
            } else {
                others.push(told);
            }
        }
    }
    (as_expected, others)
}

#[test]
fn a_large_image_is_installed_without_an_election_and_under_writes() {
    let megabytes = wished("BERTH_IMAGE_MEGABYTES", 40);
    let bytes = usize::try_from(megabytes << 20).unwrap();
    let _turn = turn();
    let scratch = Scratch::new();
    let flags = ["--snapshot-count", "1000", "--election-timeout", "2000"];
    let mut cluster = Cluster::start(&berth(), &scratch, 3, &flags);
    cluster.wait_all();
    let leader = cluster.leader();
    let (late, other) = ((leader + 1) % 3, (leader + 2) % 3);
    cluster.stop(late);
    let begun = Instant::now();
    put(&cluster, leader, "/v2/keys/mark", "value=1");
    fill(&cluster, leader, bytes);
    println!("{megabytes} MiB written in {:?}", begun.elapsed());
    let expected = until("a leader that both know", LOOK * 3, || {
        let told = reign(cluster.client(leader))?;
        (Some(&told) == reign(cluster.client(other)).as_ref()).then_some(told)
    });
    let clients = [cluster.client(leader), cluster.client(other)];
    let stop = AtomicBool::new(false);
    let mut moments = Vec::new();
    let (report, (looks, others)) = std::thread::scope(|scope| {
        let looking = scope.spawn(|| look_on(&clients, &expected, &stop));
        let _stop = Stop(&stop);
        let report = under_load(&clients, || {
            moments.push(Instant::now());
            cluster.restart(late);
            until("an installed image", INSTALLED, || {
                cluster.log(late).contains("image received").then_some(())
            });
            moments.push(Instant::now());
            until("a member that has caught up", INSTALLED, || {
                let answer = cluster.ask(late, "GET", "/v2/keys/w?quorum=true", "").ok()?;
                (answer.status == 200).then_some(())
            });
            moments.push(Instant::now());
        });
        stop.store(true, Ordering::Relaxed);
        (report, looking.join().unwrap())
    });
    println!(
        "images that did not arrive: {}",
        cluster.log(leader).matches("image not sent").count()
    );
    println!(
        "image received after {:?}, caught up after {:?}; {} writes meanwhile, none for at most {:?}; {looks} looks",
        moments[1] - moments[0],
        moments[2] - moments[0],
        report.acknowledged.len(),
        report.gaps(&moments[..1])[0],
    );
    assert_eq!(others, [], "the leader or the term changed from {expected:?}");
    assert!(looks > 2, "hardly anybody was asked");
    report.check(&cluster);
    let listed = cluster.ask(late, "GET", "/v2/keys/large", "").unwrap().json();
    let nodes = listed["node"]["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), bytes.div_ceil(VALUE));
    assert!(
        nodes
            .iter()
            .all(|node| node["value"].as_str().unwrap().len() == VALUE)
    );
}
