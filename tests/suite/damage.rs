//! Stores that send wrong bytes or list without end, and caches whose files were damaged: a model is served whole or not at all.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use md5::{Digest, Md5};
use tfweb_engine::Code;
use tfweb_store::Env;

use crate::archives::{page, tarred, zipped};
use crate::client::Request;
use crate::hostile_store::{Etags, HostileStore, Lists};
use crate::process::{resident_kib, Process};
use crate::store::{newest, run, Local};
use crate::store_servers::{files, model, FileServer, Page};
use crate::support::is_alone;

const MODEL: &str = "s3://bucket/m";
const GIVES_TWO: &str = r#"{"y":[2.5]}"#;

/// A store that has half_plus_two.
fn store() -> HostileStore {
    let store = HostileStore::start();
    for (path, content) in files(&model()) {
        store.put(&format!("m/{path}"), content);
    }
    store
}

fn start(store: &HostileStore, cache: &Path) -> Process {
    let flags = format!("--host 127.0.0.1 --port 0 --cache_dir {} --model m={MODEL}", cache.display());
    let variables = store.variables();
    Process::start(&flags, &variables.each_ref().map(|(name, value)| (*name, value.as_str())))
}

/// Checks that a model came whole.
#[track_caller]
fn check_whole(directory: &Path) {
    assert!(files(directory) == files(&model().join("1")), "{}", directory.display());
}

#[test]
fn a_read_of_other_bytes_is_seen_by_the_stores_md5() {
    let (store, local) = (store(), Local::new());
    store.lies("saved_model.pb", 1);
    let origin = local.open(MODEL, &store.env());
    check_whole(&run(newest(&origin)).unwrap_or_else(|error| panic!("{error}")));
    let reads = store.reads();
    assert_eq!(reads.iter().filter(|name| *name == "saved_model.pb").count(), 2, "{reads:?}");
    assert_eq!(reads.len(), 5, "{reads:?}");

    store.lies("saved_model.pb", 2);
    let error = run(newest(&Local::new().open(MODEL, &store.env()))).unwrap_err();
    assert!(error.code == Code::Unavailable && error.message.contains("\"1/saved_model.pb\" was read twice"), "{error}");
}

#[test]
fn etags_that_are_no_md5_are_found_out() {
    for (etags, rereads_max) in [(Etags::Encrypted, 4), (Etags::Parts, 0)] {
        let (store, local) = (store(), Local::new());
        store.states(etags);
        let origin = local.open(MODEL, &store.env());
        check_whole(&run(newest(&origin)).unwrap_or_else(|error| panic!("{error}")));
        let reads = store.reads().len();
        assert!((4..=4 + rereads_max).contains(&reads), "{reads}");
        // tfweb knows the store now, and reads later files once.
        store.put("m/1/assets/vocabulary", b"a".to_vec());
        run(newest(&origin)).unwrap();
        assert_eq!(store.reads(), ["vocabulary"]);
    }
}

/// Overwrites a file somewhere in a cache with zeros, as a power cut leaves it.
fn zero(cache: &Path, name: &str) {
    let found: Vec<PathBuf> = files(cache).into_keys().filter(|path| path.ends_with(name)).map(|path| cache.join(path)).collect();
    assert!(!found.is_empty());
    for path in found {
        let length = fs::metadata(&path).unwrap().len();
        fs::write(&path, vec![0; usize::try_from(length).unwrap()]).unwrap();
    }
}

#[test]
fn a_damaged_file_of_the_cache_is_downloaded_again() {
    let (store, local) = (store(), Local::new());
    let directory = run(newest(&local.open(MODEL, &store.env()))).unwrap();
    store.reads();
    zero(local.directory.path(), "variables.data-00000-of-00001");
    let again = run(newest(&local.open(MODEL, &store.env()))).unwrap();
    assert_eq!(again, directory);
    check_whole(&again);
    assert_eq!(store.reads(), ["variables.data-00000-of-00001"], "the others are linked");
    // A file that is damaged is linked into no other snapshot.
    zero(local.directory.path(), "saved_model.pb");
    store.put("m/1/assets/vocabulary", b"a".to_vec());
    let next = run(newest(&local.open(MODEL, &store.env()))).unwrap();
    assert_eq!(store.reads(), ["saved_model.pb", "vocabulary"]);
    assert!(files(&next)["saved_model.pb"] == files(&model())["1/saved_model.pb"]);
}

#[test]
fn a_damaged_file_of_an_archive_is_downloaded_again() {
    let (server, local) = (FileServer::start(), Local::new());
    server.put("/m.zip", page(zipped(&model()), "\"1\""));
    let url = format!("http://{}/m.zip", server.address);
    let directory = run(newest(&local.open(&url, &Env::of(&[])))).unwrap();
    zero(local.directory.path(), "saved_model.pb");
    let origin = local.open(&url, &Env::of(&[]));
    assert_eq!(run(newest(&origin)).unwrap(), directory);
    check_whole(&directory);
    assert_eq!(server.heads().len(), 3, "the first, one that found it unchanged, and one that was not asked whether it had");
}

