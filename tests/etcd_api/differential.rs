//! Rows of random requests, the same to etcd and to Berth: every answer must be the same but for times.

use berth_harness::Response;

use crate::wire::Wire;
use crate::{Member, reference_alone, tell};

/// Requests of one run. Few names are used, so that most requests meet something.
const REQUESTS: usize = 4_000;
/// What is asked of history at the end; etcd keeps a thousand events.
const PAST: usize = 900;

/// A row of numbers that is the same in each run.
struct Dice(u64);

impl Dice {
    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        from[self.below(from.len())]
    }

    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

struct Asked {
    method: &'static str,
    target: String,
    form: String,
}

/// Never a TTL that ends during the run, nor what docs/COMPATIBILITY.md lists.
fn ask(dice: &mut Dice, index: u64) -> Asked {
    const NAMES: &[&str] = &["a", "b", "_h", "%C3%A9", "x%2Fy", "%ff", "c+d", "%20"];
    let mut target = "/v2/keys".to_owned();
    for _ in 0..dice.below(4) {
        target.push('/');
        target.push_str(dice.pick(NAMES));
    }
    if dice.one_in(8) {
        target.push('/');
    }
    let method = dice.pick(&[
        "PUT", "PUT", "PUT", "PUT", "PUT", "GET", "GET", "POST", "DELETE", "DELETE", "HEAD",
    ]);
    let mut fields = Vec::new();
    for _ in 0..dice.below(4) {
        let number = (index + 2).saturating_sub(dice.below(8) as u64).to_string();
        let word = dice.pick(&["true", "true", "true", "false", "1", "F", "T", "maybe", ""]);
        let text = dice.pick(&["", "1", "2", "%ff", "%3C%26", "a+b", "%zz", "%E2%98"]);
        fields.push(match dice.below(12) {
            0..=2 => format!("value={text}"),
            3 => format!("prevValue={text}"),
            4 => format!("prevIndex={}", if dice.one_in(9) { "x" } else { &number }),
            5 => format!("prevExist={word}"),
            6 => format!("dir={word}"),
            7 => format!("recursive={word}"),
            8 => format!("ttl={}", dice.pick(&["5000", "6000", "", "-1", "007000"])),
            9 => format!("refresh={word}"),
            10 => format!("noValueOnSuccess={word}"),
            _ => format!("quorum={word}"),
        });
    }
    let at = if matches!(method, "PUT" | "POST") {
        dice.below(fields.len() + 1)
    } else {
        0
    };
    let form = fields[..at].join("&");
    let mut query = fields[at..].join("&");
    if matches!(method, "GET" | "HEAD") {
        query.push_str("&sorted=true");
    }
    if !query.is_empty() {
        target = format!("{target}?{query}");
    }
    Asked { method, target, form }
}

fn send(wire: &mut Wire, asked: &Asked) -> Response {
    let Asked { method, target, form } = asked;
    let length = form.len();
    wire.send(format!(
        "{method} {target} HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {length}\r\n\r\n{form}"
    ));
    let answer = wire.answer(method);
    answer.unwrap_or_else(|| panic!("no answer to {method} {target} {form}"))
}

/// The text without what comes between each `start` and the next of `ends`.
fn without(text: &str, start: &str, ends: &[char]) -> String {
    let mut pieces = text.split(start);
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        out.push_str(start);
        out.push_str(&piece[piece.find(ends).unwrap_or(0)..]);
    }
    out
}

/// What must be the same.
fn shown(answer: &Response) -> String {
    let text = without(&answer.text(), "\"expiration\":\"", &['"']);
    let text = without(&text, "\"ttl\":", &[',', '}']);
    let index = answer.header("x-etcd-index");
    let kind = answer.header("content-type");
    format!("{} {index:?} {kind:?} {text}", answer.status)
}

/// The key of an event, encoded for a path.
fn encoded(key: &[u8]) -> String {
    key.iter()
        .map(|byte| {
            if *byte == b'/' {
                "/".to_owned()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

/// Runs one row on both; gives the keys of the events with their indexes.
fn run(seed: u64, etcd: &mut Wire, berth: &mut Wire) -> Vec<(u64, String)> {
    let mut dice = Dice(seed);
    let mut index = 3;
    let mut events = Vec::new();
    for number in 0..REQUESTS {
        let asked = ask(&mut dice, index);
        let (expected, seen) = (send(etcd, &asked), send(berth, &asked));
        let Asked { method, target, form } = &asked;
        assert_eq!(
            shown(&seen),
            shown(&expected),
            "seed {seed}, request {number}: {method} {target} {form}"
        );
        let now = expected
            .header("x-etcd-index")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        // A refresh is no event for anybody, and bytes that are no UTF-8 cannot be read from an answer.
        let plain = !target.contains("refresh") && !form.contains("refresh") && !target.contains("%ff");
        if now > index && plain && !expected.text().contains("\\ufffd") {
            let key =
                serde_json::from_slice::<serde_json::Value>(&expected.body).unwrap()["node"]["key"].clone();
            events.extend(key.as_str().map(|key| (now, encoded(key.as_bytes()))));
        }
        index = index.max(now);
    }
    events.retain(|(at, _)| index - at < PAST as u64);
    events
}

#[test]
fn random_requests_have_the_same_answers() {
    if reference_alone() {
        return;
    }
    for seed in [0x9E37_79B9, 0x1234_5678_9ABC] {
        let (one, other) = (Member::etcd(), Member::berth());
        let (mut etcd, mut berth) = (Wire::open(&one), Wire::open(&other));
        let events = run(seed, &mut etcd, &mut berth);
        assert!(events.len() > 100, "only {} events", events.len());
        for (index, key) in &events {
            let asked = Asked {
                method: "GET",
                target: format!("/v2/keys{key}?wait=true&waitIndex={index}"),
                form: String::new(),
            };
            let (expected, seen) = (send(&mut etcd, &asked), send(&mut berth, &asked));
            assert_eq!(shown(&seen), shown(&expected), "seed {seed}: {}", asked.target);
        }
        tell(&format!(
            "{REQUESTS} random requests and {} events of the past, seed {seed:#x}, all alike",
            events.len()
        ));
    }
}
