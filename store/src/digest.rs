//! Checksums of files: the MD5 that stores state, and the CRC-32 by which the cache knows its own files again. Reading a file
//! blocks.

use std::io::{self, Read};
use std::path::Path;

use base64::prelude::{Engine, BASE64_STANDARD};
use md5::{Digest, Md5};
use tfweb_engine::regular_file;

/// The bytes that are read at once.
const READ_BYTES: usize = 1 << 20;
/// Stands before the MD5 in a stamp.
const MARK: &str = " md5:";

/// An MD5 sum.
pub(super) type Md5Sum = [u8; 16];

/// The MD5 that a store states of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stated {
    pub(super) md5: Md5Sum,
    /// Whether an etag only has the form of an MD5. S3's etag is the content's MD5, unless the object was encrypted with a key of
    /// the user's or uploaded in parts. The etag of parts has another form.
    pub(super) is_etag: bool,
}

/// Adds an MD5 in base64 to a stamp.
pub(super) fn with_md5(stamp: &str, md5: &str) -> String {
    format!("{stamp}{MARK}{md5}")
}

/// The MD5 that a stamp states.
pub(super) fn stated(stamp: &str) -> Option<Stated> {
    if let Some((_, md5)) = stamp.rsplit_once(MARK) {
        return Some(Stated { md5: from_base64(md5)?, is_etag: false });
    }
    let hex = stamp.trim_matches('"');
    if hex.len() != 2 * size_of::<Md5Sum>() {
        return None;
    }
    u128::from_str_radix(hex, 16).ok().map(|md5| Stated { md5: md5.to_be_bytes(), is_etag: true })
}

/// Reads an MD5 in base64, as headers have it.
pub(super) fn from_base64(text: &str) -> Option<Md5Sum> {
    BASE64_STANDARD.decode(text).ok()?.try_into().ok()
}

/// The MD5 of a file.
pub(super) fn md5(path: &Path) -> io::Result<Md5Sum> {
    let mut md5 = Md5::new();
    read(path, |bytes| md5.update(bytes))?;
    Ok(md5.finalize().into())
}

/// The CRC-32 of a file.
pub(super) fn crc32(path: &Path) -> io::Result<u32> {
    let mut crc = crc32fast::Hasher::new();
    read(path, |bytes| crc.update(bytes))?;
    Ok(crc.finalize())
}

fn read(path: &Path, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let mut file = regular_file::open(path)?;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(()),
            read => take(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_state_an_md5_if_they_have_one() {
        let empty = [0xd4, 0x1d, 0x8c, 0xd9, 0x8f, 0x00, 0xb2, 0x04, 0xe9, 0x80, 0x09, 0x98, 0xec, 0xf8, 0x42, 0x7e];
        let check = |stamp: &str, expected: Option<bool>| {
            assert_eq!(stated(stamp), expected.map(|is_etag| Stated { md5: empty, is_etag }), "{stamp}");
        };
        check("\"d41d8cd98f00b204e9800998ecf8427e\"", Some(true));
        check("d41d8cd98f00b204e9800998ecf8427e", Some(true));
        check(&with_md5("CJ+=", "1B2M2Y8AsgTpgAmY7PhCfg=="), Some(false));
        // Of several parts, of Azure, of a git commit, and a time.
        for stamp in ["\"d41d8cd98f00b204e9800998ecf8427e-3\"", "0x8DCFF", "a94a8fe5ccb19ba61c4c0873d391e987982fbbd3", "17:00", ""]
        {
            check(stamp, None);
        }
        check(&with_md5("a", "no base64"), None);
    }

    #[test]
    fn sums_are_those_of_other_programs() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "123456789").unwrap();
        assert_eq!(crc32(file.path()).unwrap(), 0xcbf4_3926);
        assert_eq!(stated("25f9e794323b453885f5181f1b624d0b").unwrap().md5, md5(file.path()).unwrap());
    }
}
