//! Bytes that nobody meant: paths against a slow reference, commands and snapshots that were changed on their way.

#![allow(
    clippy::unwrap_used,
    reason = "the lint spares test functions, but not what they call"
)]

#[path = "../../../tests/fuzz/mutate.rs"]
mod mutate;

use berth_store::{
    AuthChange, CHUNK_BYTES, Command, Condition, Key, KeyError, Kind, MAX_COMMAND_BYTES, MAX_DEPTH,
    MAX_KEY_BYTES, MAX_TTL_SECONDS, Permissions, Put, Restorer, Role, SnapshotError, Store, restore,
};
use mutate::{Mutator, Naming, Noise, ROUNDS, corpus, rounds};

const PATH_WORDS: &[&[u8]] = &[
    b"/", b"//", b"/.", b"/..", b"/../", b"/./", b"...", b"..", b".", b"/a/b/c", b"\0", b"\xff", b"a",
];

/// A path's canonical form by rewriting one thing at a time until nothing is left to rewrite.
fn slow_clean(path: &[u8]) -> Vec<u8> {
    let mut text = [b"/", path, b"/"].concat();
    loop {
        let spot = |what: &[u8]| text.windows(what.len()).position(|window| window == what);
        if let Some(at) = spot(b"//") {
            text.remove(at);
        } else if let Some(at) = spot(b"/./") {
            text.drain(at..at + 2);
        } else if let Some(at) = spot(b"/../") {
            let parent = text[..at].iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            text.drain(parent..at + 3);
        } else {
            break;
        }
    }
    if text.len() > 1 {
        text.pop();
    }
    text
}

#[test]
fn keys_are_those_of_a_slow_reference() {
    let mut inputs = Mutator::new("path", Vec::new(), PATH_WORDS, 2 * MAX_KEY_BYTES);
    for round in 0..rounds(ROUNDS) {
        let input = inputs.next();
        let _naming = Naming { round, input: &input };
        let key = Key::parse(&input).unwrap();
        assert_eq!(key.as_bytes(), slow_clean(&input));
        assert_eq!(Key::parse(key.as_bytes()), Ok(key.clone()), "parsing twice");
        if let Some((b'/', names)) = key.as_bytes().split_first()
            && !names.is_empty()
        {
            let parent = Key::parse(&key.as_bytes()[..key.as_bytes().len() - key.name().len()]).unwrap();
            assert!(parent.is_above(&key) && !key.is_above(&parent));
        }
    }
}

#[test]
fn a_key_has_limits() {
    for (bytes, fits) in [
        (MAX_KEY_BYTES - 1, true),
        (MAX_KEY_BYTES, true),
        (MAX_KEY_BYTES + 1, false),
    ] {
        let parsed = Key::parse("a".repeat(bytes));
        assert_eq!(parsed.is_ok(), fits, "{bytes} bytes");
        assert!(fits || parsed == Err(KeyError::TooLong { bytes }));
    }
    for (components, fits) in [(MAX_DEPTH - 1, true), (MAX_DEPTH, true), (MAX_DEPTH + 1, false)] {
        let parsed = Key::parse("/a".repeat(components));
        assert_eq!(parsed.is_ok(), fits, "{components} components");
        assert!(fits || parsed == Err(KeyError::TooDeep { components }));
    }
}

#[test]
fn the_largest_key_takes_a_child_in_order_and_comes_back() {
    let mut store = Store::new();
    let deep = "/a".repeat(MAX_DEPTH);
    let long = format!("/{}", "k".repeat(MAX_KEY_BYTES - 1));
    for path in [deep, long] {
        let command = Command::from(Kind::CreateInOrder(Put::file(Key::parse(&path).unwrap(), *b"v")));
        assert_eq!(Command::decode(&command.encode()), Ok(command.clone()));
        store.apply(&command).unwrap();
    }
    let restored = restore(store.chunks()).unwrap();
    assert_eq!(restored.digest(), store.digest());
}

