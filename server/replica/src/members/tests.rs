//! Rosters through their bytes, and what is not a roster.

use super::{Change, Member, Roster};

fn rich() -> Roster {
    let mut roster = Roster::founding(&[1, 2, 3]);
    let newcomer = Member {
        id: 4,
        name: "infra4".to_owned(),
        peer_urls: vec!["http://10.0.0.4:2380".to_owned()],
        client_urls: vec!["http://10.0.0.4:2379".to_owned(), String::new()],
    };
    roster.members.insert(4, newcomer);
    roster.learners.insert(4);
    roster.removed.insert(9);
    roster
}

#[test]
fn rosters_and_changes_survive_their_bytes() {
    let roster = rich();
    assert_eq!(Roster::decode(&roster.encode()).unwrap(), roster);
    assert_eq!(
        Roster::decode(&Roster::default().encode()).unwrap(),
        Roster::default()
    );
    let member = roster.members[&4].clone();
    for change in [
        Change::AddLearner(member.clone()),
        Change::Promote { id: 4 },
        Change::Remove { id: u64::MAX },
        Change::Replace { old: 1, new: 4 },
        Change::Update(member),
    ] {
        assert_eq!(Change::decode(&change.encode()), Some(change));
    }
}

#[test]
fn damaged_bytes_are_refused() {
    let bytes = rich().encode();
    assert!((0..bytes.len()).all(|length| Roster::decode(&bytes[..length]).is_err()));
    assert!(Roster::decode(&[bytes.as_slice(), &[0]].concat()).is_err());
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] = 0xff;
        // Some of them are other sound rosters; none may end the process.
        drop(Roster::decode(&damaged));
    }
}

#[test]
fn rosters_that_raft_would_not_survive_are_refused() {
    let unsound = |spoil: fn(&mut Roster)| {
        let mut roster = rich();
        spoil(&mut roster);
        Roster::decode(&roster.encode()).is_err()
    };
    assert!(unsound(|roster| {
        roster.learners.insert(1);
    }));
    assert!(unsound(|roster| {
        roster.learners_next.insert(1);
    }));
    assert!(unsound(|roster| roster.auto_leave = true));
    assert!(unsound(|roster| {
        roster.voters.insert(7);
    }));
    assert!(unsound(|roster| {
        roster.removed.insert(1);
    }));
    assert!(unsound(|roster| roster.voters.clear()));
    assert!(unsound(|roster| {
        roster.members.insert(0, Member::bare(0));
    }));
}

#[test]
fn quorums_count_in_both_sets() {
    let mut roster = Roster::founding(&[1, 2, 3]);
    assert!(roster.is_quorum(|id| id < 3));
    assert!(!roster.is_quorum(|id| id < 2));
    roster.outgoing = [3, 4, 5].into();
    assert!(!roster.is_quorum(|id| id < 4));
    assert!(roster.is_quorum(|id| id != 1 && id != 5));
}
