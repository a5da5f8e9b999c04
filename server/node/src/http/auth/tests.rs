//! Credentials, documents and passwords: by example, and with bytes that nobody meant.

use super::Passwords;
use super::basic::{Shown, read};
use super::documents::{Document, RoleWish, UserWish, role_wish, user_wish};
use super::passwords::MAX_PASSWORD_BYTES;
use crate::mutate::{Mutator, Naming, ROUNDS, rounds};
use berth_store::{Permissions, Role, User};
use http::{HeaderMap, HeaderValue, header};

fn shown(value: &[u8]) -> Shown {
    let mut headers = HeaderMap::new();
    headers.insert(
        header::AUTHORIZATION,
        HeaderValue::from_bytes(value).expect("a header"),
    );
    read(&headers)
}

#[test]
fn credentials_are_read_as_by_go() {
    assert_eq!(read(&HeaderMap::new()), Shown::Nothing);
    let pair = |name: &[u8], password: &[u8]| Shown::Pair {
        name: name.to_vec(),
        password: password.to_vec(),
    };
    for (value, expected) in [
        (&b""[..], Shown::Nothing),
        (b"Basic cm9vdDpwdw==", pair(b"root", b"pw")),
        (b"bAsIc cm9vdDpwdzE=", pair(b"root", b"pw1")),
        (b"Basic cm9vdDpwdzEy", pair(b"root", b"pw12")),
        (b"Basic cm9vdDo=", pair(b"root", b"")),
        (b"Basic Og==", pair(b"", b"")),
        (b"Basic YTpiOmM=", pair(b"a", b"b:c")),
        (b"Basic /zr+", pair(b"\xff", b"\xfe")),
        (b"Basic cm9vdA==", Shown::Malformed),
        (b"Basic cm9vdDpwdw", Shown::Malformed),
        (b"Basic cm9vdDpwdw=", Shown::Malformed),
        (b"Basic cm9v=DpwdzEy", Shown::Malformed),
        (b"Basic cm9vdDp=cm9v", Shown::Malformed),
        (b"Basic  cm9vdDpwdw==", Shown::Malformed),
        (b"Basic ====", Shown::Malformed),
        (b"Basic", Shown::Malformed),
        (b"Bearer cm9vdDpwdw==", Shown::Malformed),
        (b"x", Shown::Malformed),
    ] {
        assert_eq!(shown(value), expected, "{}", String::from_utf8_lossy(value));
    }
}