#[test]
fn a_time_to_live_has_a_limit_and_no_number_overflows() {
    let mut store = Store::new();
    for (ttl, cluster_ms, deadline) in [
        (0, 5, 5),
        (1, 5, 1_005),
        (MAX_TTL_SECONDS - 1, 5, (MAX_TTL_SECONDS - 1) * 1000 + 5),
        (MAX_TTL_SECONDS, 5, MAX_TTL_SECONDS * 1000 + 5),
        (MAX_TTL_SECONDS + 1, 5, MAX_TTL_SECONDS * 1000 + 5),
        (u64::MAX, 5, MAX_TTL_SECONDS * 1000 + 5),
        (u64::MAX, u64::MAX - 1, u64::MAX),
    ] {
        let put = Put::file(Key::parse("/k").unwrap(), *b"v").with_ttl(ttl);
        let kind = Kind::Set(put);
        let applied = store.apply(&Command { cluster_ms, kind }).unwrap();
        let node = &applied.event().unwrap().node;
        assert_eq!(node.deadline, Some(deadline), "ttl {ttl} at {cluster_ms}");
    }
}

/// Commands of every kind.
fn commands() -> Vec<Command> {
    let key = |path: &str| Key::parse(path).unwrap();
    let file = |path: &str, value: &str| Put::file(key(path), value.as_bytes());
    let condition = |value: Option<&str>, prev_index| Condition {
        prev_value: value.map(|value| value.as_bytes().into()),
        prev_index,
    };
    let refresh = Put {
        refresh: true,
        ..file("/d/b", "").with_ttl(300)
    };
    let kinds = vec![
        Kind::Set(file("/a", "1").with_ttl(0)),
        Kind::Set(Put::directory(key("/d")).with_ttl(9)),
        Kind::Create(file("/d/b", "two")),
        Kind::Update(file("/d/b", "three").with_ttl(MAX_TTL_SECONDS)),
        Kind::Update(refresh),
        Kind::CompareAndSwap(file("/d/b", "x"), condition(Some("three"), u64::MAX)),
        Kind::CreateInOrder(file("/queue", "job")),
        Kind::Delete {
            key: key("/d"),
            dir: true,
            recursive: false,
        },
        Kind::CompareAndDelete {
            key: key("/d/b"),
            condition: condition(None, 3),
        },
        Kind::Tick,
        Kind::Bump,
        Kind::Auth(AuthChange::CreateUser {
            name: "root".to_owned(),
            hash: Some("$2b$10$".to_owned()),
            roles: vec!["a".to_owned(), "b".to_owned()],
        }),
        Kind::Auth(AuthChange::CreateRole(Role {
            name: "r".to_owned(),
            permissions: Permissions {
                read: Some(vec!["/a*".to_owned()]),
                write: None,
            },
        })),
        Kind::Auth(AuthChange::Enable),
        Kind::Delete {
            key: Key::root(),
            dir: true,
            recursive: true,
        },
    ];
    let stamps = [0, 1, 127, 128, 5_000, u64::MAX].into_iter().cycle();
    let stamped = kinds.into_iter().zip(stamps);
    stamped
        .map(|(kind, cluster_ms)| Command { cluster_ms, kind })
        .collect()
}

#[test]
fn kept_commands_still_decode() {
    for (name, bytes) in corpus("command") {
        let decoded = Command::decode(&bytes);
        if name.starts_with("bad") {
            assert!(decoded.is_err(), "{name}: {decoded:?}");
        } else {
            assert_eq!(decoded.unwrap().encode(), bytes, "{name}");
        }
    }
}

