//! A certificate's name is that of a user, where there are no other credentials.

use berth_harness::Scratch;

use crate::authority::{Authority, Pair, Use, VALID};
use crate::member::{Member, curl, flags, status};

#[test]
fn a_certificate_stands_for_the_user_of_its_name() {
    let scratch = Scratch::new();
    let authority = Authority::new(scratch.path(), "ours");
    let server = authority.good("server", "server");
    let client = |name: &str| authority.sign(name, name, &[], Use::Client, VALID);
    let (root, alice, stranger) = (client("root"), client("alice"), client("stranger"));
    let mut words = flags(&[
        ("cert-file", &server.cert),
        ("key-file", &server.key),
        ("trusted-ca-file", &authority.pem),
    ]);
    words.push("--client-cert-auth".to_owned());
    let member = Member::start(&scratch, "m0", &words);
    let ask = |who: &Pair, method: &str, path: &str, more: &[&str]| {
        let url = member.url(path);
        let words = [&["-X", method, &url][..], more].concat();
        status(&curl(&authority.pem, Some(who), &words)).to_owned()
    };
    let role = r#"{"role":"r","permissions":{"kv":{"read":["/a/*"],"write":["/a/*"]}}}"#;
    assert_eq!(ask(&stranger, "PUT", "/v2/auth/roles/r", &["-d", role]), "201");
    let user = r#"{"user":"alice","password":"pw","roles":["r"]}"#;
    assert_eq!(
        ask(&stranger, "PUT", "/v2/auth/users/alice", &["-d", user]),
        "200"
    );
    let user = r#"{"user":"root","password":"pw"}"#;
    assert_eq!(ask(&stranger, "PUT", "/v2/auth/users/root", &["-d", user]), "201");
    assert_eq!(ask(&stranger, "PUT", "/v2/auth/enable", &[]), "200");
    // The certificate of nobody is that of a guest, who may do everything with keys for now, but nothing else.
    assert_eq!(ask(&stranger, "PUT", "/v2/keys/b", &["-d", "value=1"]), "201");
    assert_eq!(ask(&stranger, "GET", "/v2/auth/users", &[]), "401");
    assert_eq!(ask(&alice, "DELETE", "/v2/auth/roles/guest", &[]), "401");
    assert_eq!(ask(&root, "DELETE", "/v2/auth/roles/guest", &[]), "200");
    assert_eq!(ask(&stranger, "GET", "/v2/keys/b", &[]), "401");
    assert_eq!(ask(&alice, "PUT", "/v2/keys/a/k", &["-d", "value=1"]), "201");
    assert_eq!(ask(&alice, "GET", "/v2/keys/b", &[]), "401");
    assert_eq!(ask(&root, "GET", "/v2/keys/b", &[]), "200");
    // A password comes before the certificate, a wrong one too.
    assert_eq!(ask(&stranger, "GET", "/v2/keys/b", &["-u", "root:pw"]), "200");
    assert_eq!(ask(&root, "GET", "/v2/keys/b", &["-u", "alice:pw"]), "401");
    assert_eq!(ask(&root, "GET", "/v2/keys/b", &["-u", "root:bad"]), "401");
    assert_eq!(ask(&root, "DELETE", "/v2/members/1", &["-u", "alice:pw"]), "401");
    assert_eq!(ask(&root, "DELETE", "/v2/members/1", &[]), "404");
}
