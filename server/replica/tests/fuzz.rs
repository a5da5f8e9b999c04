//! Messages that no honest member sends: whatever decodes is refused or stepped, and never ends the process.

#![allow(
    clippy::unwrap_used,
    reason = "the lint spares test functions, but not what they call"
)]

#[path = "../../../tests/fuzz/mutate.rs"]
mod mutate;

use berth_replica::{
    Effect, Entry, Input, Limits, MAX_ENTRY_BYTES, MAX_MESSAGE_BYTES, Message, MessageType, Recovered,
    Replica, ReplicaConfig, RequestId, Role, decode_entry, decode_message, encode_entry, encode_message,
};
use berth_store::{Key, Kind, Put, Store};
use mutate::{Mutator, Naming, Noise, ROUNDS, corpus, rounds};
use raft::eraftpb::{ConfState, Snapshot, SnapshotMetadata};

const VOTERS: [u64; 3] = [1, 2, 3];

/// A cluster is made anew after so many strange messages: states grow odd, but not for ever.
const LIFE: u64 = 200;

fn member(id: u64, incarnation: u64) -> Replica {
    let config = ReplicaConfig {
        id,
        voters: VOTERS.to_vec(),
        incarnation,
        seed: id,
        limits: Limits {
            snapshot_count: 40,
            catch_up_entries: 10,
            ..Limits::default()
        },
    };
    Replica::new(config, Recovered::default()).unwrap()
}

/// Three members on a network that loses nothing, and everything that they sent each other.
struct Cluster {
    members: Vec<Replica>,
    now: u64,
    sent: Vec<Message>,
    /// Members that said they cannot go on.
    ended: u64,
    lives: u64,
}

impl Cluster {
    fn new() -> Cluster {
        Cluster {
            members: VOTERS.iter().map(|id| member(*id, *id)).collect(),
            now: 0,
            sent: Vec::new(),
            ended: 0,
            lives: 3,
        }
    }

    fn place(id: u64) -> usize {
        usize::try_from(id - 1).unwrap()
    }

    fn renew(&mut self, at: usize) {
        self.lives += 1;
        self.members[at] = member(VOTERS[at], self.lives);
    }

    /// One input to one member; gives the messages it sends. What it asks its disk for is done at once.
    fn input(&mut self, at: usize, input: Input) -> Vec<Message> {
        let mut out = Vec::new();
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            for effect in self.members[at].step(input, self.now) {
                match effect {
                    Effect::Persist(persist) => {
                        out.extend(persist.after);
                        let number = persist.number;
                        inputs.push(Input::Persisted { number });
                    }
                    Effect::Send(message) => out.push(message),
                    Effect::SendSnapshot { message, .. } => {
                        let (to, delivered) = (message.to, true);
                        inputs.push(Input::SnapshotSent { to, delivered });
                        out.push(message);
                    }
                    Effect::TakeSnapshot { mark, .. } => {
                        inputs.push(Input::SnapshotSaved { index: mark.index });
                    }
                    Effect::Fatal(_) => {
                        self.ended += 1;
                        self.renew(at);
                        return Vec::new();
                    }
                    Effect::Reply(_)
                    | Effect::ReadReady { .. }
                    | Effect::ReadFailed { .. }
                    | Effect::WatchOpened { .. }
                    | Effect::Notify { .. }
                    | Effect::WatchCleared { .. }
                    | Effect::Compact { .. }
                    | Effect::ChangeReply(_)
                    | Effect::RosterChanged
                    | Effect::TellRemoved { .. }
                    | Effect::Removed
                    | Effect::LeaderChanged { .. } => {}
                }
            }
        }
        out
    }

    /// Lets messages and the answers to them arrive, up to a bound: confused members may talk for ever.
    fn run(&mut self, messages: Vec<Message>) {
        let mut waiting = std::collections::VecDeque::from(messages);
        for _ in 0..200 {
            let Some(message) = waiting.pop_front() else { break };
            self.sent.push(message.clone());
            if let Some(at) = member_of(message.to) {
                waiting.extend(self.input(at, deliver(message)));
            }
        }
    }

    fn tick(&mut self) {
        self.now += 100;
        for at in 0..self.members.len() {
            let messages = self.input(at, Input::Tick);
            self.run(messages);
        }
    }

    /// An election, writes and reads through each member.
    fn work(&mut self) {
        for round in 0..60 {
            self.tick();
            let path = Key::parse(format!("/k/{}", round % 7)).unwrap();
            let command = Kind::Set(Put::file(path, *b"value").with_ttl(round)).into();
            let at = Cluster::place(1 + round % 3);
            let id = RequestId(round);
            let messages = self.input(at, Input::Propose { id, command });
            self.run(messages);
            let id = RequestId(1_000 + round);
            let messages = self.input(at, Input::QuorumRead { id });
            self.run(messages);
        }
    }
}

