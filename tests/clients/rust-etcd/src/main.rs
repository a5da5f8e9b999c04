//! Drives a store with the etcd crate, as a program that uses it would: keys, conditions, watches, members, stats.
#![forbid(unsafe_code)]

use std::time::Duration;

use etcd::kv::{self, Action, GetOptions, KeyValueInfo, Node, WatchError, WatchOptions};
use etcd::{members, stats, Client, Error, Response};
use futures::{Future, Stream};
use hyper::client::HttpConnector;
use tokio::runtime::Runtime;

type Http = Client<HttpConnector>;

struct Store {
    runtime: Runtime,
    client: Http,
}

impl Store {
    fn ask<F>(&mut self, request: F) -> Result<F::Item, F::Error>
    where
        F: Future + Send + 'static,
        F::Item: Send + 'static,
        F::Error: Send + 'static,
    {
        self.runtime.block_on(request)
    }

    /// The node of an answer that must carry `action`.
    fn done<F>(&mut self, action: Action, request: F) -> Node
    where
        F: Future<Item = Response<KeyValueInfo>, Error = Vec<Error>> + Send + 'static,
    {
        let answer = self.ask(request).expect("the request must succeed");
        assert_eq!(answer.data.action, action);
        let cluster = answer.cluster_info;
        assert!(cluster.cluster_id.is_some(), "{cluster:?}");
        assert!(cluster.etcd_index.is_some() && cluster.raft_index.is_some() && cluster.raft_term.is_some());
        answer.data.node
    }

    /// A request that must be refused with `code`.
    fn refused<F>(&mut self, code: u64, request: F)
    where
        F: Future<Item = Response<KeyValueInfo>, Error = Vec<Error>> + Send + 'static,
    {
        match self.ask(request) {
            Ok(answer) => panic!("not refused with {code}: {:?}", answer.data),
            Err(errors) => match errors.first() {
                Some(Error::Api(error)) => assert_eq!(error.error_code, code, "{error:?}"),
                other => panic!("not an answer of the store: {other:?}"),
            },
        }
    }
}

fn main() {
    let url = std::env::args().nth(1).expect("the store's URL");
    let client = Client::new(&[&url], None).expect("a client");
    let runtime = Runtime::new().expect("a runtime");
    let mut store = Store { runtime, client };
    keys(&mut store);
    conditions(&mut store);
    directories(&mut store);
    watches(&mut store);
    cluster(&mut store, &url);
}

fn keys(store: &mut Store) {
    let client = store.client.clone();
    let made = store.done(Action::Create, kv::create(&client, "/k", "1", Some(60)));
    assert_eq!((made.value.as_deref(), made.ttl), (Some("1"), Some(60)));
    assert!(made.expiration.is_some_and(|text| text.ends_with('Z')));
    store.refused(105, kv::create(&client, "/k", "1", None));
    store.done(Action::Set, kv::set(&client, "/k", "2", None));
    let updated = store.done(Action::Update, kv::update(&client, "/k", "3", None));
    assert!(updated.modified_index > updated.created_index);
    let strong = GetOptions {
        strong_consistency: true,
        ..GetOptions::default()
    };
    assert_eq!(
        store
            .done(Action::Get, kv::get(&client, "/k", strong))
            .value
            .as_deref(),
        Some("3")
    );
    store.done(Action::Delete, kv::delete(&client, "/k", false));
    store.refused(100, kv::get(&client, "/k", GetOptions::default()));
    store.refused(100, kv::update(&client, "/k", "3", None));
    let keys: Vec<String> = (0..5)
        .map(|_| {
            store
                .done(Action::Create, kv::create_in_order(&client, "/queue", "v", None))
                .key
                .unwrap()
        })
        .collect();
    assert!(keys.windows(2).all(|pair| pair[0] < pair[1]), "{keys:?}");
}

fn conditions(store: &mut Store) {
    let client = store.client.clone();
    let node = store.done(Action::Set, kv::set(&client, "/c", "1", None));
    let index = node.modified_index;
    store.refused(
        101,
        kv::compare_and_swap(&client, "/c", "2", None, Some("0"), None),
    );
    store.refused(101, kv::compare_and_swap(&client, "/c", "2", None, None, Some(1)));
    let node = store.done(
        Action::CompareAndSwap,
        kv::compare_and_swap(&client, "/c", "2", Some(60), Some("1"), index),
    );
    let index = node.modified_index;
    store.refused(101, kv::compare_and_delete(&client, "/c", Some("1"), index));
    store.done(
        Action::CompareAndDelete,
        kv::compare_and_delete(&client, "/c", Some("2"), index),
    );
    store.refused(100, kv::compare_and_delete(&client, "/c", Some("2"), None));
}

