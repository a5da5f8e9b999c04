//! The URL surface beside the keys.

use crate::client::Server;

#[test]
fn every_route_answers_as_it_should() {
    let server =
        Server::with(|config| config.advertise_client_urls = vec!["http://b:1".into(), "http://a:1".into()]);
    let mut client = server.client();
    for (request, status, body) in [
        ("GET /", 404, "404 page not found\n"),
        ("GET /v2", 404, "404 page not found\n"),
        ("GET /v2/keysfoo", 404, "404 page not found\n"),
        ("GET /version/", 404, "404 page not found\n"),
        ("GET /v2/leader", 404, "404 page not found\n"),
        ("GET /v2/machines/", 404, "404 page not found\n"),
        ("GET /health/", 404, "404 page not found\n"),
        ("HEAD /v2/machines", 200, ""),
        ("POST /health", 405, "Method Not Allowed\n"),
        ("GET /v2/members/leader/", 404, "{\"message\":\"Not found\"}"),
        ("OPTIONS /anything", 200, ""),
        ("PATCH /v2/keys/k", 405, "Method Not Allowed\n"),
        ("HEAD /version", 405, ""),
        (
            "GET /version",
            200,
            "{\"etcdserver\":\"3.4.23\",\"etcdcluster\":\"3.4.0\"}",
        ),
        ("GET /health", 200, "{\"health\":\"true\"}"),
        ("GET /v2/machines", 200, "http://a:1, http://b:1"),
        ("POST /v2/machines", 405, "Method Not Allowed\n"),
        ("GET /v2/members/xyz", 404, "{\"message\":\"Not found\"}"),
        ("PUT /v2/members", 405, "Method Not Allowed\n"),
        ("GET /v2/keys/%zz", 400, "400 Bad Request"),
    ] {
        let (method, target) = request.split_once(' ').unwrap();
        let answer = client.ask(method, target, "");
        assert_eq!((answer.status, answer.body.as_str()), (status, body), "{request}");
        if answer.header("Connection").is_some() {
            client = server.client();
        }
    }
}

#[test]
fn the_one_member_is_listed_and_stays() {
    let server = Server::start();
    let list = server.ask("GET", "/v2/members", "");
    assert!(
        list.header("X-Etcd-Cluster-Id").is_some() && list.body.ends_with("]}\n"),
        "{list:?}"
    );
    let member = list.json()["members"][0].clone();
    assert_eq!(member["name"], "test");
    assert_eq!(member["clientURLs"][0], format!("http://{}", server.address()));
    assert_eq!(server.ask("GET", "/v2/members/leader", "").json(), member);
    for (method, target, status, message) in [
        ("POST", "/v2/members", 415, "Bad Content-Type"),
        ("DELETE", "/v2/members/ab", 404, "No such member: ab"),
        ("PUT", "/v2/members/ab", 415, "Bad Content-Type"),
    ] {
        let refused = server.ask(method, target, "");
        assert_eq!(refused.status, status, "{method} {target}: {refused:?}");
        let told = refused.json()["message"].as_str().unwrap().to_owned();
        assert!(told.starts_with(message), "{method} {target}: {told}");
    }
    let own = server.ask("GET", "/v2/stats/self", "").json();
    assert_eq!(
        (own["state"].as_str(), &own["id"]),
        (Some("StateLeader"), &member["id"])
    );
    let leader = server.ask("GET", "/v2/stats/leader", "");
    assert_eq!(
        leader.json(),
        serde_json::json!({ "leader": member["id"], "followers": {} })
    );
}

#[test]
fn unclean_paths_are_sent_elsewhere_and_nothing_is_written() {
    let server = Server::start();
    let answer = server.ask("PUT", "/v2/keys//a", "value=1");
    assert_eq!(
        (answer.status, answer.header("Location"), answer.body.as_str()),
        (301, Some("/v2/keys/a"), "")
    );
    let answer = server.ask("GET", "/v2/keys/a/../b?recursive=true&x", "");
    assert_eq!(answer.header("Location"), Some("/v2/keys/b?recursive=true&x"));
    assert_eq!(
        answer.body,
        "<a href=\"/v2/keys/b?recursive=true&amp;x\">Moved Permanently</a>.\n\n"
    );
    assert_eq!(server.ask("GET", "/v2/keys/a", "").status, 404);
}

#[test]
fn counters_and_metrics_move() {
    let server = Server::start();
    server.ask("PUT", "/v2/keys/k", "value=1");
    server.ask("GET", "/v2/keys/k", "");
    server.ask("GET", "/v2/keys/none", "");
    server.ask("DELETE", "/v2/keys/none", "");
    let stats = server.ask("GET", "/v2/stats/store", "").json();
    for (name, count) in [
        ("getsSuccess", 1),
        ("getsFail", 1),
        ("setsSuccess", 1),
        ("deleteFail", 1),
    ] {
        assert_eq!(stats[name], count, "{name}");
    }
    let metrics = server.ask("GET", "/metrics", "");
    assert_eq!(
        metrics.header("Content-Type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    for line in [
        "berth_raft_is_leader 1",
        "berth_store_index 4",
        "berth_store_writes_total 2",
    ] {
        assert!(
            metrics.body.contains(line),
            "{line} is missing in\n{}",
            metrics.body
        );
    }
}
