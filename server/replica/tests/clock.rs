//! Leases and the clocks of the members: only the time that passes at the leader counts, as far as it is replicated. A member
//! knows no wall clock, so setting one can change nothing; its own clock may begin anywhere, and that of a follower may leap.

use berth_replica::{Effect, Input, Limits, Message, Recovered, Replica, ReplicaConfig, RequestId, Role};
use berth_store::{Key, Kind, Put, WatchId};
use std::collections::{BTreeMap, VecDeque};

const MEMBERS: u64 = 3;
/// True milliseconds of a run.
const RUN_MS: u64 = 60_000;
const TICK_MS: u64 = 100;
/// An expiry is proposed at the first tick at which its key is due.
const LATEST_MS: u64 = 2 * TICK_MS;
const HOUR_MS: u64 = 3_600_000;

/// SplitMix64.
struct Prng(u64);

impl Prng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

struct Machine {
    replica: Replica,
    /// What its clock shows beside the time since the beginning.
    ahead: u64,
    /// Index, action and key of all events, with the true time.
    events: Vec<(u64, &'static str, String, u64)>,
}

struct Cluster {
    machines: BTreeMap<u64, Machine>,
    wire: VecDeque<Message>,
    true_ms: u64,
    requests: u64,
}

impl Cluster {
    fn new(seed: u64, ahead: impl Fn(u64) -> u64) -> Cluster {
        let voters: Vec<u64> = (1..=MEMBERS).collect();
        let machine = |id: u64| Machine {
            replica: Replica::new(
                ReplicaConfig {
                    id,
                    voters: voters.clone(),
                    incarnation: seed ^ id,
                    seed,
                    limits: Limits::default(),
                },
                Recovered::default(),
            )
            .expect("a sound start"),
            ahead: ahead(id),
            events: Vec::new(),
        };
        let mut cluster = Cluster {
            machines: voters.iter().map(|id| (*id, machine(*id))).collect(),
            wire: VecDeque::new(),
            true_ms: 0,
            requests: 0,
        };
        for id in voters.iter().copied() {
            let watch = Input::Watch {
                id: WatchId(0),
                key: Key::root(),
                recursive: true,
                stream: true,
                since: None,
            };
            cluster.step(id, watch);
        }
        cluster
    }

    /// Steps an input; what is to be written counts as written at once.
    fn step(&mut self, id: u64, input: Input) {
        let Some(machine) = self.machines.get_mut(&id) else {
            return;
        };
        let now = self.true_ms + machine.ahead;
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for effect in machine.replica.step(input, now) {
                if let Effect::Send(message) = effect {
                    self.wire.push_back(message);
                } else if let Effect::Persist(persist) = effect {
                    self.wire.extend(persist.after);
                    inputs.push_back(Input::Persisted {
                        number: persist.number,
                    });
                } else if let Effect::Notify { event, .. } = effect {
                    let key = event.node.key.to_string();
                    let event = (event.index, event.action.name(), key, self.true_ms);
                    machine.events.push(event);
                } else if let Effect::Fatal(error) = effect {
                    panic!("member {id}: {error}");
                }
            }
        }
    }

    /// A tick of every member, and all messages that follow from it.
    fn tick(&mut self) {
        self.true_ms += TICK_MS;
        for id in 1..=MEMBERS {
            self.step(id, Input::Tick);
        }
        self.deliver();
    }

    fn deliver(&mut self) {
        while let Some(message) = self.wire.pop_front() {
            self.step(message.to, Input::Message(message));
        }
    }

    fn leader(&self) -> Option<u64> {
        let leads = |machine: &Machine| machine.replica.status().role == Role::Leader;
        self.machines
            .iter()
            .find(|(_, machine)| leads(machine))
            .map(|(id, _)| *id)
    }

    fn await_leader(&mut self) -> u64 {
        for _ in 0..100 {
            if let Some(leader) = self.leader() {
                return leader;
            }
            self.tick();
        }
        panic!("nobody leads");
    }

    fn put(&mut self, leader: u64, key: &str, ttl: u64) {
        self.requests += 1;
        let key = Key::parse(key).expect("a key");
        let command = Kind::Set(Put::file(key, b"v".as_slice()).with_ttl(ttl)).into();
        let id = RequestId(self.requests);
        self.step(leader, Input::Propose { id, command });
        self.deliver();
    }
}

