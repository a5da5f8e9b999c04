//! Answers one container on its sockets until the task is aborted.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use berth_exec::NameSockets;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::answer::{Outcome, answer, failure};
use super::forward;
use super::table::NameTable;

/// Questions of one container that are being answered; further ones are dropped, and asked again by whoever asks.
const AT_ONCE: usize = 256;

/// Streams of one container; further ones wait to be accepted.
const STREAMS: usize = 16;

/// How long a stream may say nothing.
const IDLE: Duration = Duration::from_secs(10);

/// The longest question, in bytes: a longer datagram is cut, and no question then.
const QUESTION: usize = 4096;

/// The pause after a socket has failed, so that a lasting failure does not take all of a processor.
const PAUSE: Duration = Duration::from_millis(100);

/// Who asks, and by what it is answered.
#[derive(Debug, Clone)]
struct Desk {
    container: Arc<str>,
    table: watch::Receiver<Arc<NameTable>>,
    /// The host's name servers.
    servers: Arc<[IpAddr]>,
}

pub(super) async fn serve(
    container: String,
    sockets: NameSockets,
    table: watch::Receiver<Arc<NameTable>>,
    servers: Vec<IpAddr>,
) {
    let opened = UdpSocket::from_std(sockets.datagrams)
        .and_then(|datagrams| Ok((datagrams, TcpListener::from_std(sockets.streams)?)));
    let desk = Desk {
        container: container.into(),
        table,
        servers: servers.into(),
    };
    match opened {
        Ok((socket, listener)) => {
            tokio::join!(datagrams(desk.clone(), Arc::new(socket)), streams(desk, listener));
        }
        Err(error) => {
            tracing::error!(container = &*desk.container, %error, "the resolver of a container cannot be served");
        }
    }
}

impl Desk {
    async fn answer(&self, question: &[u8], stream: bool) -> Option<Vec<u8>> {
        let table = Arc::clone(&self.table.borrow());
        match answer(&table, &self.container, question, stream) {
            Outcome::Answer(bytes) => Some(bytes),
            Outcome::Ignore => None,
            Outcome::Ask => {
                let servers = match table.servers(&self.container) {
                    Some([]) => &*self.servers,
                    Some(own) => own,
                    None => &[],
                };
                let answer = forward::ask(servers, question, stream).await;
                answer.or_else(|| failure(question))
            }
        }
    }
}

async fn datagrams(desk: Desk, socket: Arc<UdpSocket>) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    // Ends with this future: no answer outlives its container.
    let mut answers = JoinSet::new();
    let mut buffer = vec![0; QUESTION];
    loop {
        let (length, from) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                pause(&desk, &error).await;
                continue;
            }
        };
        while answers.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            continue;
        };
        let (desk, socket, question) = (desk.clone(), Arc::clone(&socket), buffer[..length].to_vec());
        answers.spawn(async move {
            if let Some(answer) = desk.answer(&question, false).await {
                send(&socket, &answer, from).await;
            }
            drop(place);
        });
    }
}

async fn send(socket: &UdpSocket, answer: &[u8], to: SocketAddr) {
    if let Err(error) = socket.send_to(answer, to).await {
        tracing::debug!(%error, "an answer was not sent");
    }
}

async fn streams(desk: Desk, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(STREAMS));
    let mut talks = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        while talks.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, _)) => {
                let desk = desk.clone();
                talks.spawn(async move {
                    if let Err(error) = talk(&desk, stream).await {
                        tracing::debug!(%error, "a stream of questions ended");
                    }
                    drop(place);
                });
            }
            Err(error) => pause(&desk, &error).await,
        }
    }
}

async fn talk(desk: &Desk, mut stream: TcpStream) -> io::Result<()> {
    loop {
        let Ok(question) = timeout(IDLE, forward::read(&mut stream)).await else {
            return Ok(());
        };
        let Some(answer) = desk.answer(&question?, true).await else {
            return Ok(());
        };
        forward::write(&mut stream, &answer).await?;
    }
}

async fn pause(desk: &Desk, error: &io::Error) {
    tracing::debug!(container = &*desk.container, %error, "a socket of a resolver failed");
    tokio::time::sleep(PAUSE).await;
}
