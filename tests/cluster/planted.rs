//! The check of histories finds what is planted in a sound one.

use berth_checker::{Answer, Call, Cell};

use crate::history::{Asked, Event, Followed, History, Lease};

fn cell(value: u64, modified: u64) -> Cell {
    Cell { value, modified }
}

fn asked(invoke: u64, back: u64, call: Call, answer: Answer) -> Asked {
    Asked {
        key: "/h/0".to_owned(),
        invoke,
        told: Some((back, answer)),
        call,
    }
}

fn event(index: u64, value: Option<u64>, prev: Option<Cell>) -> Event {
    Event {
        index,
        key: "/h/0".to_owned(),
        action: if value.is_some() { "set" } else { "delete" }.to_owned(),
        value,
        prev,
    }
}

/// Two writes, a read, a write without an answer that happened, a removal without an answer that happened, a lease.
fn sound() -> History {
    let done = |modified, prev| Answer::Done { modified, prev };
    let open = |invoke, call| Asked {
        key: "/h/0".to_owned(),
        invoke,
        told: None,
        call,
    };
    let lease = |index: u64, action: &str, value| Event {
        key: "/h/l/1".to_owned(),
        action: action.to_owned(),
        ..event(index, value, None)
    };
    let events = vec![
        (15, event(4, Some(1), None)),
        (25, event(5, Some(2), Some(cell(1, 4)))),
        (45, event(6, Some(3), Some(cell(2, 5)))),
        (55, event(7, None, Some(cell(3, 6)))),
        (100, lease(8, "set", Some(9))),
        (2_200_000, lease(9, "expire", None)),
    ];
    let followed = Followed {
        events,
        gaps: Vec::new(),
        left: None,
    };
    History {
        asked: vec![
            asked(10, 20, Call::Set(1), done(4, None)),
            asked(21, 30, Call::Set(2), done(5, Some(cell(1, 4)))),
            asked(31, 35, Call::Read, Answer::Found(cell(2, 5))),
            open(40, Call::Set(3)),
            open(50, Call::Delete),
            asked(60, 70, Call::Read, Answer::Missing),
        ],
        leases: vec![Lease {
            key: "/h/l/1".to_owned(),
            sent: 90,
            ttl: 2_000_000,
            held: true,
        }],
        followed: vec![followed.clone(), followed],
    }
}

#[track_caller]
fn found(plant: impl FnOnce(&mut History), words: &str) {
    let mut history = sound();
    plant(&mut history);
    let error = history.check().expect_err("the planted violation was not found");
    assert!(error.contains(words), "{error}");
}

#[test]
fn a_sound_history_passes() {
    let counts = sound().check().unwrap();
    assert_eq!(
        (counts.acknowledged, counts.unknown, counts.reads, counts.events),
        (2, 2, 2, 6)
    );
    assert_eq!((counts.expired, counts.undecided), (1, 0));
    // One member was away for longer than the history of events reaches.
    let mut late = sound();
    late.followed[1].events.drain(1..3);
    late.followed[1].gaps.push((5, 7));
    late.check().unwrap();
    // One member left after the fifth index.
    let mut gone = sound();
    gone.followed[1].events.truncate(2);
    gone.followed[1].left = Some(5);
    assert_eq!(gone.check().unwrap().left, 1);
}

#[test]
fn a_member_that_left_owes_what_came_before() {
    found(
        |history| {
            history.followed[1].events.truncate(1);
            history.followed[1].left = Some(5);
        },
        "never told of event 5",
    );
    // What it told after its farewell has no holes either.
    found(
        |history| {
            history.followed[1].events.remove(2);
            history.followed[1].left = Some(4);
        },
        "never told of event 6",
    );
}

#[test]
fn planted_violations_are_found() {
    found(
        |history| {
            for followed in &mut history.followed {
                followed.events.remove(1);
            }
        },
        "acknowledged write is lost",
    );
    found(
        |history| {
            history.followed[1].events.remove(2);
        },
        "never told of event 6",
    );
    found(
        |history| history.followed[0].events.swap(0, 1),
        "told of 4 after 5",
    );
    found(
        |history| history.followed[1].events[1].1.value = Some(7),
        "another one",
    );
    found(
        |history| {
            history.asked[1].told = Some((
                30,
                Answer::Done {
                    modified: 4,
                    prev: None,
                },
            ))
        },
        "was given twice",
    );
    found(|history| history.asked[1].call = Call::Set(8), "acknowledged was");
    found(
        |history| history.asked[2].told = Some((35, Answer::Found(cell(1, 4)))),
        "fit no register",
    );
    found(
        |history| history.asked[5].told = Some((70, Answer::Found(cell(4, 6)))),
        "fit no register",
    );
    found(
        |history| {
            history.asked.remove(4);
        },
        "nobody asked",
    );
    found(
        |history| history.followed[0].events[5].0 = 1_900_000,
        "expired early",
    );
    found(
        |history| {
            for followed in &mut history.followed {
                followed.events.pop();
            }
        },
        "never expired",
    );
}
