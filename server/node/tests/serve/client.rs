//! A node in a scratch directory, and an HTTP/1.1 client with nothing between the test and the wire.

use berth_node::{ClientLimits, Node, NodeConfig, NodeError};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Longest wait for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running node.
pub(crate) struct Server {
    node: Option<Node>,
    runtime: Runtime,
    pub(crate) dir: TempDir,
}

pub(crate) fn config(data_dir: &Path) -> NodeConfig {
    NodeConfig {
        name: "test".to_owned(),
        data_dir: data_dir.to_owned(),
        client_listen: vec!["127.0.0.1:0".parse().unwrap()],
        peer_listen: None,
        advertise_client_urls: Vec::new(),
        advertise_peer_urls: Vec::new(),
        initial_cluster: None,
        discovery: None,
        discovery_srv: None,
        snapshot_count: 10_000,
        heartbeat: Duration::from_millis(100),
        election_timeout: Duration::from_secs(1),
        cors: Vec::new(),
        clients: ClientLimits::default(),
        tls: berth_node::NodeTls::default(),
        set_log_level: None,
    }
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

impl Server {
    pub(crate) fn start() -> Server {
        Server::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut NodeConfig)) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config(dir.path());
        change(&mut config);
        Server::start_in(dir, config).unwrap()
    }

    pub(crate) fn start_in(dir: TempDir, config: NodeConfig) -> Result<Server, NodeError> {
        let runtime = runtime();
        let node = runtime.block_on(Node::start(config))?;
        Ok(Server {
            node: Some(node),
            runtime,
            dir,
        })
    }

    pub(crate) fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.node().client_addrs()[0]
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address())
    }

    /// One request on a connection of its own.
    pub(crate) fn ask(&self, method: &str, target: &str, form: &str) -> Answer {
        self.client().ask(method, target, form)
    }

    /// Ends the node in order and gives back its directory.
    pub(crate) fn stop(mut self) -> TempDir {
        self.runtime.block_on(self.node.take().unwrap().shutdown());
        self.dir
    }

    /// Begins the node's end, and gives what tells of it.
    pub(crate) fn begin_stop(&mut self) -> tokio::task::JoinHandle<()> {
        let node = self.node.take().unwrap();
        self.runtime.spawn(node.shutdown())
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A connection.
pub(crate) struct Client {
    pub(crate) reader: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Client {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Client {
            reader: BufReader::new(socket),
        }
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).unwrap();
    }

    pub(crate) fn ask(&mut self, method: &str, target: &str, form: &str) -> Answer {
        let form_type = "Content-Type: application/x-www-form-urlencoded\r\n";
        let kind = if form.is_empty() { "" } else { form_type };
        let length = form.len();
        let head =
            format!("{method} {target} HTTP/1.1\r\nHost: test\r\n{kind}Content-Length: {length}\r\n\r\n");
        self.send((head + form).as_bytes());
        self.answer(method == "HEAD")
    }

    pub(crate) fn answer(&mut self, head_only: bool) -> Answer {
        let mut answer = self.head();
        if head_only {
            return answer;
        }
        if answer.header("Transfer-Encoding") == Some("chunked") {
            while let Some(chunk) = self.chunk() {
                answer.body.push_str(&chunk);
            }
            return answer;
        }
        let length = answer
            .header("Content-Length")
            .map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body).unwrap();
        answer.body = String::from_utf8(body).unwrap();
        answer
    }

    pub(crate) fn head(&mut self) -> Answer {
        let mut head = String::new();
        loop {
            let mut line = String::new();
            let read = self.reader.read_line(&mut line).unwrap();
            assert!(read > 0, "closed before the end of a head: {head:?}");
            if line == "\r\n" {
                break;
            }
            head.push_str(&line);
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer {
            status,
            head,
            body: String::new(),
        }
    }

    /// The next chunk; `None` at the end of the body.
    pub(crate) fn chunk(&mut self) -> Option<String> {
        let mut size = String::new();
        self.reader.read_line(&mut size).unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or_else(|_| panic!("not a chunk: {size:?}"));
        let mut data = vec![0; size + 2];
        self.reader.read_exact(&mut data).unwrap();
        data.truncate(size);
        (size > 0).then(|| String::from_utf8(data).unwrap())
    }

    pub(crate) fn event(&mut self) -> Option<serde_json::Value> {
        self.chunk().map(|line| serde_json::from_str(&line).unwrap())
    }

    /// Whether the server closes the connection within a time.
    pub(crate) fn is_closed_within(&mut self, time: Duration) -> bool {
        self.reader.get_ref().set_read_timeout(Some(time)).unwrap();
        let mut rest = Vec::new();
        match self.reader.read_to_end(&mut rest) {
            Ok(_) => true,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

/// Asks until there is an answer, with a deadline.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}
