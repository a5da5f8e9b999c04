//! The transcript of the introduction, with the stock curl.

use std::process::Command;
use std::time::Duration;

use berth_harness::run;

use crate::on_both;

fn curl(arguments: &[&str]) -> String {
    let mut command = Command::new("curl");
    command
        .args(["--silent", "--show-error", "--max-time", "20"])
        .args(arguments);
    run(&mut command, Duration::from_secs(30)).ok().to_owned()
}

#[test]
fn the_transcript_works_as_printed() {
    on_both(|member| {
        let message = format!("http://{}/v2/keys/message", member.address());
        let first = curl(&["-L", "-X", "PUT", &message, "-d", "value=Hello"]);
        assert_eq!(
            first,
            r#"{"action":"set","node":{"key":"/message","value":"Hello","modifiedIndex":4,"createdIndex":4}}"#
        );
        let status = ["-o", "/dev/null", "-w", "%{http_code}"];
        let second = curl(&[&status[..], &["-L", "-X", "PUT", &message, "-d", "value=Hello"]].concat());
        assert_eq!(second, "200", "the key is there by now");
        let third = curl(&["-L", "-X", "PUT", &message, "-d", "value=World"]);
        assert!(
            third.contains(
                r#""prevNode":{"key":"/message","value":"Hello","modifiedIndex":5,"createdIndex":5}"#
            ),
            "{third}"
        );
        assert!(curl(&["-L", &message]).contains(r#""value":"World""#));
        assert!(curl(&["-L", "-X", "DELETE", &message]).starts_with(r#"{"action":"delete""#));
        let gone = curl(&["-L", &message]);
        assert_eq!(
            gone,
            r#"{"errorCode":100,"message":"Key not found","cause":"/message","index":7}"#
        );
        let head = curl(&["-i", "-L", &message]).to_lowercase();
        assert!(head.contains("404") && head.contains("x-etcd-index: 7"), "{head}");
    });
}

#[test]
fn successes_carry_the_raft_headers() {
    on_both(|member| {
        let url = format!("http://{}/v2/keys/k", member.address());
        let head = curl(&["-i", "-X", "PUT", &url, "-d", "value=1"]).to_lowercase();
        for name in [
            "x-etcd-index: 4",
            "x-raft-index: ",
            "x-raft-term: ",
            "x-etcd-cluster-id: ",
            "content-type: application/json",
        ] {
            assert!(head.contains(name), "{name} is missing in\n{head}");
        }
    });
}

#[test]
fn version_and_health_answer() {
    on_both(|member| {
        let version = curl(&[&format!("http://{}/version", member.address())]);
        assert!(
            version.contains("etcdserver") && version.contains("etcdcluster"),
            "{version}"
        );
        assert_eq!(
            curl(&[&format!("http://{}/health", member.address())]),
            r#"{"health":"true"}"#
        );
    });
}
