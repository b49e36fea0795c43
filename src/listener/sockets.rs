//! The sockets that a server listens on: opened here.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the system keeps until they are accepted.
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
