//! The UNIX socket of `--grpc_socket_path`.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use futures::stream::{self, Stream};

/// Listens on a socket. Replaces a socket that an ended server has left, but not one that another process listens on, nor a file
/// of another kind.
pub(super) fn listen(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left_behind(path) => {
            std::fs::remove_file(path)?;
            UnixListener::bind(path)
        }
        bound => bound,
    }
}

/// Removes the socket after the server. A file of another kind has come in its place meanwhile, and stays.
pub(super) fn remove(path: &Path) {
    if is_socket(path) {
        // An error means that the socket no longer exists.
        let _ = std::fs::remove_file(path);
    }
}

/// The connections to a socket.
pub(super) fn connections(listener: tokio::net::UnixListener) -> impl Stream<Item = io::Result<tokio::net::UnixStream>> + Unpin {
    let accept =
        |listener: tokio::net::UnixListener| async move { Some((listener.accept().await.map(|(stream, _)| stream), listener)) };
    Box::pin(stream::unfold(listener, accept))
}

/// Whether a path is a socket on which nobody listens. A connection to a file of another kind is refused too.
fn is_left_behind(path: &Path) -> bool {
    is_socket(path) && UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}
