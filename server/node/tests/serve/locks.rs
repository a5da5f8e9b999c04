//! The lock and the leader module.

use crate::client::{Answer, Client, PATIENCE, Server, until};
use std::time::{Duration, Instant};

const LOCK: &str = "/mod/v2/lock/l";

/// The places in the queue of a lock, by index.
fn places(server: &Server, name: &str) -> Vec<u64> {
    let listed = server.ask("GET", &format!("/v2/keys/_etcd/mod/lock/{name}?sorted=true"), "");
    let nodes = listed.json()["node"]["nodes"].as_array().cloned();
    let index = |node: &serde_json::Value| {
        let key = node["key"].as_str().unwrap().to_owned();
        key.rsplit('/').next().unwrap().parse().unwrap()
    };
    nodes.unwrap_or_default().iter().map(index).collect()
}

fn taken(answer: &Answer) -> u64 {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body.parse().unwrap()
}

/// A connection on which a lock is waited for; its place is there already.
fn waiter(server: &Server, form: &str) -> Client {
    let before = places(server, "l").len();
    let mut client = server.client();
    let head = format!("POST {LOCK}?{form} HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n");
    client.send(head.as_bytes());
    until("a place in the queue", || {
        (places(server, "l").len() > before).then_some(())
    });
    client
}

#[test]
fn a_lock_is_taken_kept_and_let_go() {
    let server = Server::start();
    let never = server.ask("GET", LOCK, "");
    assert_eq!(
        (never.status, never.body.as_str()),
        (500, "100: Key not found (/_etcd/mod/lock/l) [3]\n")
    );
    let index = taken(&server.ask("POST", LOCK, "ttl=100&value=me"));
    assert_eq!(places(&server, "l"), [index]);
    for (field, body) in [
        ("", "me".to_owned()),
        ("?field=value", "me".to_owned()),
        ("?field=index", index.to_string()),
    ] {
        let shown = server.ask("GET", &format!("{LOCK}{field}"), "");
        assert_eq!((shown.status, shown.body), (200, body), "{field}");
        assert_eq!(
            server
                .ask("GET", &format!("{LOCK}{field}"), "")
                .header("Content-Type"),
            Some("text/plain; charset=utf-8")
        );
    }
    assert_eq!(
        taken(&server.ask("POST", LOCK, "ttl=200&value=me")),
        index,
        "the same value again"
    );
    let key = format!("/v2/keys/_etcd/mod/lock/l/{index:020}");
    let ttl = || {
        server.ask("GET", &key, "").json()["node"]["ttl"]
            .as_u64()
            .unwrap()
    };
    assert!((190..=200).contains(&ttl()));
    for (query, least) in [(format!("index={index}"), 290), ("value=me".to_owned(), 390)] {
        let renewed = server.ask("PUT", &format!("{LOCK}?ttl={}&{query}", least + 10), "");
        assert_eq!((renewed.status, renewed.body.as_str()), (200, ""), "{query}");
        assert!((least..=least + 10).contains(&ttl()), "{query}");
    }
    let released = server.ask("DELETE", &format!("{LOCK}?value=me"), "");
    assert_eq!((released.status, released.body.as_str()), (200, ""));
    let nobody = server.ask("GET", LOCK, "");
    assert_eq!((nobody.status, nobody.body.as_str()), (200, ""));
    assert_eq!(
        server
            .ask("PUT", &format!("{LOCK}?ttl=1&index={index}"), "")
            .status,
        500
    );
    assert_eq!(server.ask("DELETE", &format!("{LOCK}?index=x"), "").status, 500);
    taken(&server.ask("POST", LOCK, "ttl=100"));
    assert_eq!(server.ask("GET", LOCK, "").body, "-");
}

#[test]
fn waiters_get_the_lock_in_the_order_of_their_places() {
    let server = Server::start();
    let mut holder = taken(&server.ask("POST", LOCK, "ttl=100"));
    let mut waiters: Vec<Client> = (0..5).map(|_| waiter(&server, "ttl=100")).collect();
    let order = places(&server, "l");
    assert_eq!(order.len(), 6);
    for (at, client) in waiters.iter_mut().enumerate() {
        assert_eq!(holder, order[at]);
        let shown = server.ask("GET", &format!("{LOCK}?field=index"), "");
        assert_eq!(shown.body, holder.to_string());
        assert_eq!(
            server.ask("DELETE", &format!("{LOCK}?index={holder}"), "").status,
            200
        );
        holder = taken(&client.answer(false));
    }
    assert_eq!(places(&server, "l"), [order[5]]);
}

#[test]
fn a_place_goes_with_its_waiter_and_the_next_one_moves_up() {
    let server = Server::start();
    let holder = taken(&server.ask("POST", LOCK, "ttl=100"));
    let first = waiter(&server, "ttl=100");
    let mut second = waiter(&server, "ttl=100");
    drop(first);
    until("the end of the place", || {
        (places(&server, "l").len() == 2).then_some(())
    });
    assert_eq!(
        server.ask("DELETE", &format!("{LOCK}?index={holder}"), "").status,
        200
    );
    let next = taken(&second.answer(false));
    // The lock stays when the connection that it was waited for on goes.
    drop(second);
    assert_eq!(
        server.ask("GET", &format!("{LOCK}?field=index"), "").body,
        next.to_string()
    );
}

#[test]
fn a_place_lives_as_long_as_its_waiter_waits() {
    let server = Server::start();
    let holder = taken(&server.ask("POST", LOCK, "ttl=100"));
    let mut client = waiter(&server, "ttl=1&value=patient");
    let begun = Instant::now();
    // Two lives and more: without renewals the place were gone.
    until("a while", || {
        assert_eq!(places(&server, "l").len(), 2);
        (begun.elapsed() > Duration::from_millis(2_500)).then_some(())
    });
    assert_eq!(
        server.ask("DELETE", &format!("{LOCK}?index={holder}"), "").status,
        200
    );
    taken(&client.answer(false));
    until("the end of the lock by its time to live", || {
        places(&server, "l").is_empty().then_some(())
    });
}

