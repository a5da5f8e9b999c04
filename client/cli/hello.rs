//! The process of the built-in image: answers every request with its host name and address. Standard library only,
//! apart from the signals.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::exit;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};

/// The port inside the container.
const PORT: u16 = 80;

/// Longest wait for a request; a client that sends none is let go.
const PATIENCE: Duration = Duration::from_secs(5);

/// Longest head of a request that is read; what is longer is not read to its end.
const LONGEST_HEAD: usize = 8 * 1024;

/// Serves until SIGTERM or SIGINT. As pid 1 it would not be ended by them unless it waits for them.
pub(crate) fn run() -> ! {
    let mut ends = SigSet::empty();
    ends.add(Signal::SIGTERM);
    ends.add(Signal::SIGINT);
    let listener = ends
        .thread_block()
        .map_err(io::Error::from)
        .and_then(|()| TcpListener::bind(("0.0.0.0", PORT)));
    let listener = match listener {
        Ok(listener) => listener,
        Err(error) => {
            say(&format!("cannot listen on port {PORT}: {error}"));
            exit(1);
        }
    };
    say(&format!("{} answers on port {PORT}", host_name()));
    thread::spawn(move || serve(&listener));
    let ended = ends.wait();
    say(&format!("ended by {}", ended.map_or("an error", Signal::as_str)));
    exit(i32::from(ended.is_err()));
}

fn say(text: &str) {
    drop(writeln!(io::stdout().lock(), "hello: {text}"));
}

fn serve(listener: &TcpListener) {
    for stream in listener.incoming().flatten() {
        // A thread for each: one that cannot be made leaves its client without an answer, not the others.
        drop(thread::Builder::new().spawn(move || answer(stream)));
    }
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = read_head(&mut stream)?;
    let from = stream.peer_addr()?.ip();
    let line = request.lines().next().unwrap_or_default().to_owned();
    say(&format!("{from} {line}"));
    let body = format!("hello from {} at {}\n", host_name(), stream.local_addr()?);
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let body = if line.starts_with("HEAD ") { "" } else { &body };
    stream.write_all(format!("{head}{body}").as_bytes())
}

/// Reads up to the empty line.
fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while head.len() < LONGEST_HEAD && !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut piece)? {
            0 => break,
            count => head.extend_from_slice(&piece[..count]),
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}
