//! Snapshots that are found again, leftovers that are removed, and errors for a directory that cannot be a cache.

use super::*;
use crate::manifest::ManifestFile;

fn place(cache: &Cache, uri: &str, endpoint: Option<&str>) -> OriginCache {
    let place = cache.origin(&ModelUri::parse(uri).unwrap(), endpoint);
    place.make_directory().unwrap();
    place
}

fn manifest(place: &OriginCache, size: u64) -> Manifest {
    let files = vec![ManifestFile { path: "saved_model.pb".into(), size, stamp: "a".into() }];
    Manifest { identity: place.identity().into(), version: "1".into(), etag: None, last_modified: None, files }
}

/// Publishes a snapshot with one file of three bytes.
fn publish(place: &OriginCache, name: &str) -> PathBuf {
    let part = place.begin_snapshot("1").unwrap();
    fs::write(part.path().join("saved_model.pb"), "abc").unwrap();
    place.publish(part, name, &manifest(place, 3)).unwrap()
}

fn names(place: &OriginCache) -> Vec<String> {
    let mut names: Vec<String> =
        entries(&place.directory).map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn usual_directory_is_xdgs() {
    let check = |variables: &[(&str, &str)]| usual_directory(&Env::of(variables)).map_err(|error| error.message);
    assert_eq!(check(&[("XDG_CACHE_HOME", "/x"), ("HOME", "/h")]).unwrap(), Path::new("/x/tfweb"));
    assert_eq!(check(&[("XDG_CACHE_HOME", "relative"), ("HOME", "/h")]).unwrap(), Path::new("/h/.cache/tfweb"));
    assert!(check(&[]).unwrap_err().contains("neither XDG_CACHE_HOME nor HOME is set; name one with --cache_dir"));
}

#[test]
fn cache_that_cannot_be_written_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let error = Cache::open(Some(&file.join("cache")), &Env::of(&[])).unwrap_err();
    assert_eq!(error.code, Code::FailedPrecondition);
    let expected = format!("cannot write to the cache directory `{}`: Not a directory", file.join("cache").display());
    assert!(error.message.starts_with(&expected) && error.message.ends_with("--cache_dir"), "{error}");
    let full = Cache { directory: "/c".into(), is_read_only: false }.cannot_write(&io::ErrorKind::StorageFull.into());
    assert!(full.message.starts_with("no space is left in the cache directory `/c`"), "{full}");
}

#[test]
fn places_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::open(Some(directory.path()), &Env::of(&[])).unwrap();
    let one = place(&cache, "s3://bucket/m", None);
    let two = place(&cache, "s3://other/m", None);
    let three = place(&cache, "s3://bucket/m", Some("http://localhost"));
    let evil = place(&cache, "hf://o/..x", None);
    assert!(one.directory != two.directory && one.directory != three.directory);
    assert!(one.directory.file_name().unwrap().to_str().unwrap().starts_with("m-"), "{one:?}");
    assert_eq!(evil.directory.parent(), Some(directory.path()));
}

#[test]
fn snapshots_are_whole_or_not_there() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::open(Some(directory.path()), &Env::of(&[])).unwrap();
    let place = place(&cache, "s3://bucket/m", None);
    assert!(place.complete("1-a").is_none());
    let snapshot = publish(&place, "1-a");
    assert_eq!(names(&place), ["1-a", "1-a.json"]);
    assert!(place.complete("1-a").is_some() && place.snapshots("1").len() == 1 && place.snapshots("2").is_empty());
    let other = OriginCache { identity: "another".into(), ..place.clone() };
    assert!(other.complete("1-a").is_none(), "of another place that has the same hash");
    fs::write(snapshot.join("saved_model.pb"), "ab").unwrap();
    assert!(place.complete("1-a").is_none(), "cut");
    publish(&place, "1-a");
    assert!(place.complete("1-a").is_some(), "mended");
    fs::remove_file(place.manifest_path("1-a")).unwrap();
    assert!(place.complete("1-a").is_none());
}

#[test]
fn parts_are_removed_unless_someone_works_on_them() {
    let directory = tempfile::tempdir().unwrap();
    let open = || Cache::open(Some(directory.path()), &Env::of(&[])).unwrap();
    let place = place(&open(), "s3://bucket/m", None);
    drop(place.begin_snapshot("1").unwrap());
    assert_eq!(names(&place), [""; 0], "dropped in good order");
    // Forgetting it leaves what a crash leaves.
    std::mem::forget(place.begin_snapshot("1").unwrap());
    let lock = place.try_lock("2").unwrap().unwrap();
    let busy = place.begin_snapshot("2").unwrap();
    assert!(place.try_lock("2").unwrap().is_none(), "locked");
    open();
    assert!(busy.path().exists());
    assert_eq!(names(&place).iter().filter(|name| name.ends_with(".part")).count(), 1, "{:?}", names(&place));
    std::mem::forget(busy);
    drop(lock);
    let lock = place.try_lock("2").unwrap().unwrap();
    place.remove_unfinished("2", &lock);
    assert!(names(&place).iter().all(|name| name.ends_with(LOCK)), "{:?}", names(&place));
}

#[test]
fn old_snapshots_go_when_nobody_wants_them() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::open(Some(directory.path()), &Env::of(&[])).unwrap();
    let place = place(&cache, "s3://bucket/m", None);
    let age = |name: &str, days: u64| {
        let file = OsFile::options().append(true).open(place.manifest_path(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(days * 86_400 + 60)).unwrap();
    };
    let snapshots = || names(&place).into_iter().filter(|name| !name.ends_with(".json")).collect::<Vec<_>>();
    publish(&place, "1-a");
    publish(&place, "1-b");
    assert_eq!(snapshots(), ["1-a", "1-b"], "who found the old one may still load it");
    age("1-a", 1);
    publish(&place, "1-c");
    assert_eq!(snapshots(), ["1-b", "1-c"]);
    age("1-b", 30);
    age("1-c", 29);
    Cache::open(Some(directory.path()), &Env::of(&[])).unwrap();
    assert_eq!(snapshots(), ["1-c"]);
    age("1-c", 29);
    place.touch("1-c");
    let modified = fs::metadata(place.manifest_path("1-c")).unwrap().modified().unwrap();
    assert!(modified.elapsed().unwrap() < Duration::from_secs(60));
}