#[test]
fn changed_commands_are_refused_or_mean_what_they_say() {
    let seeds = commands().iter().map(Command::encode).collect();
    let words: &[&[u8]] = &[
        b"/",
        b"/a",
        b"/../",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x80\x80\x00",
    ];
    let mut inputs = Mutator::new("command", seeds, words, 1 << 10);
    let mut store = Store::new();
    let mut decoded = 0_u64;
    for round in 0..rounds(ROUNDS) {
        let input = inputs.next();
        let _naming = Naming { round, input: &input };
        let Ok(command) = Command::decode(&input) else {
            continue;
        };
        decoded += 1;
        assert_eq!(Command::decode(&command.encode()), Ok(command.clone()));
        let (index, cluster_ms) = (store.index(), store.cluster_ms());
        let applied = store.apply(&command).is_ok();
        assert!(store.cluster_ms() >= cluster_ms && store.index() >= index);
        let quiet = matches!(command.kind, Kind::Tick | Kind::Auth(_));
        assert!(quiet || store.index() == index + u64::from(applied));
        if round % 5_000 == 0 {
            assert_eq!(restore(store.chunks()).unwrap().digest(), store.digest());
            store = Store::new();
        }
    }
    assert!(decoded > rounds(ROUNDS) / 20, "only {decoded} decoded");
    let long = vec![1; MAX_COMMAND_BYTES + 1];
    assert!(Command::decode(&long).is_err());
}

/// A small state with all that an image can hold.
fn small_state() -> Store {
    let mut store = Store::new();
    for command in commands().iter().take(14) {
        // Some are refused, as is meant: they leave their mark in the counters.
        let _ = store.apply(&Command {
            cluster_ms: 10,
            kind: command.kind.clone(),
        });
    }
    store
}

fn joined(store: &Store) -> Vec<u8> {
    store.chunks().flat_map(|(_, chunk)| chunk).collect()
}

/// The state of an image's bytes, handed over in chunks of a length.
fn read_image(bytes: &[u8], chunk: usize) -> Result<Store, SnapshotError> {
    let mut restorer = Restorer::new();
    for (number, part) in bytes.chunks(chunk).enumerate() {
        restorer.push(&(number as u64).to_be_bytes(), part)?;
    }
    restorer.finish()
}

#[test]
fn kept_images_still_read() {
    for (name, bytes) in corpus("snapshot") {
        let read = read_image(&bytes, CHUNK_BYTES);
        assert_eq!(read.is_err(), name.starts_with("bad"), "{name}");
        if let Ok(store) = read {
            assert_eq!(joined(&store), bytes, "{name}");
        }
    }
}

#[test]
fn no_changed_image_is_taken_for_a_state() {
    let originals: Vec<Vec<u8>> = [Store::new(), small_state()].iter().map(joined).collect();
    let kept = corpus("snapshot").into_iter().map(|(_, bytes)| bytes);
    let known: Vec<Vec<u8>> = originals.iter().cloned().chain(kept).collect();
    let mut inputs = Mutator::new("snapshot", originals, &[b"\x05", b"\x02\x02/a"], 2 * CHUNK_BYTES);
    let mut noise = Noise::new("chunks");
    let mut same = 0;
    for round in 0..rounds(ROUNDS) {
        let input = inputs.next();
        let _naming = Naming { round, input: &input };
        let chunk = 1 + noise.below(CHUNK_BYTES);
        if let Ok(store) = read_image(&input, chunk) {
            assert!(known.contains(&input), "an image that nobody wrote was taken");
            assert_eq!(joined(&store), input);
            same += 1;
        }
    }
    assert!(same < rounds(ROUNDS) / 2, "hardly anything was changed: {same}");
}

#[test]
fn chunks_out_of_place_are_refused() {
    let mut store = small_state();
    let value = vec![b'x'; 5 * CHUNK_BYTES];
    store
        .apply(&Kind::Set(Put::file(Key::parse("/large").unwrap(), value)).into())
        .unwrap();
    let chunks: Vec<_> = store.chunks().collect();
    let mut noise = Noise::new("out of place");
    for _ in 0..500 {
        let mut moved = chunks.clone();
        let (from, to) = (noise.below(moved.len()), noise.below(moved.len()));
        match noise.below(3) {
            0 if from != to => moved.swap(from, to),
            1 => drop(moved.remove(from)),
            _ => moved.insert(to, moved[from].clone()),
        }
        assert!(restore(moved).is_err());
    }
    assert!(restore(chunks).is_ok());
}
