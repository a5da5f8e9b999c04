//! The announcer against a small store in this process, which knows just what the announcer uses.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Instant;

use berth_engine::RegisteredPort;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::*;

/// Longest wait for any condition.
const PATIENCE: Duration = Duration::from_secs(10);

/// Keys, and every write request in its own words.
#[derive(Debug, Default)]
struct Shelf {
    keys: BTreeMap<String, String>,
    requests: Vec<String>,
}

#[derive(Debug)]
struct FakeStore {
    address: SocketAddr,
    shelf: Arc<Mutex<Shelf>>,
    server: JoinHandle<()>,
}

impl FakeStore {
    async fn start(address: &str, shelf: Arc<Mutex<Shelf>>) -> Self {
        let listener = TcpListener::bind(address).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::clone(&shelf);
        let server = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self {
            address,
            shelf,
            server,
        }
    }

    fn value(&self, key: &str) -> Option<String> {
        self.shelf.lock().expect("the shelf").keys.get(key).cloned()
    }

    fn put(&self, key: &str, value: Option<&str>) {
        let keys = &mut self.shelf.lock().expect("the shelf").keys;
        match value {
            Some(value) => drop(keys.insert(key.to_owned(), value.to_owned())),
            None => drop(keys.remove(key)),
        }
    }

    fn count(&self, words: &str) -> usize {
        let shelf = self.shelf.lock().expect("the shelf");
        shelf
            .requests
            .iter()
            .filter(|request| request.contains(words))
            .count()
    }
}

