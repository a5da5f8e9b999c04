//! An image that is being written, and what Raft must not do meanwhile.

use super::Consensus;
use crate::config::{Limits, Recovered, ReplicaConfig};
use crate::log::Log;
use berth_store::Store;
use raft::StateRole;
use raft::eraftpb::{ConfState, Message, MessageType, Snapshot, SnapshotMetadata};

/// Member 2 of three, with a leader's image at entry 9 given out to be written; the number of that write.
fn installing() -> (Consensus, u64) {
    let config = ReplicaConfig {
        id: 2,
        voters: vec![1, 2, 3],
        incarnation: 1,
        seed: 1,
        limits: Limits::default(),
    };
    let (log, _) = Log::recover(&config.voters, Recovered::default()).expect("an empty log");
    let mut consensus = Consensus::start(&config, log).expect("a sound configuration");
    let conf_state = Some(ConfState {
        voters: config.voters,
        ..ConfState::default()
    });
    let metadata = Some(SnapshotMetadata {
        conf_state,
        index: 9,
        term: 3,
    });
    let mut message = Message {
        from: 1,
        to: 2,
        term: 3,
        snapshot: Some(Snapshot {
            data: Vec::new(),
            metadata,
        }),
        ..Message::default()
    };
    message.set_msg_type(MessageType::MsgSnapshot);
    consensus.step_snapshot(message, Box::default());
    let mut number = None;
    while let Some(turn) = consensus.turn().expect("no fatal error") {
        let image = turn.persist.filter(|persist| persist.snapshot.is_some());
        number = number.or(image.map(|persist| persist.number));
    }
    (consensus, number.expect("the image is given out"))
}

#[test]
fn a_member_does_not_campaign_before_its_image_is_durable() {
    let (mut consensus, number) = installing();
    let longest = 2 * Limits::default().election_ticks;
    (0..longest).for_each(|_| consensus.tick());
    assert_eq!(consensus.status(0).role, StateRole::Follower);
    let (mark, store) = consensus.persisted(number).expect("the image is due");
    assert_eq!((mark.index, store.digest()), (9, Store::new().digest()));
    consensus.applied(mark.index);
    (0..longest).for_each(|_| consensus.tick());
    assert_eq!(consensus.status(9).role, StateRole::PreCandidate);
}