fn member_of(to: u64) -> Option<usize> {
    (1..=3).contains(&to).then(|| Cluster::place(to))
}

fn deliver(message: Message) -> Input {
    if message.msg_type == MessageType::MsgSnapshot as i32 {
        let store = Box::new(Store::new());
        Input::Snapshot { message, store }
    } else {
        Input::Message(message)
    }
}

/// Real messages of every kind that members send.
fn honest() -> Vec<Message> {
    let mut cluster = Cluster::new();
    cluster.work();
    assert_eq!(cluster.ended, 0);
    let mut messages = cluster.sent;
    // Those with content are worth more than the heartbeats.
    messages.sort_by_key(|message| (message.msg_type, message.entries.len(), message.index));
    messages.dedup_by_key(|message| (message.msg_type, message.entries.len(), message.index % 7));
    let mut snapshot = Message {
        from: 1,
        to: 2,
        term: 2,
        snapshot: Some(image(&VOTERS, 9, 2)),
        ..Message::default()
    };
    snapshot.set_msg_type(MessageType::MsgSnapshot);
    messages.push(snapshot);
    let kinds: std::collections::BTreeSet<i32> = messages.iter().map(|message| message.msg_type).collect();
    assert!(kinds.len() >= 9, "only {kinds:?}");
    messages
}

fn image(voters: &[u64], index: u64, term: u64) -> Snapshot {
    let conf_state = Some(ConfState {
        voters: voters.to_vec(),
        ..ConfState::default()
    });
    let metadata = Some(SnapshotMetadata {
        conf_state,
        index,
        term,
    });
    Snapshot {
        data: Vec::new(),
        metadata,
    }
}

fn near(noise: &mut Noise, number: u64) -> u64 {
    match noise.below(4) {
        0 => number.wrapping_add(1),
        1 => number.wrapping_sub(1),
        2 => noise.next() % 80,
        _ => noise.edge(),
    }
}

fn some_bytes(noise: &mut Noise, bound: usize) -> Vec<u8> {
    (0..noise.below(bound)).map(|_| noise.byte()).collect()
}

/// Changes one field in a way that a confused or hostile member might.
fn distort(noise: &mut Noise, message: &mut Message, others: &[Message]) {
    match noise.below(17) {
        0 => message.term = near(noise, message.term),
        1 => message.index = near(noise, message.index),
        2 => message.log_term = near(noise, message.log_term),
        3 => message.commit = near(noise, message.commit),
        4 => message.commit_term = near(noise, message.commit_term),
        5 => message.reject_hint = near(noise, message.reject_hint),
        6 => message.reject = !message.reject,
        7 => message.msg_type = i32::from(noise.byte() % 22) - 1,
        8 => message.entries.clone_from(&noise.pick(others).entries),
        9 => message.entries.truncate(noise.below(message.entries.len() + 1)),
        10 => message.entries.reverse(),
        11 => message.entries.extend(noise.pick(others).entries.clone()),
        12 => message.context = some_bytes(noise, 40),
        13 => message.request_snapshot = noise.edge(),
        14 => {
            let voters = *noise.pick::<&[u64]>(&[&VOTERS, &[2], &[], &[1, 2, 3, 4]]);
            message.snapshot = Some(image(voters, noise.next() % 60, noise.next() % 6));
        }
        15 => message.priority = i64::from(noise.byte()),
        _ => distort_entry(noise, message),
    }
}

fn distort_entry(noise: &mut Noise, message: &mut Message) {
    if message.entries.is_empty() {
        message.entries.push(Entry::default());
    }
    let at = noise.below(message.entries.len());
    let entry = &mut message.entries[at];
    match noise.below(5) {
        0 => entry.index = noise.edge(),
        1 => entry.term = noise.edge(),
        2 => entry.entry_type = i32::from(noise.byte() % 4),
        3 => entry.context.truncate(noise.below(17)),
        _ => entry.data = some_bytes(noise, 50),
    }
}

/// Mostly to and from members, of a term and a place in the log that count: others are dropped at the first look.
fn address(noise: &mut Noise, message: &mut Message, cluster: &Cluster) {
    if noise.once_in(50) {
        (message.from, message.to) = (noise.edge(), noise.edge());
    } else if noise.once_in(2) {
        let leads = |id: &&u64| cluster.members[Cluster::place(**id)].status().role == Role::Leader;
        let leader = VOTERS.iter().find(leads).filter(|_| noise.once_in(2));
        message.to = *leader.unwrap_or(noise.pick(&VOTERS));
        message.from = 1 + (message.to + noise.next() % 2) % 3;
    }
    let Some(at) = member_of(message.to).filter(|_| message.term > 0 && !noise.once_in(4)) else {
        return;
    };
    let status = cluster.members[at].status();
    message.term = status.term + u64::from(noise.once_in(100));
    if noise.once_in(2) {
        message.index = status.last.wrapping_sub(noise.next() % 3);
        message.log_term = status.term;
        for (entry, after) in message.entries.iter_mut().zip(1..) {
            (entry.index, entry.term) = (message.index.wrapping_add(after), status.term);
        }
    }
}

