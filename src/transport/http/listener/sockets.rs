//! The sockets that a server listens on: opened, and closed without losing whom they have let in.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, ToSocketAddrs};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Connections that the system keeps until they are accepted. macOS keeps 128 unless `kern.ipc.somaxconn` says otherwise.
const BACKLOG: i32 = 1024;

/// Listens on every address of a place that can be listened on.
///
/// # Errors
/// If there is none; the last one's error.
pub(super) fn listen(place: (&str, u16)) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    let mut failed = io::Error::new(io::ErrorKind::AddrNotAvailable, "the host has no address");
    for address in place.to_socket_addrs()? {
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
    // Else a server that is started again would wait until the system has forgotten its last connections.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Lets no new connection begin, while connections that have begun can still be accepted. The system does not answer a client that
/// tries, and the client's system tries again a second later.
#[cfg(target_os = "linux")]
pub(super) fn let_none_begin(listener: &TcpListener) {
    use socket2::SockFilter;

    // Of the TCP header, byte 13 has the flags; a segment with SYN begins a connection (RFC 9293, section 3.1).
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

/// Does nothing: Linux alone has such a filter. A connection that begins while the server stops may be reset.
#[cfg(not(target_os = "linux"))]
pub(super) fn let_none_begin(_: &TcpListener) {}

/// Has the system refuse new connections, and reset those that are not accepted.
pub(super) fn refuse(listener: &TcpListener) {
    // As `shutdown` and not by closing it: the accepting thread holds the same socket.
    if let Err(error) = SockRef::from(listener).shutdown(Shutdown::Read) {
        tracing::debug!("cannot close a listening socket: {error}");
    }
}
