//! Unpacks an archive's bytes as the store does, for the fuzz targets (`fuzz/`).

use std::path::Path;

use super::unpack::{unpack, Failure, Limits};
use super::uri::Packing;

/// Unpacks an archive into an empty directory, with limits for small archives. Gives the number of its files.
///
/// # Errors
/// Why the archive is refused.
///
/// # Panics
/// If the directory cannot be written: the archive must not be able to cause that.
pub fn unpack_small(packing: Packing, archive: &Path, into: &Path) -> Result<usize, String> {
    let limits = Limits { archive_bytes: 1 << 20, unpacked_bytes: 1 << 20, entries: 100, ratio: 200, free_bytes: 1 << 16 };
    match unpack("archive", packing, archive, into, &limits) {
        Ok(files) => Ok(files.len()),
        Err(Failure::Refused(error)) => Err(error.message),
        Err(Failure::Unwritable(error)) => panic!("the archive {} made a write fail: {error}", archive.display()),
    }
}