fn directories(store: &mut Store) {
    let client = store.client.clone();
    let made = store.done(Action::Create, kv::create_dir(&client, "/d", None));
    assert_eq!(made.dir, Some(true));
    store.refused(105, kv::create_dir(&client, "/d", None));
    store.done(Action::Set, kv::set(&client, "/d/b", "1", None));
    store.done(Action::Set, kv::set(&client, "/d/a/deep", "1", None));
    store.done(Action::Set, kv::set_dir(&client, "/e", Some(50)));
    let updated = store.done(Action::Update, kv::update_dir(&client, "/e", Some(90)));
    assert_eq!(updated.ttl, Some(90));
    let options = GetOptions {
        recursive: true,
        sort: true,
        ..GetOptions::default()
    };
    let tree = store
        .done(Action::Get, kv::get(&client, "/d", options))
        .nodes
        .unwrap();
    let names: Vec<_> = tree.iter().map(|node| node.key.clone().unwrap()).collect();
    assert_eq!(names, ["/d/a", "/d/b"]);
    assert_eq!(
        tree[0].nodes.as_ref().unwrap()[0].key.as_deref(),
        Some("/d/a/deep")
    );
    store.refused(108, kv::delete_dir(&client, "/d"));
    store.refused(102, kv::delete(&client, "/d", false));
    store.done(Action::Delete, kv::delete(&client, "/d", true));
    store.done(Action::Delete, kv::delete_dir(&client, "/e"));
}

fn watches(store: &mut Store) {
    let client = store.client.clone();
    let first = store
        .done(Action::Set, kv::set(&client, "/w", "1", None))
        .modified_index;
    store.done(Action::Set, kv::set(&client, "/w", "2", None));
    let past = WatchOptions {
        index: first,
        ..WatchOptions::default()
    };
    let seen = store
        .ask(kv::watch(&client, "/w", past))
        .expect("an event of the past");
    assert_eq!(seen.data.node.value.as_deref(), Some("1"));

    // The next index of all: whichever of the two requests comes first, the event is the same.
    let options = WatchOptions {
        index: first.map(|index| index + 2),
        recursive: true,
        timeout: Some(Duration::from_secs(10)),
    };
    let event = kv::watch(&client, "/tree", options).map_err(|error| panic!("watch: {error:?}"));
    let write = kv::set(&client, "/tree/below", "v", Some(1)).map_err(|error| panic!("set: {error:?}"));
    let (event, written): (Response<KeyValueInfo>, Response<KeyValueInfo>) = store
        .ask(event.join(write))
        .unwrap_or_else(|()| panic!("both must succeed"));
    assert_eq!(event.data.node.key.as_deref(), Some("/tree/below"));
    assert_eq!(event.data.node.modified_index, written.data.node.modified_index);

    let expiry = WatchOptions {
        index: written.data.node.modified_index.map(|index| index + 1),
        recursive: true,
        timeout: Some(Duration::from_secs(10)),
    };
    let gone = store
        .ask(kv::watch(&client, "/tree", expiry))
        .expect("the expiry");
    assert_eq!(gone.data.action, Action::Expire);
    assert_eq!(gone.data.prev_node.unwrap().value.as_deref(), Some("v"));

    let short = WatchOptions {
        timeout: Some(Duration::from_millis(300)),
        ..WatchOptions::default()
    };
    match store.ask(kv::watch(&client, "/nothing", short)) {
        Err(WatchError::Timeout) => {}
        other => panic!("nothing happens there: {other:?}"),
    }
}

fn cluster(store: &mut Store, url: &str) {
    let client = store.client.clone();
    let listed = store.ask(members::list(&client)).expect("members").data;
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0].client_urls, [url]);
    let own = store.ask(stats::self_stats(&client).collect()).expect("stats");
    assert_eq!(own[0].data.leader_info.id, listed[0].id);
    assert_eq!(own[0].data.name, listed[0].name);
    let leader = store
        .ask(stats::leader_stats(&client))
        .expect("the leader's stats")
        .data;
    assert_eq!(leader.leader, listed[0].id);
    let counts = store.ask(stats::store_stats(&client).collect()).expect("counts");
    assert!(counts[0].data.create_success > 0 && counts[0].data.expire_count > 0);
    let versions = store.ask(client.versions().collect()).expect("versions");
    assert!(!versions[0].data.server_version.is_empty());
    let health = store.ask(client.health().collect()).expect("health");
    assert_eq!(health[0].data.health, "true");
}
