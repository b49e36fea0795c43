//! Models from archives on web servers: they come whole, and again only when the archive has changed.

use std::io::{Cursor, Write};
use std::path::Path;

use flate2::write::GzEncoder;
use flate2::Compression;
use tfweb_engine::Code;
use tfweb_store::Env;

use crate::store::{check_brought, run, Local};
use crate::store_servers::{files, model, FileServer, Page};

pub(crate) fn zipped(directory: &Path) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    for (path, content) in files(directory) {
        writer.start_file(path, options).unwrap();
        writer.write_all(&content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

pub(crate) fn tarred(directory: &Path, top: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    builder.append_dir_all(top, directory).unwrap();
    builder.into_inner().unwrap().finish().unwrap()
}

pub(crate) fn page(content: Vec<u8>, etag: &'static str) -> Page {
    Page { content, etag, ..Page::default() }
}

#[test]
fn archives_have_the_model() {
    let server = FileServer::start();
    server.put("/versions.zip", page(zipped(&model()), "\"1\""));
    server.put("/one.zip", page(zipped(&model().join("1")), "\"1\""));
    server.put("/versions.tgz", page(tarred(&model(), "half_plus_two"), "\"1\""));
    server.put("/one.tar.gz", page(tarred(&model().join("1"), "."), "\"1\""));
    for path in ["versions.zip", "one.zip", "versions.tgz", "one.tar.gz"] {
        let local = Local::new();
        let origin = local.open(&format!("http://{}/{path}", server.address), &Env::of(&[]));
        check_brought(&local, &origin);
        let listing = run(origin.list()).unwrap();
        assert_eq!((listing.versions.len(), listing.versions[0].number), (1, 1), "{path}");
    }
    let error = run(Local::new().open(&format!("http://{}/none.zip", server.address), &Env::of(&[])).list()).unwrap_err();
    assert!(error.code == Code::NotFound && error.message.ends_with("none.zip`: the server answers 404 Not Found"), "{error}");
}

#[test]
fn archive_is_fetched_again_only_when_it_has_changed() {
    let server = FileServer::start();
    server.put("/m.zip", page(zipped(&model()), "\"1\""));
    let local = Local::new();
    let uri = format!("http://{}/m.zip?token=secret", server.address);
    let first = check_brought(&local, &local.open(&uri, &Env::of(&[])));
    let heads = server.heads();
    assert_eq!(heads.len(), 2);
    assert!(!heads[0].contains("if-none-match") && heads[1].contains("if-none-match: \"1\""), "{heads:#?}");

    server.put("/m.zip", page(zipped(&model()), "\"2\""));
    let origin = local.open(&uri, &Env::of(&[]));
    let before = run(origin.list()).unwrap();
    assert_eq!(run(origin.download(&before.versions[0])).unwrap(), first, "packed anew, the same is in it");
    run(origin.list()).unwrap();
    assert!(server.heads()[1].contains("if-none-match: \"2\""));

    server.put("/m.zip", page(zipped(&model().with_file_name("kitchen")), "\"3\""));
    let after = run(origin.list()).unwrap();
    assert_ne!(before.versions[0].fingerprint(), after.versions[0].fingerprint());
    let second = run(origin.download(&after.versions[0])).unwrap();
    assert_eq!(files(&second), files(&model().with_file_name("kitchen").join("1")));
    assert_eq!(run(origin.download(&before.versions[0])).unwrap(), first, "still there for who has seen it");
}

#[test]
fn archive_that_is_cut_is_continued() {
    let server = FileServer::start();
    let content = tarred(&model(), "m");
    let cut_once = Some(content.len() / 2);
    server.put("/m.tgz", Page { cut_once, ..page(content, "\"1\"") });
    let local = Local::new();
    check_brought(&local, &local.open(&format!("http://{}/m.tgz", server.address), &Env::of(&[])));
    let heads = server.heads();
    assert!(heads[1].contains("range: bytes=") && heads[1].contains("if-range: \"1\""), "{heads:#?}");
}

#[test]
fn evil_archive_leaves_nothing() {
    let server = FileServer::start();
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..8].copy_from_slice(b"../../x\0");
    header.set_size(1);
    header.set_cksum();
    tar.append(&header, b"x" as &[u8]).unwrap();
    server.put("/m.tar", page(tar.into_inner().unwrap(), "\"1\""));
    let local = Local::new();
    let error = run(local.open(&format!("http://{}/m.tar", server.address), &Env::of(&[])).list()).unwrap_err();
    assert!(error.message.contains("\"../../x\" is refused"), "{error}");
    assert_eq!(files(local.directory.path()).into_keys().filter(|path| !path.ends_with(".lock")).count(), 0);
}

#[test]
fn password_stays_with_its_host() {
    let (front, mirror) = (FileServer::start(), FileServer::start());
    mirror.put("/elsewhere", page(zipped(&model()), "\"1\""));
    let location = format!("http://localhost:{}/elsewhere", mirror.address.port());
    front.put("/m.zip", Page { location, ..Page::default() });
    let local = Local::new();
    let origin = local.open(&format!("http://user:password@{}/m.zip", front.address), &Env::of(&[]));
    check_brought(&local, &origin);
    assert!(front.heads().iter().all(|head| head.contains("authorization: Basic ")));
    let heads = mirror.heads();
    assert!(heads.len() == 2 && !heads.iter().any(|head| head.contains("authorization")), "{heads:#?}");
}