#[test]
fn no_distorted_message_makes_a_member_panic() {
    let honest = honest();
    let mut noise = Noise::new("distorted messages");
    let mut cluster = Cluster::new();
    let (mut answered, mut led, mut ended) = (0_u64, 0_u64, 0);
    for round in 0..rounds(ROUNDS) {
        let mut message = noise.pick(&honest).clone();
        for _ in 0..noise.below(4) {
            distort(&mut noise, &mut message, &honest);
        }
        address(&mut noise, &mut message, &cluster);
        let bytes = encode_message(&message);
        let _naming = Naming { round, input: &bytes };
        assert_eq!(decode_message(&bytes).unwrap(), message);
        let at = member_of(message.to).unwrap_or(0);
        led += u64::from(cluster.members[at].status().role == Role::Leader);
        let messages = cluster.input(at, deliver(message));
        answered += messages.len() as u64;
        if noise.once_in(8) {
            // Some of what members answer reaches the others, and time goes on.
            cluster.run(messages);
        }
        if noise.once_in(16) {
            cluster.tick();
        }
        cluster.sent.clear();
        if round % LIFE == 0 {
            ended += cluster.ended;
            cluster = Cluster::new();
            cluster.work();
        }
    }
    println!("{answered} answers, {led} messages to leaders, {ended} members ended");
    assert!(answered > rounds(ROUNDS) / 50 && led > rounds(ROUNDS) / 50);
}

#[test]
fn kept_messages_still_decode() {
    let mut cluster = Cluster::new();
    for (name, bytes) in corpus("message") {
        let decoded = decode_message(&bytes);
        assert_eq!(decoded.is_err(), name.starts_with("bad"), "{name}: {decoded:?}");
        if let Ok(message) = decoded {
            assert_eq!(encode_message(&message), bytes, "{name}");
            let at = member_of(message.to).unwrap_or(0);
            cluster.input(at, deliver(message));
        }
    }
}

#[test]
fn no_bytes_make_a_decoder_or_a_member_panic() {
    let honest = honest();
    let mut seeds: Vec<Vec<u8>> = honest.iter().map(encode_message).collect();
    let entries = honest.iter().flat_map(|message| &message.entries);
    seeds.extend(entries.map(encode_entry));
    let words: &[&[u8]] = &[
        b"\x08\x03",
        b"\x3a\x00",
        b"\xff\xff\xff\xff\x0f",
        b"\x4a\x00",
        b"\x12\x04",
    ];
    let mut inputs = Mutator::new("message", seeds, words, 4 << 10);
    let mut cluster = Cluster::new();
    let mut stepped = 0_u64;
    for round in 0..rounds(ROUNDS) {
        let input = inputs.next();
        let _naming = Naming { round, input: &input };
        if let Ok(entry) = decode_entry(&input) {
            assert_eq!(decode_entry(&encode_entry(&entry)).unwrap(), entry);
        }
        let Ok(message) = decode_message(&input) else {
            continue;
        };
        stepped += 1;
        let at = member_of(message.to).unwrap_or(0);
        cluster.input(at, deliver(message));
        if round % LIFE == 0 {
            cluster.renew(inputs.noise.below(3));
            cluster.work();
        }
    }
    println!("{stepped} decoded, {} members ended", cluster.ended);
    assert!(stepped > rounds(ROUNDS) / 10, "only {stepped} decoded");
}

#[test]
fn sizes_of_entries_and_messages_have_limits() {
    let entry = |bytes: usize| {
        encode_entry(&Entry {
            data: vec![7; bytes],
            ..Entry::default()
        })
    };
    let message = |bytes: usize| {
        encode_message(&Message {
            context: vec![7; bytes],
            ..Message::default()
        })
    };
    // What stands around the bytes is as long as at the limit.
    let largest_entry = 2 * MAX_ENTRY_BYTES - 64 - entry(MAX_ENTRY_BYTES - 64).len();
    let largest_message = 2 * MAX_MESSAGE_BYTES - 64 - message(MAX_MESSAGE_BYTES - 64).len();
    for (more, taken) in [(-1, true), (0, true), (1, false)] {
        let bytes = entry(largest_entry.saturating_add_signed(more));
        assert_eq!(bytes.len(), MAX_ENTRY_BYTES.saturating_add_signed(more));
        assert_eq!(decode_entry(&bytes).is_ok(), taken, "entry {more}");
        let bytes = message(largest_message.saturating_add_signed(more));
        assert_eq!(bytes.len(), MAX_MESSAGE_BYTES.saturating_add_signed(more));
        assert_eq!(decode_message(&bytes).is_ok(), taken, "message {more}");
    }
}
