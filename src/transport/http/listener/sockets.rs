//! Opens listening sockets, and closes them without losing a connection that a client has opened.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, ToSocketAddrs};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// The most connections that the system queues until they are accepted. macOS queues 128, unless `kern.ipc.somaxconn` says
/// otherwise.
const BACKLOG: i32 = 1024;

/// Listens on all addresses of a host that allow it.
///
/// # Errors
/// The last address's error, if none allows it.
pub(super) fn listen(host: &str, port: u16) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    let mut failed = io::Error::new(io::ErrorKind::AddrNotAvailable, "the host has no address");
    for address in (host, port).to_socket_addrs()? {
        match listen_on(address) {
            Ok(listener) => listeners.push(listener),
            Err(error) => failed = error,
        }
    }
    if listeners.is_empty() {
        return Err(failed);
    }
    Ok(listeners)
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Without this, a restarted server would have to wait until the system forgets the last connections.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Makes the system ignore new connections. Those that have begun can still be accepted. The client's system tries an ignored
/// connection again a second later.
#[cfg(target_os = "linux")]
pub(super) fn ignore_new(listener: &TcpListener) {
    use socket2::SockFilter;

    // Byte 13 of the TCP header has the flags. A segment with the flag SYN begins a connection (RFC 9293, section 3.1).
    let filter = [
        SockFilter::new(0x30, 0, 0, 13),       // load the byte
        SockFilter::new(0x45, 0, 1, 0x02),     // is SYN set?
        SockFilter::new(0x06, 0, 0, 0),        // yes: drop the segment
        SockFilter::new(0x06, 0, 0, u32::MAX), // no: take all of it
    ];
    if let Err(error) = SockRef::from(listener).attach_filter(&filter) {
        tracing::debug!("cannot filter new connections: {error}");
    }
}

/// Does nothing, because only Linux has such a filter. Elsewhere a connection that begins while the server stops may be reset.
#[cfg(not(target_os = "linux"))]
pub(super) fn ignore_new(_: &TcpListener) {}

/// Makes the system refuse new connections, and reset those that are not accepted.
pub(super) fn refuse(listener: &TcpListener) {
    // This shuts the socket down and does not close it, because the accepting thread holds the same socket.
    if let Err(error) = SockRef::from(listener).shutdown(Shutdown::Read) {
        tracing::debug!("cannot close a listening socket: {error}");
    }
}
