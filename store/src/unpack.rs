//! Unpacks an archive and trusts none of it: neither its names, nor its sizes, nor that it ends. It blocks.

use std::cell::Cell;
use std::collections::HashSet;
use std::fs::{self, File as OsFile};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use flate2::read::MultiGzDecoder;
use flate2::Crc;
use tar::EntryType;
use tfweb_engine::{regular_file, Error};
use zip::ZipArchive;

use super::listing::{check_path, File};
use super::uri::Packing;

/// The limits of an archive and of its files.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// The most bytes of the archive itself.
    pub(super) archive_bytes: u64,
    /// The most bytes of all its files.
    pub(super) unpacked_bytes: u64,
    /// The most files and directories.
    pub(super) entries: usize,
    /// The most bytes of files for each byte of the archive. It holds only above `free_bytes`.
    pub(super) ratio: u64,
    /// Files of this many bytes together are always allowed.
    pub(super) free_bytes: u64,
}

impl Limits {
    /// Far beyond the largest models, which have tens of gigabytes in hundreds of files. Weights hardly compress, so an archive
    /// that grows two hundred times is no model. Below a gigabyte that does no harm.
    pub(super) const USUAL: Self =
        Self { archive_bytes: 64 << 30, unpacked_bytes: 128 << 30, entries: 100_000, ratio: 200, free_bytes: 1 << 30 };
}

/// The most bytes between two members of a tar file: a header, and long names. Readers keep those in memory.
const TAR_HEADER_BYTES_MAX: u64 = 1 << 20;
/// The bytes that are copied at once.
const COPY_BYTES: usize = 64 << 10;
/// The bits of a Unix mode that give the kind of file, and the two kinds that are allowed. The bits are 0 if the archive does not
/// say.
const KIND_BITS: u32 = 0o170_000;
const KIND_FILE: u32 = 0o100_000;
const KIND_DIRECTORY: u32 = 0o040_000;

/// Why an archive was not unpacked: because of the archive or because of the disk.
#[derive(Debug)]
pub(super) enum Failure {
    /// The fault of the archive.
    Refused(Error),
    /// The error of a write.
    Unwritable(io::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// Unpacks an archive into an empty directory. Returns its files, each with its checksum as the stamp.
///
/// # Errors
/// The fault of the archive, with the name of the member. Errors name the archive by `origin`.
pub(super) fn unpack(origin: &str, packing: Packing, archive: &Path, into: &Path, limits: &Limits) -> Result<Vec<File>, Failure> {
    let mut file = regular_file::open(archive).map_err(Failure::Unwritable)?;
    let bytes = file.metadata().map_err(Failure::Unwritable)?.len();
    let allowed = limits.unpacked_bytes.min(bytes.saturating_mul(limits.ratio).max(limits.free_bytes));
    let mut unpacker = Unpacker { origin, into, limits, allowed, left: allowed, names: HashSet::new(), files: Vec::new() };
    // Some servers inflate an archive when they send it, and others compress it.
    let mut magic = [0; 2];
    let is_gzip = file.read(&mut magic).is_ok_and(|read| read == 2) && magic == [0x1f, 0x8b];
    file.seek(SeekFrom::Start(0)).map_err(Failure::Unwritable)?;
    let file = BufReader::with_capacity(COPY_BYTES, file);
    match packing {
        Packing::Zip => unpacker.zip(file)?,
        Packing::Tar | Packing::TarGz if is_gzip => unpacker.tar(MultiGzDecoder::new(file))?,
        Packing::Tar | Packing::TarGz => unpacker.tar(file)?,
    }
    Ok(unpacker.files)
}

/// Writes members into a directory, and counts against the limits.
struct Unpacker<'a> {
    origin: &'a str,
    into: &'a Path,
    limits: &'a Limits,
    allowed: u64,
    left: u64,
    names: HashSet<String>,
    files: Vec<File>,
}

impl Unpacker<'_> {
    fn refuse(&self, member: &str, what: impl std::fmt::Display) -> Failure {
        let member: String = member.chars().take(200).collect();
        Failure::Refused(Error::invalid(format!("`{}`: {member:?} is refused: {what}", self.origin)))
    }

    fn damaged(&self, error: &dyn std::fmt::Display) -> Failure {
        Failure::Refused(Error::invalid(format!("`{}`: the archive is damaged: {error}", self.origin)))
    }

    fn zip(&mut self, file: BufReader<OsFile>) -> Result<(), Failure> {
        let mut archive = ZipArchive::new(file).map_err(|error| self.damaged(&error))?;
        if archive.has_duplicate_names() {
            return Err(self.damaged(&"two members have the same name"));
        }
        for index in 0..archive.len() {
            let mut member = archive.by_index(index).map_err(|error| self.damaged(&error))?;
            let name = member.name().map_err(|error| self.damaged(&error))?.into_owned();
            if member.encrypted() {
                return Err(self.refuse(&name, "it is encrypted"));
            }
            match member.unix_mode().unwrap_or_default() & KIND_BITS {
                0 | KIND_FILE | KIND_DIRECTORY => {}
                _ => return Err(self.refuse(&name, "a link or a device")),
            }
            if member.is_dir() {
                self.directory(&name)?;
            } else {
                let size = member.size();
                self.file(&name, size, &mut member)?;
            }
        }
        Ok(())
    }

