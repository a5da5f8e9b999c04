//! Everything comes out as it went in, and nothing that comes in makes trouble.

use proptest::prelude::*;

use super::*;

fn same<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: T) {
    let bytes = encode(&value);
    assert!(bytes.len() <= MAX_MESSAGE, "{} bytes", bytes.len());
    assert_eq!(decode::<T>(&bytes), Some(value));
}

#[test]
fn messages_travel_unchanged() {
    let id = || "\"".repeat(MAX_ID);
    for ask in [
        Ask::Hello { version: VERSION },
        Ask::Start,
        Ask::Signal { id: id(), signal: -1 },
        Ask::Forget { id: id() },
        Ask::Attach {
            id: id(),
            stdin: true,
            stdout: false,
            stderr: true,
            raw: true,
        },
        Ask::Resize {
            id: id(),
            rows: 1,
            columns: u16::MAX,
        },
        Ask::End,
    ] {
        same(Request {
            number: u64::MAX,
            ask,
        });
    }
    let exit = Ended {
        code: 137,
        signal: Some(9),
        oom_killed: true,
        at: u64::MAX,
    };
    let answers = [
        Answer::Done,
        Answer::Version(7),
        Answer::Started {
            pid: i32::MAX,
            at: u64::MAX,
        },
        Answer::Failed(Failure::plan("\u{1}ä".repeat(5000))),
        Answer::Failed(Failure::Malformed {
            step: 3,
            reason: "why".to_owned(),
        }),
        Answer::Failed(Failure::Step { step: 3, errno: 13 }),
        Answer::Failed(Failure::Keeper {
            doing: Doing::Clone,
            errno: 11,
        }),
        Answer::Failed(Failure::Killed),
        Answer::Failed(Failure::NotRunning { id: id() }),
        Answer::NotRunning,
        Answer::NoTerminal,
        Answer::TooManyClients,
    ];
    for answer in answers {
        same(Message::Answer { number: 1, answer });
    }
    same(Message::Known(Known {
        id: id(),
        pid: 1,
        started_at: 2,
        exit: Some(exit),
        inside: Some(id()),
    }));
    same(Message::Exited { id: id(), exit });
    same(Message::Replaced);
}

#[test]
fn what_a_stage_says_is_told_apart() {
    let failed = Said::Failed { step: 7, errno: 13 };
    assert_eq!(decode_said(&encode_fault(7, 13)), Some(failed));
    assert_eq!(decode_said(&encode_entered(-2)), Some(Said::Entered(-2)));
    assert_eq!(decode_said(&READY), Some(Said::Ready));
    assert_eq!(decode_said(&TERMINAL), Some(Said::Terminal));
    assert_eq!(decode_said(&[]), None);
    assert_eq!(decode_said(&[0; 5]), None);
}

proptest! {
    #[test]
    fn garbage_is_refused_quietly(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode::<Request>(&bytes);
        let _ = decode::<Message>(&bytes);
        let _ = decode_said(&bytes);
    }

    #[test]
    fn mangled_messages_are_refused_quietly(at in 0_usize..60, byte in any::<u8>()) {
        let mut bytes = encode(&Request { number: 5, ask: Ask::Signal { id: "abc".to_owned(), signal: 9 } });
        let length = bytes.len();
        bytes[at % length] = byte;
        let _ = decode::<Request>(&bytes);
        let _ = decode::<Request>(&bytes[..at % length]);
    }
}
