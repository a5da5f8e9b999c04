//! Each refusal, and entries through their bytes.

use super::{MAX_MEMBERS, Outlook, Step, check, decode, encode, leave, membership_change};
use crate::entry::Origin;
use crate::error::ChangeError;
use crate::members::{Change, Member, Roster};

/// Voters 1 to 3, learner 4, and 9, which left.
fn roster() -> Roster {
    let mut roster = Roster::founding(&[1, 2, 3]);
    roster.members.insert(4, Member::bare(4));
    roster.members.get_mut(&2).unwrap().peer_urls = vec!["http://b:1".to_owned()];
    roster.learners.insert(4);
    roster.removed.insert(9);
    roster
}

/// Led by 1, whose log has 1000 entries; the learner has `caught_up` of them.
fn judge(change: &Change, roster: &Roster, up: &[u64], caught_up: u64) -> Result<(), ChangeError> {
    let outlook = Outlook {
        roster,
        matched: &|id| if id == 4 { caught_up } else { 1_000 },
        alive: &|id| up.contains(&id),
        leader: 1,
        promotion_percent: 90,
    };
    check(change, &outlook)
}

fn newcomer(id: u64, url: &str) -> Change {
    Change::AddLearner(Member {
        peer_urls: vec![url.to_owned()],
        ..Member::bare(id)
    })
}

#[test]
fn newcomers() {
    let all = [1, 2, 3, 4];
    assert_eq!(judge(&newcomer(5, "http://e:1"), &roster(), &all, 0), Ok(()));
    for (id, url, error) in [
        (9, "http://e:1", ChangeError::Removed { id: 9 }),
        (4, "http://e:1", ChangeError::Exists { id: 4 }),
        (0, "http://e:1", ChangeError::Exists { id: 0 }),
        (
            5,
            "http://b:1",
            ChangeError::PeerUrlExists {
                url: "http://b:1".to_owned(),
            },
        ),
        (5, &"x".repeat(2_000), ChangeError::TooLarge { id: 5 }),
    ] {
        assert_eq!(judge(&newcomer(id, url), &roster(), &all, 0), Err(error));
    }
    let many: Vec<u64> = (1..=MAX_MEMBERS as u64).collect();
    let full = judge(&newcomer(99, "http://e:1"), &Roster::founding(&many), &all, 0);
    assert_eq!(full, Err(ChangeError::TooMany { limit: MAX_MEMBERS }));
}

#[test]
fn promotions() {
    let promote = |id| Change::Promote { id };
    assert_eq!(judge(&promote(4), &roster(), &[1, 2, 4], 900), Ok(()));
    let late = ChangeError::NotCaughtUp {
        id: 4,
        has: 899,
        needed: 900,
    };
    assert_eq!(judge(&promote(4), &roster(), &[1, 2, 4], 899), Err(late));
    let silent = ChangeError::NotCaughtUp {
        id: 4,
        has: 1_000,
        needed: 900,
    };
    assert_eq!(judge(&promote(4), &roster(), &[1, 2, 3], 1_000), Err(silent));
    let voter = Err(ChangeError::NotALearner { id: 2 });
    assert_eq!(judge(&promote(2), &roster(), &[1, 2, 3], 1_000), voter);
    let unknown = Err(ChangeError::Unknown { id: 7 });
    assert_eq!(judge(&promote(7), &roster(), &[1, 2, 3], 1_000), unknown);
    let removed = Err(ChangeError::Removed { id: 9 });
    assert_eq!(judge(&promote(9), &roster(), &[1, 2, 3], 1_000), removed);
    // Four voters need three.
    let risk = Err(ChangeError::QuorumAtRisk { up: 1, needed: 2 });
    assert_eq!(judge(&promote(4), &roster(), &[1, 4], 1_000), risk);
}

#[test]
fn removals() {
    let remove = |id| Change::Remove { id };
    assert_eq!(judge(&remove(3), &roster(), &[1, 2], 0), Ok(()));
    assert_eq!(judge(&remove(4), &roster(), &[1], 0), Ok(()));
    // Two of the two that would be left are needed, and one of them is down.
    let risk = Err(ChangeError::QuorumAtRisk { up: 1, needed: 2 });
    assert_eq!(judge(&remove(2), &roster(), &[1, 2], 0), risk);
    assert_eq!(
        judge(&remove(7), &roster(), &[1, 2], 0),
        Err(ChangeError::Unknown { id: 7 })
    );
    assert_eq!(
        judge(&remove(9), &roster(), &[1, 2], 0),
        Err(ChangeError::Removed { id: 9 })
    );
    let last = judge(&remove(1), &Roster::founding(&[1]), &[1], 0);
    assert_eq!(last, Err(ChangeError::LastVoter { id: 1 }));
}

#[test]
fn replacements_and_updates() {
    let replace = |old, new| Change::Replace { old, new };
    assert_eq!(judge(&replace(3, 4), &roster(), &[1, 2, 4], 900), Ok(()));
    let no_voter = Err(ChangeError::NotAVoter { id: 4 });
    assert_eq!(judge(&replace(4, 4), &roster(), &[1, 2, 4], 900), no_voter);
    let no_learner = Err(ChangeError::NotALearner { id: 2 });
    assert_eq!(judge(&replace(3, 2), &roster(), &[1, 2, 4], 900), no_learner);
    let late = Err(ChangeError::NotCaughtUp {
        id: 4,
        has: 1,
        needed: 900,
    });
    assert_eq!(judge(&replace(3, 4), &roster(), &[1, 2, 4], 1), late);
    let risk = Err(ChangeError::QuorumAtRisk { up: 1, needed: 2 });
    assert_eq!(judge(&replace(3, 4), &roster(), &[1, 4], 900), risk);
    let moved = |id| {
        Change::Update(Member {
            peer_urls: vec!["http://b:1".to_owned()],
            ..Member::bare(id)
        })
    };
    assert_eq!(judge(&moved(2), &roster(), &[1], 0), Ok(()));
    let taken = Err(ChangeError::PeerUrlExists {
        url: "http://b:1".to_owned(),
    });
    assert_eq!(judge(&moved(3), &roster(), &[1], 0), taken);
    assert_eq!(
        judge(&moved(8), &roster(), &[1], 0),
        Err(ChangeError::Unknown { id: 8 })
    );
}

#[test]
fn entries_say_what_they_do() {
    let origin = Origin {
        incarnation: 3,
        sequence: 7,
    };
    for change in [newcomer(5, "http://e:1"), Change::Replace { old: 1, new: 4 }] {
        let entry = encode(origin, &change, &roster());
        assert_eq!(membership_change(&entry), Some(Some(change.clone())));
        let Ok(Step::Change {
            origin: found,
            before,
            ..
        }) = decode(&entry)
        else {
            panic!("{entry:?} does not decode");
        };
        assert_eq!(found, origin);
        let newcomer = matches!(change, Change::AddLearner(_));
        assert_eq!(before, newcomer.then(|| Box::new(roster())));
        for length in 0..entry.context.len() {
            let mut cut = entry.clone();
            cut.context.truncate(length);
            assert!(decode(&cut).is_err(), "{length}");
        }
    }
    assert_eq!(membership_change(&leave()), Some(None));
    assert_eq!(membership_change(&raft::eraftpb::Entry::default()), None);
}
