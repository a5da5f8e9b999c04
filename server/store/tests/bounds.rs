//! What the tables cannot show: bounds, large states, jumps by a snapshot.

#![allow(
    clippy::unwrap_used,
    reason = "the lint spares test functions, but not what they call"
)]

use berth_store::{
    CHUNK_BYTES, CodecError, Command, EXPIRIES_PER_TICK, Event, HISTORY_EVENTS, Key, Kind, MAX_COMMAND_BYTES,
    Put, Registered, Restorer, SnapshotError, Store, WatchId, Watches, restore,
};
use std::sync::Arc;

fn key(text: &str) -> Key {
    Key::parse(text).unwrap()
}

fn set(store: &mut Store, path: &str, value: &[u8]) -> Arc<Event> {
    let applied = store
        .apply(&Kind::Set(Put::file(key(path), value)).into())
        .unwrap();
    Arc::clone(applied.event().unwrap())
}

#[test]
fn one_tick_expires_a_bounded_number_of_nodes() {
    let mut store = Store::new();
    for number in 0..=EXPIRIES_PER_TICK {
        let put = Put::file(key(&format!("/k{number}")), &b""[..]).with_ttl(1);
        store.apply(&Kind::Set(put).into()).unwrap();
    }
    let first = store.apply(&Command::tick(1000)).unwrap();
    assert_eq!((first.events.len(), first.more_due), (EXPIRIES_PER_TICK, true));
    assert_eq!(store.next_deadline(), Some(1000));
    let second = store.apply(&Command::tick(1000)).unwrap();
    assert_eq!((second.events.len(), second.more_due), (1, false));
    assert_eq!(store.next_deadline(), None);
    assert_eq!(store.stats().expired, EXPIRIES_PER_TICK as u64 + 1);
    assert!(store.view().is_empty());
}

#[test]
fn a_large_state_travels_in_small_chunks() {
    let mut store = Store::new();
    store.apply(&Command::bump()).unwrap();
    for number in 0..3000 {
        set(
            &mut store,
            &format!("/d{}/{number}", number % 7),
            format!("value {number}").as_bytes(),
        );
    }
    set(&mut store, "/large", &vec![7; 1 << 20]);
    let chunks: Vec<_> = store.chunks().collect();
    assert!(chunks.iter().all(|(_, chunk)| chunk.len() <= CHUNK_BYTES));
    assert!(
        chunks
            .iter()
            .rev()
            .skip(1)
            .all(|(_, chunk)| chunk.len() == CHUNK_BYTES)
    );
    let restored = restore(chunks).unwrap();
    assert_eq!(restored.digest(), store.digest());
    let all = |store: &Store| store.view().get(&Key::root(), true).unwrap();
    assert_eq!(all(&restored), all(&store));
}

#[test]
fn chunks_must_be_whole_and_in_order() {
    let mut store = Store::new();
    for number in 0..1000 {
        set(&mut store, &format!("/{number}"), b"some value");
    }
    let chunks: Vec<_> = store.chunks().collect();
    assert!(chunks.len() > 3);
    let mut swapped = chunks.clone();
    swapped.swap(1, 2);
    assert_eq!(
        restore(swapped).unwrap_err(),
        SnapshotError::Sequence { expected: 1 }
    );
    let mut doubled = chunks.clone();
    doubled.insert(1, chunks[0].clone());
    assert_eq!(
        restore(doubled).unwrap_err(),
        SnapshotError::Sequence { expected: 1 }
    );
    for length in 0..chunks.len() {
        assert_eq!(
            restore(chunks[..length].to_vec()).unwrap_err(),
            SnapshotError::Incomplete
        );
    }
    let number = (chunks.len() as u64).to_be_bytes();
    let mut longer = chunks;
    longer.push((number, vec![1, 5]));
    assert_eq!(restore(longer).unwrap_err(), SnapshotError::Order { tag: 5 });
}

#[test]
fn unknown_versions_are_refused() {
    let (number, mut chunk) = Store::new().chunks().next().unwrap();
    // The length of the header and its tag come first.
    assert_eq!(chunk[2], 1);
    chunk[2] = 3;
    let error = Restorer::new().push(&number, &chunk).unwrap_err();
    assert_eq!(error, SnapshotError::Record(CodecError::Version { version: 3 }));
    let mut command = Command::bump().encode();
    command[0] = 2;
    assert_eq!(Command::decode(&command), Err(CodecError::Version { version: 2 }));
    let bytes = MAX_COMMAND_BYTES + 1;
    let error = CodecError::TooLarge {
        bytes,
        limit: MAX_COMMAND_BYTES,
    };
    assert_eq!(Command::decode(&vec![1; bytes]), Err(error));
}

#[test]
fn watches_catch_up_when_the_state_jumps() {
    let mut store = Store::new();
    let mut watches = Watches::new();
    let open = |watches: &mut Watches, id, path, stream, since, store: &Store| {
        watches.register(WatchId(id), key(path), false, stream, since, store)
    };
    assert_eq!(
        open(&mut watches, 1, "/a", false, None, &store),
        Registered::Waiting
    );
    assert_eq!(
        open(&mut watches, 2, "/a", true, None, &store),
        Registered::Waiting
    );
    assert_eq!(
        open(&mut watches, 3, "/b", true, None, &store),
        Registered::Waiting
    );
    assert_eq!(
        open(&mut watches, 4, "/a", true, Some(3), &store),
        Registered::Waiting
    );
    let seen = store.index();
    let [one, two] = [&b"1"[..], b"2"].map(|value| set(&mut store, "/a", value));
    let outcomes = watches.catch_up(seen, &store);
    let (first, both) = (vec![Arc::clone(&one)], vec![one, two]);
    assert_eq!(
        outcomes,
        [
            (WatchId(1), Registered::Now(first)),
            (WatchId(2), Registered::Now(both))
        ]
    );
    assert_eq!(watches.len(), 3);
    assert_eq!(watches.catch_up(store.index(), &store), []);
    let three = set(&mut store, "/a", b"3");
    let outcomes = watches.catch_up(2, &store);
    assert_eq!(outcomes.len(), 2);
    assert_eq!(outcomes[1], (WatchId(4), Registered::Now(vec![three])));

    let seen = store.index();
    for _ in 0..=HISTORY_EVENTS {
        set(&mut store, "/c", b"");
    }
    let outcomes = watches.catch_up(seen, &store);
    let cleared = Registered::Cleared { oldest: 5, asked: 4 };
    assert_eq!(outcomes, [2, 3, 4].map(|id| (WatchId(id), cleared.clone())));
    assert!(watches.is_empty());
}

#[test]
fn values_and_names_may_be_any_bytes() {
    let mut store = Store::new();
    let name = Key::parse(&b"/\xff\x00 /\xc3("[..]).unwrap();
    let put = Put::file(name.clone(), &b"\x00\xff"[..]);
    let command = Command::from(Kind::Set(put));
    store.apply(&Command::decode(&command.encode()).unwrap()).unwrap();
    let restored = restore(store.chunks()).unwrap();
    assert_eq!(
        restored.view().get(&name, false).unwrap().value.as_deref(),
        Some(&b"\x00\xff"[..])
    );
}
