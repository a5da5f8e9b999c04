//! Tells the service manager that started this process (systemd's `Type=notify`) that it is ready.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The variable with the manager's socket; without it nobody waits.
const VARIABLE: &str = "NOTIFY_SOCKET";

/// Says that this process is ready. A manager that cannot be reached is told of in the log: it may end the process.
pub(crate) fn ready() {
    let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) else {
        return;
    };
    if let Err(error) = send(path.as_bytes(), b"READY=1\n") {
        tracing::warn!(%error, socket = %path.to_string_lossy(), "the service manager was not told");
    }
}

fn send(path: &[u8], message: &[u8]) -> io::Result<()> {
    let address = match path.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(path))?,
    };
    UnixDatagram::unbound()?.send_to_addr(message, &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::send;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    #[test]
    fn a_socket_without_a_file_is_reached() {
        let name = format!("berth-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("an address");
        let manager = UnixDatagram::bind_addr(&address).expect("a socket");
        send(format!("@{name}").as_bytes(), b"READY=1\n").expect("sent");
        let mut message = [0; 16];
        let length = manager.recv(&mut message).expect("a message");
        assert_eq!(&message[..length], b"READY=1\n");
        assert!(send(b"/nonexistent/socket", b"x").is_err());
    }
}