    fn tar(&mut self, reader: impl Read) -> Result<(), Failure> {
        let left = Rc::new(Cell::new(TAR_HEADER_BYTES_MAX));
        let mut archive = tar::Archive::new(LimitedReader { reader, left: Rc::clone(&left) });
        let entries = archive.entries().map_err(|error| self.damaged(&error))?;
        for entry in entries {
            let mut entry = entry.map_err(|error| self.damaged(&error))?;
            let name = String::from_utf8(entry.path_bytes().into_owned()).map_err(|error| self.damaged(&error))?;
            let size = entry.size();
            left.set(size.saturating_add(TAR_HEADER_BYTES_MAX));
            #[allow(clippy::wildcard_enum_match_arm, reason = "what is not known is refused")]
            match entry.header().entry_type() {
                EntryType::Regular | EntryType::Continuous => self.file(&name, size, &mut entry)?,
                EntryType::Directory => self.directory(&name)?,
                // A global header describes all members, for example by their commit.
                EntryType::XGlobalHeader if size <= TAR_HEADER_BYTES_MAX => {}
                EntryType::Symlink | EntryType::Link => return Err(self.refuse(&name, "a link")),
                _ => return Err(self.refuse(&name, "neither a file nor a directory")),
            }
            left.set(TAR_HEADER_BYTES_MAX);
        }
        // gzip has a checksum after the last member.
        let mut rest = archive.into_inner();
        rest.left.set(TAR_HEADER_BYTES_MAX);
        io::copy(&mut rest, &mut io::sink()).map(drop).map_err(|error| self.damaged(&error))
    }

    /// The checked path of a member in the target directory; `None` for the directory itself. `tar` begins all names with `./`.
    fn path(&mut self, member: &str) -> Result<Option<(String, PathBuf)>, Failure> {
        let path = member.trim_end_matches('/');
        let path = path.strip_prefix("./").unwrap_or(path);
        if (path == "." || path.is_empty()) && !member.starts_with('/') {
            return Ok(None);
        }
        check_path(self.origin, if member.starts_with('/') { member } else { path })?;
        if self.names.len() == self.limits.entries {
            return Err(self.refuse(member, format_args!("more than {} members", self.limits.entries)));
        }
        Ok(Some((path.to_owned(), self.into.join(path))))
    }

    fn directory(&mut self, member: &str) -> Result<(), Failure> {
        let Some((name, path)) = self.path(member)? else { return Ok(()) };
        self.names.insert(format!("{name}/"));
        self.make(member, &path)
    }

    /// Makes a directory with its parents.
    fn make(&self, member: &str, path: &Path) -> Result<(), Failure> {
        fs::create_dir_all(path).map_err(|error| self.cannot_make(member, "it is in a file", error))
    }

    /// Separates impossible names from disks that cannot be written. `conflict` says what is in the way of the name.
    fn cannot_make(&self, member: &str, conflict: &str, error: io::Error) -> Failure {
        let kind = error.kind();
        if matches!(kind, io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory) {
            return self.refuse(member, conflict);
        }
        if kind == io::ErrorKind::InvalidFilename {
            return self.refuse(member, "its name is too long");
        }
        Failure::Unwritable(error)
    }

    fn file(&mut self, member: &str, size: u64, content: &mut impl Read) -> Result<(), Failure> {
        let Some((name, path)) = self.path(member)? else { return Err(self.refuse(member, "a file without a name")) };
        if !self.names.insert(name.clone()) {
            return Err(self.refuse(member, "there are two of that name"));
        }
        if let Some(parent) = path.parent() {
            self.make(member, parent)?;
        }
        let conflict = "there is a directory, or a file of nearly that name";
        let mut output = OsFile::create_new(&path).map_err(|error| self.cannot_make(member, conflict, error))?;
        let mut crc = Crc::new();
        let mut buffer = vec![0; COPY_BYTES];
        let mut written = 0;
        loop {
            let read = content.read(&mut buffer).map_err(|error| self.damaged(&format_args!("{member:?}: {error}")))?;
            if read == 0 {
                break;
            }
            let bytes = read as u64;
            if bytes > self.left {
                let allowed = self.allowed;
                return Err(
                    self.refuse(member, format_args!("the files would be more than {allowed} bytes, too many for this archive"))
                );
            }
            self.left -= bytes;
            written += bytes;
            crc.update(&buffer[..read]);
            output.write_all(&buffer[..read]).map_err(Failure::Unwritable)?;
        }
        if written != size {
            return Err(self.damaged(&format_args!("{member:?} has {written} bytes instead of {size}")));
        }
        self.files.push(File { path: name, size, stamp: format!("crc32:{:08x}", crc.sum()) });
        Ok(())
    }
}

/// A reader with a limit, so that a header without end does not fill the memory.
struct LimitedReader<R> {
    reader: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for LimitedReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer)?;
        let left = self.left.get().checked_sub(read as u64);
        self.left.set(left.ok_or_else(|| io::Error::other("a header is larger than 1 MiB"))?);
        Ok(read)
    }
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;