#[test]
fn an_archive_of_other_bytes_is_seen_by_its_servers_md5() {
    let (server, local) = (FileServer::start(), Local::new());
    let content = tarred(&model(), "half_plus_two");
    let md5 = base64::prelude::BASE64_STANDARD.encode(Md5::digest(&content));
    server.put("/m.tgz", Page { md5: md5.leak(), lies: 1, ..page(content, "\"1\"") });
    let url = format!("http://{}/m.tgz", server.address);
    check_whole(&run(newest(&local.open(&url, &Env::of(&[])))).unwrap_or_else(|error| panic!("{error}")));
    assert_eq!(server.heads().len(), 2);
}

#[test]
fn an_archive_that_does_not_unpack_is_downloaded_again_once() {
    let (server, local) = (FileServer::start(), Local::new());
    // The server states no MD5, so nothing else shows that the bytes are wrong.
    let url = format!("http://{}/m.zip", server.address);
    server.put("/m.zip", Page { lies: 1, ..page(zipped(&model()), "\"1\"") });
    check_whole(&run(newest(&local.open(&url, &Env::of(&[])))).unwrap_or_else(|error| panic!("{error}")));
    assert_eq!(server.heads().len(), 2);

    let origin = Local::new().open(&url, &Env::of(&[]));
    server.put("/m.zip", page(b"no archive".to_vec(), "\"2\""));
    for heads in [2, 1] {
        assert!(run(origin.list()).is_err());
        assert_eq!(server.heads().len(), heads, "what is broken at the server costs one download for each listing");
    }
    server.put("/m.zip", Page { lies: 1, ..page(zipped(&model()), "\"3\"") });
    assert!(run(origin.list()).is_err());
    run(origin.list()).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_version_that_does_not_load_is_downloaded_again_once() {
    let (store, cache) = (store(), tempfile::tempdir().expect("a directory"));
    // Nothing shows that these bytes are wrong, until TensorFlow reads them.
    store.states(Etags::Parts);
    store.lies("saved_model.pb", 1);
    let mut process = start(&store, cache.path()).ready();
    process.until_says("a second download gave other files");
    let answer = process.connect().call(&Request::post("/models/m/serving_default", r#"{"x": [1]}"#)).expect("an answer");
    assert_eq!(answer.text(), GIVES_TWO);
    assert_eq!(store.reads().len(), 8);
    drop(process);
    drop(start(&store, cache.path()).ready());
    assert_eq!(store.reads(), [""; 0], "the cache has it");
}

#[test]
fn a_version_that_is_broken_at_its_origin_is_downloaded_twice_and_no_more() {
    let (store, cache) = (store(), tempfile::tempdir().expect("a directory"));
    store.put("m/1/saved_model.pb", vec![0; 100]);
    for reads in [8, 0] {
        let (status, stderr) = start(&store, cache.path()).ended();
        assert_eq!((status.code(), store.reads().len()), (Some(1), reads), "{stderr:#?}");
    }
}

#[test]
fn a_listing_without_end_ends() {
    if !is_alone("damage::a_listing_without_end_ends") {
        return;
    }
    let store = store();
    let resident = || resident_kib(std::process::id());
    for (lists, expected) in [
        (Lists::EndlessPage, "cannot list: Unexpected: an answer of the store has more than 16777216 bytes"),
        (Lists::SamePage, "more than 100000 files; is it the place of one model?"),
        (Lists::EmptyPages, "cannot list: Unexpected: the answers to one listing have more than 134217728 bytes"),
    ] {
        store.lists(lists);
        let (before, local) = (resident(), Local::new());
        let error = run(local.open(MODEL, &store.env()).list()).unwrap_err();
        assert!(error.message.contains(expected), "{error}");
        assert!(matches!(error.code, Code::Unavailable | Code::InvalidArgument), "{error:?}");
        let grown = resident().saturating_sub(before);
        assert!(grown < 256 << 10, "{expected}: {grown} KiB more");
    }
}

#[test]
fn a_listing_that_takes_too_long_ends() {
    let (store, local) = (store(), Local::new());
    store.lists(Lists::Never);
    let origin = local.open(MODEL, &store.env());
    let error = run(async {
        let mut listing = std::pin::pin!(origin.list());
        while store.reads().is_empty() {
            let still = tokio::time::timeout(Duration::from_millis(1), &mut listing).await;
            assert!(still.is_err(), "it waits");
        }
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(301)).await;
        listing.await.unwrap_err()
    });
    assert!(error.code == Code::Unavailable && error.message.ends_with("cannot list: it took more than 300 s"), "{error}");
}

#[test]
fn secrets_of_a_uri_are_not_kept_and_not_told() {
    let (server, cache) = (FileServer::start(), tempfile::tempdir().expect("a directory"));
    server.put("/m.zip", page(zipped(&model()), "\"1\""));
    let url = |name: &str| format!("http://user:s3cret@{}/{name}.zip?X-Amz-Signature=s3cret", server.address);
    let flags = format!("--cache_dir {} --model m={} --model missing={}", cache.path().display(), url("m"), url("missing"));
    let process = Process::serve(&flags);
    let get = |target: &str| process.connect().call(&Request::get(target)).expect("an answer").text();
    let told = [get("/models"), get("/readyz"), get("/v1/models/missing"), get("/stats"), process.stderr().join("\n")];
    assert!(told[0].contains("404 Not Found") && told.iter().all(|text| !text.contains("s3cret")), "{told:#?}");
    let kept = files(cache.path());
    assert!(kept.keys().any(|path| path.ends_with(".json")));
    for (path, content) in kept {
        assert!(!path.contains("s3cret") && !String::from_utf8_lossy(&content).contains("s3cret"), "{path}");
    }
}