async fn serve(stream: TcpStream, shelf: Arc<Mutex<Shelf>>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let mut length = 0;
    loop {
        let mut header = String::new();
        stream.read_line(&mut header).await.ok()?;
        if header.trim().is_empty() {
            break;
        }
        if let Some(value) = header.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let body = String::from_utf8_lossy(&body).replace("%3A", ":");
    let (status, document) = act(
        &line.replace("%3A", ":"),
        &body,
        &mut shelf.lock().expect("the shelf"),
    );
    let answer = format!(
        "HTTP/1.1 {status} X\r\nX-Etcd-Index: 1\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{document}",
        document.len()
    );
    stream.write_all(answer.as_bytes()).await.ok()
}

fn act(line: &str, body: &str, shelf: &mut Shelf) -> (u16, String) {
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let key = path.trim_start_matches("/v2/keys").to_owned();
    shelf.requests.push(format!("{method} {target} {body}"));
    let field = |name: &str| {
        let pairs = query.split('&').chain(body.split('&'));
        pairs
            .filter_map(|pair| pair.split_once('='))
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value)
    };
    let refuse = |status, code: u16| {
        (
            status,
            format!(r#"{{"errorCode":{code},"message":"m","cause":"{key}","index":1}}"#),
        )
    };
    let old = shelf.keys.get(&key).cloned();
    if field("dir").is_some() {
        return refuse(403, 108);
    }
    match (field("prevValue"), field("prevExist"), &old) {
        (Some(_), _, None) => return refuse(404, 100),
        (Some(wanted), _, Some(have)) if wanted != have => return refuse(412, 101),
        (_, Some("false"), Some(_)) => return refuse(412, 105),
        _ => {}
    }
    if method == "DELETE" {
        shelf.keys.remove(&key);
    } else if field("refresh").is_none() {
        shelf
            .keys
            .insert(key.clone(), field("value").unwrap_or_default().to_owned());
    }
    (200, format!(r#"{{"action":"x","node":{{"key":"{key}"}}}}"#))
}

fn container(name: &str, address: &str) -> Registration {
    Registration {
        container_id: "0".repeat(64),
        name: name.to_owned(),
        labels: BTreeMap::new(),
        endpoints: vec![RegisteredPort {
            port: 80,
            protocol: "tcp".to_owned(),
            address: format!("{address}:80"),
            published: None,
        }],
    }
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "no {what} within {PATIENCE:?}");
        tokio::task::yield_now().await;
        sleep(Duration::from_millis(2)).await;
    }
}

/// An announcer at work.
struct Bench {
    running: watch::Sender<Arc<Vec<Registration>>>,
    stop: oneshot::Sender<()>,
    announcer: JoinHandle<()>,
}

impl Bench {
    fn start(address: SocketAddr, book: &Path) -> Self {
        let store = EtcdClient::from_list(&address.to_string()).expect("an address");
        let announcer = Announcer::new(store, "services/", 1, Book::open(book).expect("a book"));
        let (running, published) = watch::channel(Arc::default());
        let (stop, stopped) = oneshot::channel();
        let announcer = tokio::spawn(announcer.run(published, stopped));
        Self {
            running,
            stop,
            announcer,
        }
    }

    fn runs(&self, containers: &[Registration]) {
        self.running.send_replace(Arc::new(containers.to_vec()));
    }

    async fn stop(self) {
        self.stop.send(()).expect("an announcer");
        self.announcer.await.expect("an end");
    }
}

/// A path for the book that is removed at the end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("berth-book-{}-{name}.json", std::process::id()));
        drop(std::fs::remove_file(&path));
        Self(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

const WEB: &str = "/services/web/80-tcp";

#[tokio::test]
async fn keys_follow_the_containers_and_are_refreshed() {
    let store = FakeStore::start("127.0.0.1:0", Arc::default()).await;
    let place = Place::new("follow");
    let bench = Bench::start(store.address, &place.0);
    bench.runs(&[container("web", "10.0.0.2")]);
    until("key", || store.value(WEB).as_deref() == Some("10.0.0.2:80")).await;
    until("refresh", || store.count("refresh=true") > 1).await;
    bench.runs(&[container("web", "10.0.0.3")]);
    until("new address", || {
        store.value(WEB).as_deref() == Some("10.0.0.3:80")
    })
    .await;
    bench.runs(&[]);
    until("removal", || store.value(WEB).is_none()).await;
    bench.runs(&[container("web", "10.0.0.4")]);
    until("key", || store.value(WEB).is_some()).await;
    bench.stop().await;
    assert_eq!(store.value(WEB), None, "a clean end takes the keys away");
}

#[tokio::test]
async fn a_key_of_somebody_else_is_neither_refreshed_nor_removed() {
    let store = FakeStore::start("127.0.0.1:0", Arc::default()).await;
    let place = Place::new("foreign");
    let bench = Bench::start(store.address, &place.0);
    bench.runs(&[container("web", "10.0.0.2")]);
    until("key", || store.value(WEB).is_some()).await;
    store.put(WEB, Some("other"));
    let before = store.count("refresh=true");
    until("refresh", || store.count("refresh=true") > before + 1).await;
    assert_eq!(store.value(WEB).as_deref(), Some("other"));
    store.put(WEB, None);
    until("key again", || store.value(WEB).as_deref() == Some("10.0.0.2:80")).await;
    store.put(WEB, Some("other"));
    bench.stop().await;
    assert_eq!(store.value(WEB).as_deref(), Some("other"));
}

#[tokio::test]
async fn the_next_engine_removes_what_the_last_one_left() {
    let store = FakeStore::start("127.0.0.1:0", Arc::default()).await;
    let place = Place::new("stale");
    let bench = Bench::start(store.address, &place.0);
    bench.runs(&[container("web", "10.0.0.2"), container("old", "10.0.0.3")]);
    until("keys", || {
        store.value(WEB).is_some() && store.value("/services/old/80-tcp").is_some()
    })
    .await;
    // As SIGKILL does it.
    bench.announcer.abort();
    store.put("/services/other/80-tcp", Some("10.0.0.9:80"));
    let bench = Bench::start(store.address, &place.0);
    bench.runs(&[container("web", "10.0.0.2")]);
    until("removal", || store.value("/services/old/80-tcp").is_none()).await;
    until("key", || store.value(WEB).is_some()).await;
    assert!(store.value("/services/other/80-tcp").is_some());
    bench.stop().await;
}

#[tokio::test]
async fn a_store_that_is_away_is_waited_for() {
    let shelf = Arc::new(Mutex::new(Shelf::default()));
    let store = FakeStore::start("127.0.0.1:0", Arc::clone(&shelf)).await;
    let address = store.address;
    store.server.abort();
    drop(store.server.await);
    let place = Place::new("away");
    let bench = Bench::start(address, &place.0);
    bench.runs(&[container("web", "10.0.0.2")]);
    let store = FakeStore::start(&address.to_string(), shelf).await;
    until("key", || store.value(WEB).is_some()).await;
    bench.stop().await;
}

#[test]
fn an_unknown_version_of_the_book_is_refused() {
    let place = Place::new("version");
    std::fs::write(&place.0, r#"{"version":99,"keys":{}}"#).expect("a file");
    let error = Book::open(&place.0).expect_err("a refusal").to_string();
    assert!(
        error.contains("version 99") && error.contains("version 1"),
        "{error}"
    );
    std::fs::write(&place.0, "nonsense").expect("a file");
    assert!(Book::open(&place.0).is_err());
}

#[test]
fn one_key_for_each_port() {
    let mut web = container("web", "10.0.0.2");
    web.endpoints.push(RegisteredPort {
        port: 53,
        protocol: "udp".to_owned(),
        address: "10.0.0.2:53".to_owned(),
        published: Some("0.0.0.0:53".to_owned()),
    });
    let keys: Vec<_> = wanted(&[web], "/services").into_iter().collect();
    let wanted = [("/services/web/53-udp", "10.0.0.2:53"), (WEB, "10.0.0.2:80")];
    assert_eq!(
        keys,
        wanted.map(|(key, value)| (key.to_owned(), value.to_owned()))
    );
}
