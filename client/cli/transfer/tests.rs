//! Lines and how they are read.

use super::*;

#[test]
fn lines_are_read_as_they_are_written() {
    for text in [
        r#"{"key":"/a","value":"","createdIndex":4,"modifiedIndex":5}"#,
        r#"{"key":"/d","dir":true,"ttl":9,"createdIndex":4,"modifiedIndex":4}"#,
    ] {
        let line = Line::parse(text, "").expect("a line");
        assert_eq!(serde_json::to_string(&line).expect("json"), text);
    }
    let moved = Line::parse(r#"{"key":"/a","value":"1"}"#, "/copy/").expect("a line");
    assert_eq!(moved.key, "/copy/a");
}

#[test]
fn bad_lines_say_why() {
    for (text, why) in [
        ("{", "EOF while parsing"),
        (r#"{"value":"1"}"#, "missing field `key`"),
        (r#"{"key":"a","value":"1"}"#, "is not below /"),
        (r#"{"key":"/","dir":true}"#, "is not below /"),
        (r#"{"key":"/a"}"#, "neither a value nor dir"),
        (r#"{"key":"/a","value":"1","dir":true}"#, "a value and dir"),
        (r#"{"key":"/a","value":"1","ttl":0}"#, "a ttl of 0"),
        (r#"{"key":"/a","value":"1","ttl":-1}"#, "invalid value"),
        (r#"{"key":"/a","valeu":"1"}"#, "unknown field"),
    ] {
        let found = Line::parse(text, "").expect_err(text);
        assert!(found.contains(why), "{text}: {found}");
    }
}

#[test]
fn what_is_about_to_go_keeps_a_second() {
    let node = |ttl| Node {
        key: "/a".to_owned(),
        ttl,
        ..Node::default()
    };
    assert_eq!(Line::of(&node(Some(0))).ttl, Some(1));
    assert_eq!(Line::of(&node(Some(7))).ttl, Some(7));
    assert_eq!(Line::of(&node(None)).ttl, None);
}

#[test]
fn input_is_cut_into_lines() {
    let mut input = io::Cursor::new(b"one\n\n\xff\nlast".to_vec());
    let mut found = Vec::new();
    while let Some(line) = next_line(&mut input).expect("bytes") {
        found.push(line);
    }
    let wanted = [
        Ok("one".to_owned()),
        Ok(String::new()),
        Err("it is not UTF-8"),
        Ok("last".to_owned()),
    ];
    assert_eq!(found, wanted);
}

#[test]
fn a_line_that_is_too_long_does_not_hide_the_next() {
    let length = usize::try_from(LONGEST_LINE).expect("a length") + 5;
    let mut text = vec![b'x'; length];
    text.extend(b"\nnext\n");
    let mut input = io::Cursor::new(text);
    assert!(next_line(&mut input).expect("bytes").expect("a line").is_err());
    let next = next_line(&mut input).expect("bytes").expect("a line");
    assert_eq!(next, Ok("next".to_owned()));
}
