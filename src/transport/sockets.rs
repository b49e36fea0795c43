//! Opens the listening sockets of HTTP and gRPC, and closes them without losing a connection that a client has opened.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use futures::future::join_all;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::time::{sleep, timeout, timeout_at};

/// The most connections that the system queues until they are accepted. A client whose connection finds no place tries again a
/// second later. Linux takes no larger number by default (`net.core.somaxconn`). macOS takes 128 (`kern.ipc.somaxconn`).
const BACKLOG: i32 = 4096;
/// How long a queue must stay empty, until no connection that has begun is still on its way into it. A packet's way there and back
/// takes less, also to another continent.
const BEGUN_WAIT: Duration = Duration::from_millis(200);
/// The time between two looks at a queue that is not empty.
const LOOK: Duration = Duration::from_millis(1);

/// Listens on all addresses of a host that allow it.
///
/// # Errors
/// The last address's error, if none allows it.
pub(crate) fn listen(host: &str, port: u16) -> io::Result<Vec<TcpListener>> {
    listen_on_all((host, port).to_socket_addrs()?)
}

fn listen_on_all(addresses: impl Iterator<Item = SocketAddr>) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    let mut failed = io::Error::new(io::ErrorKind::AddrNotAvailable, "the host has no address");
    for address in addresses {
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
pub(crate) fn ignore_new(listener: &TcpListener) {
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
pub(crate) fn ignore_new(_: &TcpListener) {}

/// Waits until the connections that have begun are accepted. The accepting thread goes on meanwhile, and the system ignores new
/// ones. If there is little time until `limit`, most of it belongs to running requests.
pub(crate) async fn until_accepted(listeners: &[impl AsFd], limit: Instant) {
    let accepted = async {
        while !join_all(listeners.iter().map(stays_empty)).await.into_iter().all(|is_empty| is_empty) {
            sleep(LOOK).await;
        }
    };
    let now = Instant::now();
    let wait_end = now + limit.saturating_duration_since(now) / 4;
    if timeout_at(wait_end.into(), accepted).await.is_err() {
        tracing::debug!("connections still came when the server stopped to accept");
    }
}

/// Whether a queue is empty for `BEGUN_WAIT`.
async fn stays_empty(listener: &impl AsFd) -> bool {
    // As a listener, tokio would accept. As a stream, it only tells whether the queue has something, and at first tells at once.
    let queue = listener.as_fd().try_clone_to_owned().map(std::net::TcpStream::from);
    match queue.and_then(tokio::net::TcpStream::from_std) {
        Ok(queue) => timeout(BEGUN_WAIT, queue.readable()).await.is_err(),
        // There is no descriptor left to look with.
        Err(_) => {
            sleep(BEGUN_WAIT).await;
            true
        }
    }
}

/// Makes the system refuse new connections, and reset those that are not accepted.
pub(crate) fn refuse(listener: &TcpListener) {
    // This shuts the socket down and does not close it, because the accepting thread holds the same socket.
    if let Err(error) = SockRef::from(listener).shutdown(Shutdown::Read) {
        tracing::debug!("cannot close a listening socket: {error}");
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};

    use super::*;

    #[test]
    fn every_address_that_can_be_had_is_listened_on() {
        // The first is nobody's on this machine (RFC 5737).
        let hosts = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2)];
        let listeners = listen_on_all(hosts.into_iter().map(|host| SocketAddr::from((host, 0)))).unwrap();
        let heard: Vec<SocketAddr> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
        assert_eq!(heard.iter().map(SocketAddr::ip).collect::<Vec<_>>(), hosts[1..]);
        heard.into_iter().for_each(|address| drop(TcpStream::connect(address).unwrap()));
        let refused = listen_on_all([SocketAddr::from((hosts[0], 0))].into_iter()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrNotAvailable);
        assert!(listen_on_all(std::iter::empty()).is_err());
    }
}
