//! Lines, pieces and times.

use super::*;

/// Pushes the pieces, and gives the texts of all records.
fn texts(pieces: &[&[u8]]) -> Vec<String> {
    let (mut lines, mut out) = (Lines::new(Stream::Stdout), Vec::new());
    for piece in pieces {
        lines.push(piece, "T", &mut out);
    }
    lines.finish("T", &mut out);
    let record = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (&value["stream"], &value["time"]),
            (&"stdout".into(), &"T".into())
        );
        value["log"].as_str().unwrap().to_owned()
    };
    String::from_utf8(out).unwrap().lines().map(record).collect()
}

#[test]
fn a_record_looks_as_docker_writes_it() {
    let (mut lines, mut out) = (Lines::new(Stream::Stderr), Vec::new());
    lines.push(b"say \"hi\"\n", "2026-01-02T03:04:05Z", &mut out);
    let wanted = r#"{"log":"say \"hi\"\n","stream":"stderr","time":"2026-01-02T03:04:05Z"}"#;
    assert_eq!(String::from_utf8(out).unwrap(), format!("{wanted}\n"));
}

#[test]
fn lines_are_put_together() {
    assert_eq!(texts(&[b"a\nb", b"c\n\nd"]), ["a\n", "bc\n", "\n", "d"]);
    assert!(texts(&[b""]).is_empty());
    assert_eq!(texts(&[b"\xff\n"]), ["\u{fffd}\n"]);
}

#[test]
fn long_lines_are_cut() {
    let long = "x".repeat(MAX_LINE * 2 + 1) + "\n";
    let found = texts(&[long.as_bytes()]);
    let lengths: Vec<_> = found.iter().map(String::len).collect();
    assert_eq!(lengths, [MAX_LINE, MAX_LINE, 2]);
    // The newline still fits.
    let exact = "x".repeat(MAX_LINE - 1) + "\n";
    assert_eq!(texts(&[exact.as_bytes()]), [exact]);
}

#[test]
fn a_cut_goes_round_characters() {
    for before in 0..4 {
        let long = "x".repeat(before) + &"🦀ä€".repeat(4000) + "\n";
        for size in [1000, 4097] {
            let pieces: Vec<_> = long.as_bytes().chunks(size).collect();
            let found = texts(&pieces);
            assert!(found.len() > 2 && found.concat() == long, "{before} {size}");
        }
    }
    // What is no character anyway does not stay for ever.
    let garbage = vec![0x80; MAX_LINE * 3];
    assert_eq!(texts(&[&garbage]).len(), 3);
    let garbage = vec![0xf0; MAX_LINE * 3];
    assert!(texts(&[&garbage]).len() >= 3);
}

#[test]
fn times() {
    for (nanos, text) in [
        (0, "1970-01-01T00:00:00Z"),
        (951_826_154_000_000_000, "2000-02-29T12:09:14Z"),
        (1_709_164_800_120_000_000, "2024-02-29T00:00:00.12Z"),
        (1_735_689_599_999_999_999, "2024-12-31T23:59:59.999999999Z"),
        (4_107_542_400_000_000_001, "2100-03-01T00:00:00.000000001Z"),
    ] {
        assert_eq!(rfc3339(from_nanos(nanos)), text);
        assert_eq!(super::nanos(from_nanos(nanos)), nanos);
    }
}

#[test]
fn frames() {
    assert_eq!(frame_header(Stream::Stderr, 258), [2, 0, 0, 0, 0, 0, 1, 2]);
}
