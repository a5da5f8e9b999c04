//! Changes of the membership asked of a replica: what it answers, when, and how often.

use berth_replica::{
    Change, ChangeError, Effect, Input, Limits, Member, Persist, Recovered, Replica, ReplicaConfig,
    ReplyError, RequestId, Role, Roster, SnapshotMark,
};
use berth_store::{Key, Kind, Put, Store};

fn replica(id: u64, voters: &[u64], recovered: Recovered) -> Replica {
    let config = ReplicaConfig {
        id,
        voters: voters.to_vec(),
        incarnation: 7,
        seed: 1,
        limits: Limits::default(),
    };
    Replica::new(config, recovered).expect("a sound start")
}

/// Steps an input; what is to be written counts as written at once. Gives all other effects, and the writes.
fn step(replica: &mut Replica, input: Input) -> (Vec<Effect>, Vec<Persist>) {
    let (mut effects, mut writes, mut inputs) = (Vec::new(), Vec::new(), vec![input]);
    while let Some(input) = inputs.pop() {
        for effect in replica.step(input, 0) {
            if let Effect::Persist(persist) = effect {
                inputs.push(Input::Persisted {
                    number: persist.number,
                });
                writes.push(persist);
            } else {
                effects.push(effect);
            }
        }
    }
    (effects, writes)
}

fn change(id: u64, change: Change) -> Input {
    Input::ChangeMembers {
        id: RequestId(id),
        change,
    }
}

fn answers(effects: &[Effect]) -> Vec<(u64, Result<(), ChangeError>)> {
    let answer = |effect: &Effect| {
        if let Effect::ChangeReply(reply) = effect {
            return Some((reply.id.0, reply.outcome.clone()));
        }
        None
    };
    effects.iter().filter_map(answer).collect()
}

/// The only member of a cluster, which leads.
fn alone() -> Replica {
    let mut replica = replica(1, &[1], Recovered::default());
    step(&mut replica, Input::Tick);
    assert_eq!(replica.status().role, Role::Leader);
    replica
}

#[test]
fn a_change_is_answered_once_and_only_when_it_is_applied() {
    let mut leader = alone();
    let early = leader.step(change(1, Change::AddLearner(Member::bare(2))), 0);
    assert!(answers(&early).is_empty() && leader.waiting() == 1);
    let second = leader.step(change(2, Change::AddLearner(Member::bare(3))), 0);
    assert_eq!(answers(&second), [(2, Err(ChangeError::InProgress))]);
    let mut told = Vec::new();
    for effect in early {
        if let Effect::Persist(persist) = effect {
            let number = persist.number;
            told.extend(step(&mut leader, Input::Persisted { number }).0);
        }
    }
    assert_eq!(answers(&told), [(1, Ok(()))]);
    assert!(told.iter().any(|effect| matches!(effect, Effect::RosterChanged)));
    assert_eq!(leader.waiting(), 0);
    assert!(leader.roster().learners.contains(&2) && !leader.roster().votes(2));
    let late = step(&mut leader, change(3, Change::Promote { id: 2 })).0;
    let [(3, Err(ChangeError::NotCaughtUp { id: 2, has: 0, .. }))] = answers(&late)[..] else {
        panic!("{late:?}");
    };
    assert_eq!(
        answers(&step(&mut leader, change(4, Change::Remove { id: 2 })).0),
        [(4, Ok(()))]
    );
    let again = step(&mut leader, change(5, Change::AddLearner(Member::bare(2)))).0;
    assert_eq!(answers(&again), [(5, Err(ChangeError::Removed { id: 2 }))]);
    let last = step(&mut leader, change(6, Change::Remove { id: 1 })).0;
    assert_eq!(answers(&last), [(6, Err(ChangeError::LastVoter { id: 1 }))]);
}

#[test]
fn the_commit_of_a_change_is_durable_at_once() {
    let mut leader = alone();
    let (_, writes) = step(&mut leader, change(1, Change::AddLearner(Member::bare(2))));
    let commit = leader.status().commit;
    let durable = writes.iter().filter(|write| write.must_sync);
    let commits = durable.filter_map(|write| write.hard_state.as_ref());
    assert!(commits.into_iter().any(|state| state.commit == commit));
}

#[test]
fn only_the_leader_changes_the_membership() {
    let mut follower = replica(2, &[1, 2, 3], Recovered::default());
    let refused = step(&mut follower, change(1, Change::Remove { id: 3 })).0;
    assert_eq!(
        answers(&refused),
        [(1, Err(ChangeError::NotLeader { leader: 0 }))]
    );
}

#[test]
fn a_restart_proves_the_commit_of_all_changes_but_the_last() {
    let mut leader = alone();
    let (_, first) = step(&mut leader, change(1, Change::AddLearner(Member::bare(2))));
    let (_, second) = step(&mut leader, change(2, Change::AddLearner(Member::bare(3))));
    let mut entries = vec![berth_replica::Entry {
        index: 1,
        term: 1,
        ..Default::default()
    }];
    entries.extend(
        [first, second]
            .into_iter()
            .flatten()
            .flat_map(|write| write.entries),
    );
    // A voter of two, so that it does not lead by itself and commit all of them.
    let recovered = Recovered {
        entries,
        ..Recovered::default()
    };
    let mut restarted = replica(1, &[1, 9], recovered);
    restarted.flush(0);
    assert!(restarted.roster().learners.contains(&2));
    assert!(!restarted.roster().learners.contains(&3));
}

#[test]
fn the_membership_comes_back_with_the_image_and_old_images_have_their_voters() {
    let mut roster = Roster::founding(&[1, 2]);
    roster.removed.insert(3);
    let start = |roster: Roster| {
        let mark = SnapshotMark {
            index: 5,
            term: 2,
            voters: vec![1, 2],
            roster,
        };
        let recovered = Recovered {
            snapshot: Some((mark, Store::new())),
            ..Recovered::default()
        };
        replica(1, &[1, 2, 3], recovered).roster().clone()
    };
    assert_eq!(start(roster.clone()), roster);
    assert_eq!(start(Roster::default()), Roster::founding(&[1, 2]));
}

#[test]
fn a_removed_member_answers_everybody_and_ends() {
    let mut follower = replica(2, &[1, 2, 3], Recovered::default());
    let put = Put::file(Key::parse("/a").expect("a key"), b"x".to_vec());
    let id = RequestId(1);
    // In one batch with the news, so that nobody has refused it yet.
    follower.queue(
        Input::Propose {
            id,
            command: Kind::Set(put).into(),
        },
        0,
    );
    follower.queue(Input::QuorumRead { id: RequestId(2) }, 0);
    follower.queue(Input::ToldRemoved { by: 1 }, 0);
    let effects = follower.flush(0);
    let written = effects.iter().any(
        |effect| matches!(effect, Effect::Reply(reply) if reply.id == id && matches!(reply.outcome, Err(ReplyError::TimedOut))),
    );
    let read = effects
        .iter()
        .any(|effect| matches!(effect, Effect::ReadFailed { id: RequestId(2), .. }));
    assert!(written && read, "{effects:?}");
    assert!(matches!(effects.last(), Some(Effect::Removed)));
    assert!(follower.step(Input::Tick, 0).is_empty());
}
