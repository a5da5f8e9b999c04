//! Changes as lines of text, and the configuration they make.

use berth_wire::docker::ImageConfig;

use super::apply;

fn check(changes: &[&str], expected: &str) {
    let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
    let mut config = ImageConfig::default();
    let made = match apply(&mut config, &changes) {
        Ok(()) => {
            let serde_json::Value::Object(made) = serde_json::to_value(&config).unwrap() else {
                panic!("not an object");
            };
            let serde_json::Value::Object(plain) = serde_json::to_value(ImageConfig::default()).unwrap()
            else {
                panic!("not an object");
            };
            let changed = made
                .into_iter()
                .filter(|(key, value)| plain.get(key) != Some(value));
            serde_json::Value::Object(changed.collect()).to_string()
        }
        Err(error) => error.to_string(),
    };
    assert_eq!(made, expected, "{changes:?}");
}

#[test]
fn every_instruction_changes_its_part() {
    check(&[], "{}");
    check(&["CMD [\"/bin/app\", \"-v\"]"], r#"{"Cmd":["/bin/app","-v"]}"#);
    check(&["cmd echo $HOME"], r#"{"Cmd":["/bin/sh","-c","echo $HOME"]}"#);
    check(&["ENTRYPOINT [\"/a\"]"], r#"{"Entrypoint":["/a"]}"#);
    check(
        &["ENV A=1 B=\"x y\"", "ENV A 2 3"],
        r#"{"Env":["A=2 3","B=x y"]}"#,
    );
    check(
        &["ENV A=/a", "ENV B=$A/b", "WORKDIR $B"],
        r#"{"Env":["A=/a","B=/a/b"],"WorkingDir":"/a/b"}"#,
    );
    check(
        &["EXPOSE 80 53/UDP 8000-8001"],
        r#"{"ExposedPorts":{"53/udp":{},"80/tcp":{},"8000/tcp":{},"8001/tcp":{}}}"#,
    );
    check(
        &["LABEL a.b=c \"d e\"=f", "LABEL g h"],
        r#"{"Labels":{"a.b":"c","d e":"f","g":"h"}}"#,
    );
    check(
        &["USER app:app", "WORKDIR /a", "WORKDIR b/../c"],
        r#"{"User":"app:app","WorkingDir":"/a/c"}"#,
    );
    check(&["WORKDIR ../../x"], r#"{"WorkingDir":"/x"}"#);
    check(
        &["VOLUME /a /b", "VOLUME [\"/c d\"]"],
        r#"{"Volumes":{"/a":{},"/b":{},"/c d":{}}}"#,
    );
    check(&["STOPSIGNAL SIGQUIT"], r#"{"StopSignal":"SIGQUIT"}"#);
    check(&["ONBUILD RUN x", "# nothing", ""], r#"{"OnBuild":["RUN x"]}"#);
    check(
        &["HEALTHCHECK --interval=1m30s --retries=2 CMD curl -f x"],
        r#"{"Healthcheck":{"Interval":90000000000,"Retries":2,"StartInterval":0,"StartPeriod":0,"Test":["CMD-SHELL","curl -f x"],"Timeout":0}}"#,
    );
    check(&["USER a\nWORKDIR /b"], r#"{"User":"a","WorkingDir":"/b"}"#);
}

#[test]
fn what_cannot_be_done_is_named() {
    check(&["bogus x"], "bogus is not a valid change command");
    check(&["RUN ls"], "run is not a valid change command");
    check(&["FROM scratch"], "from is not a valid change command");
    check(&["CMD"], "CMD: arguments are missing: \"\"");
    check(&["ENV A"], "ENV: KEY=VALUE is required: \"A\"");
    check(&["ENV A=1 B"], "ENV: KEY=VALUE is required: \"B\"");
    check(&["ENV =1"], "ENV: KEY=VALUE is required: \"=1\"");
    check(&["EXPOSE 0"], "EXPOSE: not a port: \"0\"");
    check(&["EXPOSE 90-80"], "EXPOSE: not a port: \"90-80\"");
    check(&["EXPOSE 80/icmp"], "EXPOSE: not a port: \"80/icmp\"");
    check(&["EXPOSE +80"], "EXPOSE: not a port: \"+80\"");
    check(&["USER a b"], "USER: one argument is required: \"a b\"");
    check(&["STOPSIGNAL 65"], "STOPSIGNAL: not a signal: \"65\"");
    check(
        &["ONBUILD FROM x"],
        "ONBUILD: not allowed as a trigger: \"FROM x\"",
    );
    check(
        &["HEALTHCHECK --interval=x CMD a"],
        "HEALTHCHECK: not an option: \"interval=x\"",
    );
    check(&["HEALTHCHECK"], "HEALTHCHECK: NONE or CMD is required: \"\"");
}