#[test]
fn documents_are_read_as_by_go() {
    let user = |text: &str| user_wish(text.as_bytes());
    let named = |name: &str| UserWish {
        user: name.to_owned(),
        ..UserWish::default()
    };
    assert_eq!(user(r#"{"user":"a"} and more"#), Ok(named("a")));
    assert_eq!(user(r#"{"USER":"a","other":[1]}"#), Ok(named("a")));
    assert_eq!(user(r#"{"User":"b","user":"a"}"#), Ok(named("a")));
    assert_eq!(user("null"), Ok(named("")));
    assert_eq!(
        user(r#"{"user":null,"roles":null,"grant":["x",null]}"#).map(|wish| wish.grant),
        Ok(vec!["x".to_owned(), String::new()])
    );
    for bad in [
        "",
        "[]",
        "5",
        r#""a""#,
        "{",
        r#"{"user":5}"#,
        r#"{"roles":"x"}"#,
        r#"{"roles":[5]}"#,
        "\u{fe}",
    ] {
        assert!(user(bad).is_err(), "{bad}");
    }
    let role = |text: &str| role_wish(text.as_bytes());
    let wish = role(r#"{"role":"r","grant":{"KV":{"Read":["/a"]}},"revoke":{}}"#);
    let grant = Permissions {
        read: Some(vec!["/a".to_owned()]),
        write: None,
    };
    let expected = RoleWish {
        role: "r".to_owned(),
        grant: Some(grant),
        revoke: Some(Permissions::default()),
        ..RoleWish::default()
    };
    assert_eq!(wish, Ok(expected));
    for bad in [
        r#"{"grant":[]}"#,
        r#"{"grant":{"kv":5}}"#,
        r#"{"permissions":{"kv":{"read":{}}}}"#,
    ] {
        assert!(role(bad).is_err(), "{bad}");
    }
    assert!(user(&("[".repeat(200_000))).is_err(), "depth has a bound");
}

#[test]
fn documents_are_written_as_by_go() {
    let text = |document: Document| String::from_utf8(document.into_bytes()).expect("text");
    let user = |roles: Option<&[&str]>| User {
        name: "<a>".to_owned(),
        hash: "secret".to_owned(),
        roles: roles.map(|roles| roles.iter().map(|role| (*role).to_owned()).collect()),
    };
    for (roles, shown) in [
        (None, "null"),
        (Some(&[][..]), "[]"),
        (Some(&["x", "y"][..]), r#"["x","y"]"#),
    ] {
        let expected = format!("{{\"user\":\"\\u003ca\\u003e\",\"roles\":{shown}}}\n");
        assert_eq!(text(Document::changed_user(&user(roles))), expected);
    }
    let role = Role {
        name: "r".to_owned(),
        permissions: Permissions {
            read: Some(vec!["/x/*".to_owned()]),
            write: None,
        },
    };
    let shown = r#"{"role":"r","permissions":{"kv":{"read":["/x/*"],"write":null}}}"#;
    assert_eq!(text(Document::role(&role)), format!("{shown}\n"));
    assert_eq!(text(Document::user("u", &[])), "{\"user\":\"u\"}\n");
    assert_eq!(text(Document::users(&[])), "{\"users\":null}\n");
    let users = [("u".to_owned(), vec![role])];
    assert_eq!(
        text(Document::users(&users)),
        format!("{{\"users\":[{{\"user\":\"u\",\"roles\":[{shown}]}}]}}\n")
    );
}

#[test]
fn changed_documents_and_credentials_do_no_harm() {
    let seeds = [
        r#"{"user":"alice","password":"pw","roles":["a","b"],"grant":["c"],"revoke":null}"#,
        r#"{"role":"r","permissions":{"kv":{"read":["/x/*"],"write":["/y"]}},"grant":{"kv":{}}}"#,
        "Basic cm9vdDpwdw==",
    ];
    let seeds = seeds.iter().map(|seed| seed.as_bytes().to_vec()).collect();
    let words: &[&[u8]] = &[
        b"null",
        b"[[[[",
        b"{\"kv\":",
        b"\\u0000",
        b"\"user\":",
        b"=",
        b"\xff",
        b"Basic ",
    ];
    let mut inputs = Mutator::new("auth", seeds, words, 4 << 10);
    let (mut users, mut roles, mut pairs) = (0_u64, 0_u64, 0_u64);
    for round in 0..rounds(ROUNDS) {
        let input = inputs.next();
        let _naming = Naming { round, input: &input };
        users += u64::from(user_wish(&input).is_ok());
        roles += u64::from(role_wish(&input).is_ok());
        if let Ok(value) = HeaderValue::from_bytes(&input) {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value);
            pairs += u64::from(matches!(read(&headers), Shown::Pair { .. }));
        }
    }
    assert!(
        users > 100 && roles > 100 && pairs > 10,
        "{users} users, {roles} roles, {pairs} pairs"
    );
}

#[tokio::test]
async fn a_password_is_right_for_its_hash_alone() {
    let passwords = Passwords::new();
    let hash = passwords.hash("pw".to_owned()).await.expect("a hash");
    let other = passwords.hash("other".to_owned()).await.expect("a hash");
    assert!(hash.starts_with("$2") && hash.len() == 60);
    for (password, hash, right) in [
        ("pw", Some(&hash), true),
        // Remembered, and asked for again.
        ("pw", Some(&hash), true),
        ("pw", Some(&other), false),
        ("PW", Some(&hash), false),
        ("", Some(&hash), false),
        ("pw", None, false),
    ] {
        let checked = passwords
            .check(b"u", password.as_bytes(), hash.map(String::as_str))
            .await;
        assert_eq!(checked.ok(), Some(right), "{password} {hash:?}");
    }
    let long = "x".repeat(MAX_PASSWORD_BYTES);
    let hash = passwords.hash(long.clone()).await.expect("a hash");
    for (password, right) in [(long.clone(), true), (long + "y", false)] {
        let checked = passwords.check(b"u", password.as_bytes(), Some(&hash)).await;
        assert_eq!(checked.ok(), Some(right));
    }
}
