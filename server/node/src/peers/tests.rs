//! What is known about members, who is let in, and what a queue drops.

use super::frame::{About, Hello, Reason, Stream};
use super::{Cluster, Patience, Peers};
use crate::clock::Clock;
use crate::disk::{Disk, Forming, Identity};
use berth_replica::{Entry, Member, Message, MessageType, Roster};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use tempfile::TempDir;

fn member(id: u64, name: &str, clients: &[&str]) -> Member {
    Member {
        id,
        name: name.to_owned(),
        // Nothing listens there.
        peer_urls: vec![format!("http://127.0.0.1:{id}")],
        client_urls: clients.iter().map(|url| (*url).to_owned()).collect(),
    }
}

fn cluster(dir: &TempDir) -> Arc<Cluster> {
    let forming = Forming {
        identity: Some(Identity {
            member: 1,
            cluster: 7,
        }),
        founders: vec![member(1, "a", &[]), member(2, "b", &[]), member(3, "c", &[])],
        ..Forming::default()
    };
    let opened = Disk::open(dir.path(), &forming).expect("a data directory");
    let (wake, _) = sync_channel(1);
    let own = member(0, "a", &["http://c1"]);
    let patience = Patience {
        wish: Duration::ZERO,
        election_ms: 0,
    };
    let cluster = Cluster::new(
        opened.founding,
        own,
        opened.acquaintances,
        wake,
        Clock::new(),
        patience,
    );
    cluster.roster.store(Arc::new(Roster::founding(&[1, 2, 3])));
    Arc::new(cluster)
}

fn hello(change: impl FnOnce(&mut Hello)) -> Hello {
    let mut hello = Hello {
        protocol: Hello::protocol(),
        versions: (1, 9),
        cluster: 7,
        from: 2,
        to: 1,
        birth: 5,
        stream: Stream::Control,
        about: About::of(&member(2, "b", &["http://c2"])),
    };
    change(&mut hello);
    hello
}

#[test]
fn calls_are_judged_and_a_member_without_its_data_is_not_let_in_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let cluster = cluster(&dir);
    let judge = |change: fn(&mut Hello)| cluster.judge(hello(change));
    assert_eq!(judge(|hello| hello.cluster = 8), Err(Reason::Cluster));
    assert_eq!(judge(|hello| hello.to = 3), Err(Reason::Address));
    assert_eq!(judge(|hello| hello.from = 1), Err(Reason::Address));
    assert_eq!(judge(|hello| hello.versions = (2, 9)), Err(Reason::Version));
    assert_eq!(judge(|hello| hello.protocol.clear()), Err(Reason::Version));
    assert_eq!(judge(|_| ()), Ok(1));
    assert_eq!(judge(|hello| hello.birth = 6), Err(Reason::OtherData));
    assert_eq!(judge(|_| ()), Ok(1));
    drop(cluster);
    // That is known after a restart too, and the founders are.
    let opened = Disk::open(dir.path(), &Forming::default()).expect("a data directory");
    assert_eq!(opened.acquaintances.meet(2, 6).ok(), Some(false));
    assert_eq!(opened.founding.identity.member, 1);
    assert_eq!(opened.founding.founders[2].name, "c");
}

#[test]
fn what_members_say_about_themselves_is_to_be_published() {
    let dir = tempfile::tempdir().expect("a directory");
    let cluster = cluster(&dir);
    let names = |cluster: &Cluster| {
        let members = cluster.members().into_iter();
        members
            .map(|member| (member.name, member.client_urls.len()))
            .collect::<Vec<_>>()
    };
    let known = |name: &str, urls| (name.to_owned(), urls);
    assert_eq!(names(&cluster), [known("a", 1), known("b", 0), known("c", 0)]);
    cluster.judge(hello(|_| ())).expect("let in");
    let mut roster = Roster::founding(&[1, 2, 3]);
    for id in [1, 2] {
        let next = cluster.unpublished().expect("not published");
        assert_eq!(next.id, id);
        roster.members.insert(id, next);
        cluster.roster.store(Arc::new(roster.clone()));
    }
    assert_eq!(cluster.unpublished(), None);
    assert_eq!(names(&cluster), [known("a", 1), known("b", 1), known("c", 0)]);
}

#[test]
fn what_cannot_be_sent_is_dropped_and_told_once_a_tick() {
    let dir = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut peers = Peers::new(cluster(&dir), runtime.handle().clone());
    peers.follow(&Roster::founding(&[1, 2, 3]));
    let append = || {
        let mut message = Message {
            from: 1,
            to: 2,
            entries: vec![Entry::default()],
            ..Message::default()
        };
        message.set_msg_type(MessageType::MsgAppend);
        message
    };
    peers.take_unreachable();
    for _ in 0..10_000 {
        peers.send(append());
    }
    assert!(peers.take_unreachable().contains(&2));
    assert!(!peers.reaches(2));
    let link = peers.cluster().links()[&2].clone();
    assert!(link.figures().failed >= 10_000);
    assert_eq!(link.waiting.load(std::sync::atomic::Ordering::Relaxed), 0);
}
