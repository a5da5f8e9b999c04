//! One key, many watchers: how many events a second reach them while writers keep a bounded number of events in flight.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::figures::cpu_seconds;

/// Open watches.
pub(crate) const WATCHERS: usize = 1_000;
/// Writes whose events have not reached everybody; etcd drops a watcher that is 100 events behind.
const WINDOW: u64 = 16;
/// How long to write.
const TIME: Duration = Duration::from_secs(5);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What one server did.
pub(crate) struct Delivered {
    pub(crate) per_second: f64,
    pub(crate) cpu_per_ten_thousand: f64,
}

struct Watcher {
    socket: TcpStream,
    /// The last byte that was read: an event ends with a brace and a newline, which may come apart.
    last: u8,
    events: u64,
}

/// Opens the watches, writes, and counts what comes.
pub(crate) fn measure(address: SocketAddr, process: u32) -> anyhow::Result<Delivered> {
    measure_with(address, process, WATCHERS)
}

/// The same with a number of watches.
pub(crate) fn measure_with(address: SocketAddr, process: u32, count: usize) -> anyhow::Result<Delivered> {
    let epoll = Epoll::new(EpollCreateFlags::empty())?;
    let mut watchers = Vec::with_capacity(count);
    for number in 0..count {
        let watcher = Watcher::open(address)?;
        epoll.add(
            &watcher.socket,
            EpollEvent::new(EpollFlags::EPOLLIN, number as u64),
        )?;
        watchers.push(watcher);
    }
    let mut writer = TcpStream::connect(address)?;
    writer.set_nodelay(true)?;
    epoll.add(&writer, EpollEvent::new(EpollFlags::EPOLLIN, count as u64))?;
    let put = format!(
        "PUT /v2/keys/fan/out HTTP/1.1\r\nHost: bench\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: 70\r\n\r\nvalue={}",
        "x".repeat(64)
    );
    let (mut written, mut answered) = (0, true);
    let mut ready = vec![EpollEvent::empty(); 256];
    let cpu = cpu_seconds(process);
    let begin = Instant::now();
    while begin.elapsed() < TIME {
        let slowest = watchers.iter().map(|watcher| watcher.events).min().unwrap_or(0);
        if answered && written < slowest + WINDOW {
            writer.write_all(put.as_bytes())?;
            written += 1;
            answered = false;
        }
        let happened = epoll.wait(&mut ready, EpollTimeout::from(1_000_u16))?;
        ensure!(happened > 0, "no event within a second");
        for event in &ready[..happened] {
            match watchers.get_mut(usize::try_from(event.data())?) {
                Some(watcher) => watcher.read()?,
                None => {
                    let count = writer.read(&mut [0; 4096])?;
                    ensure!(count > 0, "the writer's connection ended");
                    answered = true;
                }
            }
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    let cpu = cpu_seconds(process) - cpu;
    let events: u64 = watchers.iter().map(|watcher| watcher.events).sum();
    #[allow(clippy::cast_precision_loss, reason = "far below 2^52 events")]
    let events = events as f64;
    Ok(Delivered {
        per_second: events / seconds,
        cpu_per_ten_thousand: cpu / events * 1e4,
    })
}

impl Watcher {
    /// Opens a watch, and waits for the head of its answer.
    fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.write_all(
            b"GET /v2/keys/fan?wait=true&stream=true&recursive=true HTTP/1.1\r\nHost: bench\r\n\r\n",
        )?;
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            socket.read_exact(&mut byte).context("no head of a watch")?;
            head.push(byte[0]);
        }
        ensure!(
            head.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&head)
        );
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            last: 0,
            events: 0,
        })
    }

    fn read(&mut self) -> anyhow::Result<()> {
        let mut bytes = [0; 16 << 10];
        match self.socket.read(&mut bytes) {
            Ok(0) => anyhow::bail!("a watch ended after {} events", self.events),
            Ok(count) => {
                for byte in &bytes[..count] {
                    self.events += u64::from(self.last == b'}' && *byte == b'\n');
                    self.last = *byte;
                }
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
