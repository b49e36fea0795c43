//! The UNIX socket of `--grpc_socket_path`.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

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

/// Removes the socket of a server that stops. A file of another kind that somebody has put in its place stays.
pub(super) fn remove(path: &Path) {
    if is_socket(path) {
        // An error means that the socket no longer exists.
        let _ = std::fs::remove_file(path);
    }
}

/// Whether a path is a socket on which nobody listens. A connection to a file of another kind is refused too.
fn is_left_behind(path: &Path) -> bool {
    is_socket(path) && UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_in_place_of_the_socket_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let socket = listen(&path).unwrap();
        remove(&path);
        assert!(!path.exists());
        drop(socket);
        std::fs::write(&path, "precious").unwrap();
        remove(&path);
        assert_eq!(listen(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }
}
