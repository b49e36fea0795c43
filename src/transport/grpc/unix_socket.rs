//! The UNIX socket of `--grpc_socket_path`.

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use futures::stream::{self, Stream};

/// Listens on a socket. Replaces a socket that an ended server has left, but not one that another process listens on.
pub(super) fn listen(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => match UnixStream::connect(path) {
            Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path)?;
                UnixListener::bind(path)
            }
            _ => Err(error),
        },
        bound => bound,
    }
}

/// The connections to a socket.
pub(super) fn connections(listener: tokio::net::UnixListener) -> impl Stream<Item = io::Result<tokio::net::UnixStream>> + Unpin {
    let accept =
        |listener: tokio::net::UnixListener| async move { Some((listener.accept().await.map(|(stream, _)| stream), listener)) };
    Box::pin(stream::unfold(listener, accept))
}
