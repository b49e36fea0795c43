//! Good archives come out as they went in. Bad ones are refused with the name of the member.

use std::io::Cursor;

use flate2::write::GzEncoder;
use flate2::Compression;
use tfweb_engine::Code;
use zip::write::SimpleFileOptions;
use zip::ZipWriter;

use super::*;

/// Limits that small archives reach.
const SMALL: Limits = Limits { archive_bytes: 0, unpacked_bytes: 100_000, entries: 10, ratio: 20, free_bytes: 10_000 };

/// A member of a tar file: its kind, name and content.
type Member<'a> = (EntryType, &'a str, &'a [u8]);

fn tar(members: &[Member<'_>]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (kind, name, content) in members {
        let mut header = tar::Header::new_gnu();
        // `set_path` would refuse the names that this test needs.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append(&header, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zip(members: &[(&str, &[u8], u32)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content, mode) in members {
        let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated).unix_permissions(*mode);
        if name.ends_with('/') {
            writer.add_directory(*name, options).unwrap();
        } else {
            writer.start_file(*name, options).unwrap();
            writer.write_all(content).unwrap();
        }
    }
    writer.finish().unwrap().into_inner()
}

/// A zip file in which the first name is replaced by the second, in both places. Writers refuse such names.
fn renamed(mut zip: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    for at in 0..zip.len() - from.len() {
        if &zip[at..at + from.len()] == from.as_bytes() {
            zip[at..at + to.len()].copy_from_slice(to.as_bytes());
        }
    }
    zip
}

/// Unpacks. Returns paths and sizes, or the error.
fn unpacked(packing: Packing, archive: &[u8]) -> Result<String, String> {
    let directory = tempfile::tempdir().unwrap();
    let (file, into) = (directory.path().join("archive"), directory.path().join("in/into"));
    fs::write(&file, archive).unwrap();
    fs::create_dir_all(&into).unwrap();
    let files = unpack("http://h/m", packing, &file, &into, &SMALL);
    let outside: Vec<_> =
        fs::read_dir(directory.path()).unwrap().chain(fs::read_dir(directory.path().join("in")).unwrap()).collect();
    assert_eq!(outside.len(), 3, "nothing was written elsewhere: {outside:?}");
    match files {
        Ok(mut files) => {
            files.sort();
            for file in &files {
                assert_eq!(fs::metadata(into.join(&file.path)).unwrap().len(), file.size);
            }
            Ok(files.iter().map(|file| format!("{} {}", file.path, file.size)).collect::<Vec<_>>().join(", "))
        }
        Err(Failure::Refused(error)) => {
            assert!(error.code == Code::InvalidArgument && error.message.starts_with("`http://h/m`: "), "{error}");
            Err(error.message)
        }
        Err(Failure::Unwritable(error)) => panic!("{error}"),
    }
}

#[track_caller]
fn refused(packing: Packing, archive: &[u8], expected: &str) {
    let error = unpacked(packing, archive).unwrap_err();
    assert!(error.contains(expected) && error.lines().count() == 1, "{error}");
}

const FILE: EntryType = EntryType::Regular;
const DIRECTORY: EntryType = EntryType::Directory;

#[test]
fn good_archives_are_unpacked() {
    let expected = Ok("1/assets/a 0, 1/saved_model.pb 3".to_owned());
    let members = [
        (DIRECTORY, "./", b"" as &[u8]),
        (DIRECTORY, "./1/", b""),
        (FILE, "./1/saved_model.pb", b"abc"),
        (FILE, "1/assets/a", b""),
    ];
    let plain = tar(&members);
    assert_eq!(unpacked(Packing::Tar, &plain), expected);
    assert_eq!(unpacked(Packing::TarGz, &gzip(&plain)), expected);
    assert_eq!(unpacked(Packing::TarGz, &plain), expected, "a server has inflated it");
    assert_eq!(unpacked(Packing::Tar, &gzip(&plain)), expected);
    let zipped = zip(&[("1/", b"", 0o755), ("1/saved_model.pb", b"abc", 0o644), ("1/assets/a", b"", 0o644)]);
    assert_eq!(unpacked(Packing::Zip, &zipped), expected);
}

#[test]
fn long_names_are_read_and_longer_ones_refused() {
    let long = format!("assets/{}", "n".repeat(200));
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(1);
    builder.append_data(&mut header, &long, b"a" as &[u8]).unwrap();
    assert_eq!(unpacked(Packing::Tar, &builder.into_inner().unwrap()), Ok(format!("{long} 1")));
    let endless = vec![b'n'; 2 << 20];
    let header = gzip(&tar(&[(EntryType::GNULongName, "././@LongLink", &endless), (FILE, "x", b"")]));
    refused(Packing::TarGz, &header, "a header is larger than 1 MiB");
    let name = "n".repeat(99);
    refused(Packing::Zip, &zip(&[(&name.repeat(4), b"", 0o644)]), "its name is too long");
}

