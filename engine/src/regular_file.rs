//! Opens and reads regular files only.
//!
//! A file that others can replace may be a FIFO or a device. Opening or reading one of these can hold a thread without end.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Opens a regular file for reading. It follows links.
///
/// # Errors
/// The system's error, or `InvalidInput` for a path that is no regular file.
pub fn open(path: &Path) -> io::Result<File> {
    // With this flag a FIFO opens at once, without a writer. Regular files ignore the flag.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    // The descriptor is asked, because the path may be another file by now.
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        return Ok(file);
    }
    let found = if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a FIFO"
    } else {
        "a device or a socket"
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("expected a regular file, found {found}")))
}

/// Reads a regular file of at most `bytes_max` bytes.
///
/// # Errors
/// Those of [`open`], the system's error, or `InvalidData` for a larger file.
pub fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let size = file.metadata()?.len();
    // The file may grow while it is read, so what is read counts too.
    let mut bytes = Vec::with_capacity(usize::try_from(size.min(bytes_max)).unwrap_or_default());
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        let found = size.max(bytes.len() as u64);
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("expected at most {bytes_max} bytes, found {found}")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::process::Command;

    use super::*;

    #[test]
    fn fifos_devices_and_directories_are_refused_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        assert!(Command::new("mkfifo").arg(path("fifo")).status().unwrap().success());
        std::os::unix::fs::symlink(path("fifo"), path("link")).unwrap();
        let _listener = UnixListener::bind(path("socket")).unwrap();
        let check = |path: &Path, expected: &str| {
            let text = open(path).unwrap_err().to_string();
            assert!(text.contains(expected), "{}: {text}", path.display());
            assert_eq!(read(path, 10).unwrap_err().to_string(), text);
        };
        check(&path("fifo"), "expected a regular file, found a FIFO");
        check(&path("link"), "found a FIFO");
        check(Path::new("/dev/zero"), "found a device");
        check(directory.path(), "found a directory");
        check(&path("nothing"), "No such file");
        // The system itself refuses to open a socket.
        open(&path("socket")).unwrap_err();
    }

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "0123456789").unwrap();
        assert_eq!(read(&path, 10).unwrap(), b"0123456789");
        assert_eq!(read(&path, 9).unwrap_err().to_string(), "expected at most 9 bytes, found 10");
    }
}