/// What a run does to the clocks.
#[derive(Clone, Copy, PartialEq)]
enum Clocks {
    /// All show the true time.
    True,
    /// Each begins anywhere, and those of followers leap ahead by hours again and again.
    Wild,
}

/// A run with writes and changes of the leader, the same for the same seed. Gives the members, and when each key was written
/// with how many milliseconds to live.
fn run(seed: u64, clocks: Clocks) -> (Cluster, BTreeMap<String, (u64, u64)>) {
    let mut prng = Prng(seed);
    let begins: Vec<u64> = (0..=MEMBERS).map(|_| prng.next() >> 20).collect();
    let mut cluster = Cluster::new(seed, |id| match (clocks, usize::try_from(id)) {
        (Clocks::Wild, Ok(id)) => begins[id],
        (Clocks::Wild | Clocks::True, _) => 0,
    });
    let mut written = BTreeMap::new();
    while cluster.true_ms < RUN_MS {
        let leader = cluster.await_leader();
        let (what, which, hours) = (prng.below(20), 1 + prng.below(MEMBERS), 1 + prng.below(100));
        match what {
            0..4 => {
                let key = format!("/k{}", written.len());
                let ttl = 1 + prng.below(10);
                written.insert(key.clone(), (cluster.true_ms, ttl * 1_000));
                cluster.put(leader, &key, ttl);
            }
            4 => cluster.step(leader, Input::TransferLeader { to: Some(which) }),
            5..8 if which != leader && clocks == Clocks::Wild => {
                if let Some(machine) = cluster.machines.get_mut(&which) {
                    machine.ahead += hours * HOUR_MS;
                }
            }
            _ => {}
        }
        cluster.tick();
    }
    (cluster, written)
}

#[test]
fn no_clock_but_the_passing_of_time_at_the_leader_counts() {
    let mut expired = 0;
    for seed in 0..30 {
        let (calm, written) = run(seed, Clocks::True);
        let (wild, _) = run(seed, Clocks::Wild);
        for id in 1..=MEMBERS {
            let (calm, wild) = (&calm.machines[&id], &wild.machines[&id]);
            assert_eq!(calm.events, wild.events, "seed {seed}, member {id}");
            assert_eq!(calm.replica.store().digest(), wild.replica.store().digest());
            for (index, _, key, at) in wild.events.iter().filter(|event| event.1 == "expire") {
                let (from, life) = written[key];
                assert!(
                    *at >= from + life,
                    "seed {seed}: member {id} expired {key} with index {index} {} ms early",
                    from + life - at
                );
                expired += 1;
            }
        }
    }
    assert!(expired > 1_000, "only {expired} keys expired");
}

#[test]
fn under_one_leader_keys_expire_in_time() {
    let mut cluster = Cluster::new(1, |id| id << 40);
    let leader = cluster.await_leader();
    let mut prng = Prng(7);
    let mut written = BTreeMap::new();
    for number in 0..200 {
        let (key, ttl) = (format!("/k{number}"), 1 + prng.below(10));
        written.insert(key.clone(), cluster.true_ms + ttl * 1_000);
        cluster.put(leader, &key, ttl);
        cluster.tick();
    }
    for _ in 0..120 {
        cluster.tick();
    }
    for machine in cluster.machines.values() {
        let gone = machine.events.iter().filter(|event| event.1 == "expire");
        let late: Vec<u64> = gone.map(|(_, _, key, at)| at - written[key]).collect();
        assert_eq!(late.len(), 200);
        assert!(late.iter().all(|late| *late <= LATEST_MS), "{late:?}");
    }
}

/// The test above measures something: a leader's clock is what the others follow.
#[test]
fn time_stands_still_with_the_clock_of_the_leader() {
    let mut cluster = Cluster::new(2, |id| id << 30);
    let leader = cluster.await_leader();
    cluster.put(leader, "/k", 5);
    let gone = |cluster: &Cluster| {
        let events = cluster.machines.values().map(|machine| &machine.events);
        events.flatten().filter(|event| event.1 == "expire").count()
    };
    for _ in 0..200 {
        if let Some(machine) = cluster.machines.get_mut(&leader) {
            machine.ahead -= TICK_MS;
        }
        cluster.tick();
    }
    assert_eq!((gone(&cluster), cluster.leader()), (0, Some(leader)));
    for _ in 0..49 {
        cluster.tick();
    }
    assert_eq!(gone(&cluster), 0);
    for _ in 0..3 {
        cluster.tick();
    }
    assert_eq!(gone(&cluster), 3, "at each of the members");
}
