//! A watcher that follows one member over its restarts, and notes what it was told and when.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use berth_harness::{Stream, request_within};
use serde_json::Value;

use crate::history::{Event, Followed};
use crate::recorder::{END, PACE, PATIENCE, Recording, cell};

fn event(told: &Value) -> Event {
    let node = &told["node"];
    Event {
        index: node["modifiedIndex"].as_u64().unwrap(),
        key: node["key"].as_str().unwrap().to_owned(),
        action: told["action"].as_str().unwrap().to_owned(),
        value: node["value"].as_str().map(|value| value.parse().unwrap()),
        prev: cell(&told["prevNode"]),
    }
}

/// Follows one member over its restarts until the end's event came, the member left, or the test is given up.
pub(crate) fn follow(
    address: SocketAddr,
    recording: &Recording,
    told_up_to: &AtomicU64,
    left: &Mutex<Option<u64>>,
) -> Followed {
    let mut followed = Followed::default();
    let mut next = told_up_to.load(Ordering::Relaxed);
    while !recording.given_up.load(Ordering::Relaxed) {
        // Told when its process has ended, so that the last answer was read to its end by then.
        followed.left = *left.lock().unwrap();
        if followed.left.is_some() {
            break;
        }
        told_up_to.store(next, Ordering::Relaxed);
        let target = format!("/v2/keys/h?recursive=true&wait=true&stream=true&waitIndex={next}");
        let Ok(mut stream) = Stream::try_open(address, &target, PATIENCE) else {
            std::thread::park_timeout(PACE);
            continue;
        };
        if stream.head.status != 200 {
            let target = format!("/v2/keys/h?recursive=true&wait=true&waitIndex={next}");
            let answer = request_within(address, "GET", &target, &[], b"", PATIENCE);
            if let Some(now) = answer
                .ok()
                .filter(|answer| answer.status == 400)
                .and_then(|answer| {
                    let cleared = answer.json();
                    (cleared["errorCode"] == 401).then(|| cleared["index"].as_u64())?
                })
            {
                followed.gaps.push((next, now + 1));
                next = now + 1;
            }
            continue;
        }
        let mut rest = String::new();
        while let Some(chunk) = stream.chunk() {
            rest.push_str(&chunk);
            while let Some((line, others)) = rest.split_once('\n') {
                let told = event(&serde_json::from_str(line).unwrap());
                rest = others.to_owned();
                next = told.index + 1;
                told_up_to.store(next, Ordering::Relaxed);
                if told.key == END {
                    return followed;
                }
                followed.events.push((recording.clock.now(), told));
            }
        }
    }
    followed
}