#[test]
fn a_time_out_gives_the_place_up() {
    let server = Server::start();
    taken(&server.ask("POST", LOCK, "ttl=100&timeout=0"));
    for timeout in [0, 1] {
        let begun = Instant::now();
        let refused = server.ask("POST", LOCK, &format!("ttl=100&timeout={timeout}"));
        assert_eq!(
            (refused.status, refused.body.as_str()),
            (500, "the lock was not free in time\n")
        );
        assert!(begun.elapsed() >= Duration::from_secs(timeout) && begun.elapsed() < PATIENCE);
        assert_eq!(places(&server, "l").len(), 1);
    }
}

#[test]
fn a_waiter_whose_place_is_removed_is_told() {
    let server = Server::start();
    let holder = taken(&server.ask("POST", LOCK, "ttl=100"));
    let mut client = waiter(&server, "ttl=1");
    let place = places(&server, "l")[1];
    assert_eq!(
        server.ask("DELETE", &format!("{LOCK}?index={place}"), "").status,
        200
    );
    let told = client.answer(false);
    assert_eq!(told.status, 500);
    assert!(
        told.body.starts_with("100: Key not found (/_etcd/mod/lock/l/"),
        "{}",
        told.body
    );
    assert_eq!(places(&server, "l"), [holder]);
}

#[test]
fn the_end_of_the_node_ends_the_waiting() {
    let mut server = Server::start();
    taken(&server.ask("POST", LOCK, "ttl=100"));
    let mut client = waiter(&server, "ttl=100");
    let begun = Instant::now();
    server.begin_stop();
    assert_eq!(client.answer(false).status, 500);
    assert!(begun.elapsed() < Duration::from_secs(4), "not by force");
}

#[test]
fn wrong_parameters_are_refused_with_etcds_words() {
    let server = Server::start();
    for (request, form, code, cause) in [
        ("POST /mod/v2/lock/l", "", 202, "Acquire"),
        ("POST /mod/v2/lock/l", "ttl=x", 202, "Acquire"),
        ("POST /mod/v2/lock/l", "ttl=0", 202, "Acquire"),
        ("POST /mod/v2/lock/l", "ttl=1&timeout=x", 205, "Acquire"),
        ("PUT /mod/v2/lock/l", "index=1", 202, "Renew"),
        ("PUT /mod/v2/lock/l", "ttl=1", 207, "Renew"),
        ("PUT /mod/v2/lock/l", "ttl=1&index=1&value=x", 208, "Renew"),
        ("DELETE /mod/v2/lock/l", "", 207, "Release"),
        ("DELETE /mod/v2/lock/l?index=1&value=x", "", 208, "Release"),
        ("GET /mod/v2/lock/l?field=x", "", 209, "Get"),
        (
            "POST /mod/v2/lock/l?value=%zz",
            "",
            210,
            "invalid URL escape \"%zz\"",
        ),
        ("PUT /mod/v2/leader/l", "ttl=1", 206, "Set"),
        ("PUT /mod/v2/leader/l", "name=a", 202, "Acquire"),
        ("DELETE /mod/v2/leader/l", "", 206, "Delete"),
    ] {
        let (method, target) = request.split_once(' ').unwrap();
        let refused = server.ask(method, target, form);
        assert_eq!(refused.status, 400, "{request} {form}: {refused:?}");
        let document = refused.json();
        assert_eq!(
            (&document["errorCode"], &document["cause"]),
            (&code.into(), &cause.into()),
            "{request}"
        );
        assert_eq!(refused.header("X-Etcd-Index"), Some("0"));
        assert_eq!(refused.header("Content-Type"), Some("text/plain; charset=utf-8"));
    }
    for (request, status) in [
        ("PATCH /mod/v2/lock/l", 405),
        ("POST /mod/v2/leader/l", 405),
        ("GET /mod/v2/lock/", 404),
        ("GET /mod/v2/lock", 404),
        ("GET /mod/v2/x", 404),
    ] {
        let (method, target) = request.split_once(' ').unwrap();
        assert_eq!(server.ask(method, target, "").status, status, "{request}");
    }
}

#[test]
fn one_leads_until_it_steps_down() {
    let server = Server::start();
    let leader = "/mod/v2/leader/team/a b".replace(' ', "%20");
    let first = taken(&server.ask("PUT", &format!("{leader}?ttl=100&name=one"), ""));
    assert_eq!(server.ask("GET", &leader, "").body, "one");
    assert_eq!(
        taken(&server.ask("PUT", &leader, "ttl=100&name=one")),
        first,
        "leads already"
    );
    let mut client = server.client();
    client.send(
        format!("PUT {leader}?ttl=100&name=two HTTP/1.1\r\nHost: test\r\nContent-Length: 0\r\n\r\n")
            .as_bytes(),
    );
    until("the other's place", || {
        (places(&server, "team/a%20b").len() == 2).then_some(())
    });
    assert_eq!(server.ask("GET", &leader, "").body, "one");
    assert_eq!(
        server.ask("DELETE", &format!("{leader}?name=one"), "").status,
        200
    );
    assert!(taken(&client.answer(false)) > first);
    assert_eq!(server.ask("GET", &leader, "").body, "two");
    assert_eq!(
        server.ask("GET", "/mod/v2/lock/team/a%20b?field=value", "").body,
        "two",
        "it is a lock"
    );
}
