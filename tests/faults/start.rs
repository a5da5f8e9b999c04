//! Starts that must be refused, with a message that names the thing.

use std::net::TcpListener;

use berth_harness::{Scratch, Store, request};

use crate::berth;

fn refused(arguments: &[&str], words: &[&str]) {
    let finished = berth().run(arguments);
    assert_ne!(finished.code, 0, "{arguments:?} was not refused");
    for word in words {
        assert!(
            finished.stderr.contains(word),
            "{word:?} is missing in {}",
            finished.stderr
        );
    }
}

#[test]
fn a_second_store_on_the_same_data_is_refused() {
    let scratch = Scratch::new();
    let _store = Store::start(&berth(), &scratch);
    let data = scratch.join("store").to_string_lossy().into_owned();
    let line = [
        "store",
        "--data-dir",
        &data,
        "--listen-client",
        "127.0.0.1:0",
        "--listen-peer",
        "127.0.0.1:0",
    ];
    refused(&line, &[&data, "in use"]);
}

#[test]
fn a_taken_port_is_named() {
    let scratch = Scratch::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let holder = TcpListener::bind(taken).unwrap();
    let data = scratch.join("store").to_string_lossy().into_owned();
    let address = taken.to_string();
    refused(
        &[
            "store",
            "--data-dir",
            &data,
            "--listen-client",
            &address,
            "--listen-peer",
            "127.0.0.1:0",
        ],
        &[&address],
    );
    drop(holder);
}

#[test]
fn an_unknown_record_version_is_refused() {
    let scratch = Scratch::new();
    let mut store = Store::start(&berth(), &scratch);
    store.stop();
    let member = scratch.join("store").join("member");
    let text = std::fs::read_to_string(&member).unwrap();
    let (first, rest) = text.split_once('\n').unwrap();
    let (name, _) = first.split_once(' ').unwrap();
    std::fs::write(&member, format!("{name} 99\n{rest}")).unwrap();
    let data = scratch.join("store").to_string_lossy().into_owned();
    refused(
        &[
            "store",
            "--data-dir",
            &data,
            "--listen-client",
            "127.0.0.1:0",
            "--listen-peer",
            "127.0.0.1:0",
        ],
        &["99"],
    );
}

#[test]
fn a_bit_flip_in_the_log_is_found_and_never_served() {
    let scratch = Scratch::new();
    let mut store = Store::start(&berth(), &scratch);
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    for number in 0..50 {
        let value = format!("value=marked-{number}");
        request(
            store.address(),
            "PUT",
            &format!("/v2/keys/k{number}"),
            &form,
            value.as_bytes(),
        )
        .unwrap();
    }
    store.kill();
    // The first acknowledged value lies far before the log's end: damage there is not a torn tail.
    let mut damaged = 0;
    let mut folders = vec![scratch.join("store")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
                continue;
            }
            let mut bytes = std::fs::read(entry.path()).unwrap();
            let found = bytes.windows(8).position(|window| window == b"marked-0");
            if let Some(at) = found {
                bytes[at + 7] ^= 1;
                std::fs::write(entry.path(), bytes).unwrap();
                damaged += 1;
            }
        }
    }
    assert!(damaged > 0, "the value is nowhere on the disk");
    let data = scratch.join("store").to_string_lossy().into_owned();
    refused(
        &[
            "store",
            "--data-dir",
            &data,
            "--listen-client",
            "127.0.0.1:0",
            "--listen-peer",
            "127.0.0.1:0",
        ],
        &["log"],
    );
}