#[test]
fn members_that_leave_the_directory_are_refused() {
    for name in ["../x", "a/../../x", "..", "a/..", "a//b", "a\\..\\x"] {
        refused(Packing::Tar, &tar(&[(FILE, name, b"a")]), &format!("{name:?} is refused"));
    }
    for name in ["/x", "//x", "/"] {
        refused(Packing::Tar, &tar(&[(FILE, name, b"a")]), "is refused: an absolute path");
    }
    for name in ["../x", "a/../../x", "/etc/x", "a//x"] {
        let placeholder = "p".repeat(name.len());
        let archive = renamed(zip(&[(&placeholder, b"a", 0o644)]), &placeholder, name);
        refused(Packing::Zip, &archive, &format!("{name:?} is refused"));
    }
}

#[test]
fn links_and_devices_are_refused() {
    refused(Packing::Tar, &tar(&[(EntryType::Symlink, "s", b"")]), r#""s" is refused: a link"#);
    refused(Packing::Tar, &tar(&[(EntryType::Link, "h", b"")]), r#""h" is refused: a link"#);
    for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo] {
        refused(Packing::Tar, &tar(&[(kind, "d", b"")]), r#""d" is refused: neither a file nor a directory"#);
    }
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    writer.add_symlink("s", "/etc/passwd", SimpleFileOptions::default()).unwrap();
    refused(Packing::Zip, &writer.finish().unwrap().into_inner(), r#""s" is refused: a link or a device"#);
}

#[test]
fn duplicates_are_refused() {
    refused(Packing::Tar, &tar(&[(FILE, "a", b"1"), (FILE, "a", b"2")]), r#""a" is refused: there are two of that name"#);
    refused(Packing::Tar, &tar(&[(FILE, "a", b"1"), (FILE, "./a", b"2")]), r#""./a" is refused: there are two of that name"#);
    refused(Packing::Tar, &tar(&[(FILE, "a", b"1"), (FILE, "a/b", b"2")]), r#""a/b" is refused: it is in a file"#);
    refused(Packing::Tar, &tar(&[(FILE, "a", b"1"), (DIRECTORY, "a/", b"")]), r#""a/" is refused: it is in a file"#);
    refused(Packing::Tar, &tar(&[(DIRECTORY, "a/", b""), (FILE, "a", b"1")]), r#""a" is refused: there is a directory"#);
    let twice = renamed(zip(&[("aaaa1", b"1", 0o644), ("aaaa2", b"2", 0o644)]), "aaaa2", "aaaa1");
    refused(Packing::Zip, &twice, "two members have the same name");
}

#[test]
fn bombs_are_refused() {
    let zeros = vec![0; 90_000];
    let expected = r#""bomb" is refused: the files would be more than 10000 bytes, too many for this archive"#;
    refused(Packing::TarGz, &gzip(&tar(&[(FILE, "bomb", &zeros)])), expected);
    refused(Packing::Zip, &zip(&[("bomb", &zeros, 0o644)]), expected);
    assert!(unpacked(Packing::Tar, &tar(&[(FILE, "zeros", &zeros)])).is_ok(), "not compressed: the bytes are there");
    let more = vec![0; 60_000];
    refused(
        Packing::Tar,
        &tar(&[(FILE, "a", &more), (FILE, "b", &more)]),
        r#""b" is refused: the files would be more than 100000"#,
    );
    let names: Vec<String> = (0..11).map(|index| index.to_string()).collect();
    let many: Vec<Member<'_>> = names.iter().map(|name| (FILE, name.as_str(), b"" as &[u8])).collect();
    refused(Packing::Tar, &tar(&many), r#""10" is refused: more than 10 members"#);
}

#[test]
fn what_is_cut_or_no_archive_is_damaged() {
    let whole = tar(&[(FILE, "a", &[7; 3000]), (FILE, "b", &[8; 3000])]);
    for end in [10, 600, 1000, 4000, 5000] {
        refused(Packing::Tar, &whole[..end], "the archive is damaged");
    }
    let zipped = gzip(&whole);
    for end in [5, zipped.len() / 2, zipped.len() - 1] {
        refused(Packing::TarGz, &zipped[..end], "the archive is damaged");
    }
    let mut changed = zipped.clone();
    let checksum = changed.len() - 8;
    changed[checksum] ^= 1;
    refused(Packing::TarGz, &changed, "the archive is damaged");
    let zipped = zip(&[("a", &[7; 3000], 0o644)]);
    for end in [0, 10, zipped.len() / 2, zipped.len() - 1] {
        refused(Packing::Zip, &zipped[..end], "the archive is damaged");
    }
    refused(Packing::Zip, b"<html>not found</html>", "the archive is damaged");
    refused(Packing::Tar, b"<html>not found</html>", "the archive is damaged");
}
