//! Places as people have them: anything may lie beside the versions, stores are down, caches can only be read. Real TensorFlow.

use std::fs::{self, Permissions};
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::Path;
use std::process::Command;

use tfweb_store::ModelUri;

use crate::archives::{page, zipped};
use crate::client::Request;
use crate::hostile_store::{HostileStore, Lists};
use crate::keeping::{Shelf, GIVES_THREE, GIVES_TWO, THREE, TWO};
use crate::process::Process;
use crate::store::{asks, newest, run, s3, s3_server, Local, S3_MODEL};
use crate::store_servers::{files, model, FileServer};
use crate::support::until;

/// So many entries as no place of a model has.
const MANY: usize = 100_001;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("a file of mine");
}

/// Directories that nobody may read. Dropped, they can be removed.
struct Closed(Vec<std::path::PathBuf>);

impl Drop for Closed {
    fn drop(&mut self) {
        self.0.iter().for_each(|path| set_mode(path, 0o700));
    }
}

/// Puts everything strange beside the versions, and two versions that cannot be served.
fn put_strangers(place: &Path) -> Closed {
    let path = |name: &str| place.join(name);
    let put = |name: &str| {
        fs::create_dir_all(path(name).parent().expect("a parent")).expect("a directory");
        fs::write(path(name), "a").expect("a file");
    };
    for name in [".hidden/saved_model.pb", "9223372036854775808/saved_model.pb", "a\\b", "1\\2", "new\nline", "1/notes/x", "-7"] {
        put(name);
    }
    for (to, name) in [(".", "current"), ("/", "root"), ("loop", "loop"), ("nowhere", "6"), ("../..", "1/up")] {
        symlink(to, path(name)).expect("a link");
    }
    assert!(Command::new("mkfifo").arg(path("fifo")).status().expect("mkfifo").success());
    (0..MANY).for_each(|number| drop(fs::File::create(path(&format!("note-{number}"))).expect("a file")));
    // Half deleted, not readable, and with a link that nobody can follow.
    put("3/variables/variables.index");
    put("4/saved_model.pb");
    put("5/saved_model.pb");
    symlink("assets", path("5/assets")).expect("a link");
    fs::create_dir(path("lost+found")).expect("a directory");
    let closed = vec![path("lost+found"), path("4")];
    closed.iter().for_each(|path| set_mode(path, 0o000));
    Closed(closed)
}

fn serve(flags: &str, variables: &[(&str, &str)]) -> Process {
    Process::without_rights(&format!("--host 127.0.0.1 --port 0 --poll_seconds 0.1 {flags}"), variables).ready()
}

fn error_of(process: &Process, version: u64) -> String {
    let models = process.connect().call(&Request::get("/models")).expect("an answer").json();
    let versions = models[0]["versions"].as_array().cloned().unwrap_or_default();
    let found = versions.into_iter().find(|entry| entry["version"] == version).unwrap_or_default();
    found["error"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_place_with_everything_strange_beside_its_versions_serves() {
    let shelf = Shelf::new();
    shelf.put(1, TWO);
    // Strange things come while version 1 is served.
    let flags = shelf.flags("");
    let mut before = serve(&flags, &[]);
    let _closed = put_strangers(shelf.path());
    before.until_says("version 5 is not readable: `assets`: Too many levels of symbolic links");
    // And they are there at the start.
    let after = serve(&flags, &[]);
    for process in [&before, &after] {
        until("the faults are known", || error_of(process, 5).contains("not readable: `assets`"));
        assert_eq!(asks(process, "m"), GIVES_TWO);
        assert!(error_of(process, 3).contains("not complete: saved_model.pb is missing"), "{}", error_of(process, 3));
        if Path::new("/usr/bin/setpriv").exists() {
            assert!(error_of(process, 4).contains("Permission denied"), "{}", error_of(process, 4));
        }
    }
    shelf.put(7, THREE);
    for process in [&before, &after] {
        until("version 7 takes over", || asks(process, "m") == GIVES_THREE);
    }
}

#[test]
fn a_store_with_everything_strange_beside_its_versions_serves() {
    let (store, cache) = (HostileStore::start(), tempfile::tempdir().expect("a directory"));
    for (path, content) in files(&model()) {
        store.put(&format!("m/{path}"), content);
    }
    let variables = store.variables();
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    let flags = format!("--cache_dir {} --model m=s3://bucket/m", cache.path().display());
    let before = serve(&flags, &variables);
    let beside = ["x//notes.txt", "/1/saved_model.pb", "a\\b", "1\\saved_model.pb", "../m/1", "./1", ".hidden/1/a"];
    let within = ["1//saved_model.pb", "1/variables//x", "1/assets/../x", "7/variables//x", "7/variables/./x"];
    for name in beside.into_iter().chain(within) {
        store.put(&format!("m/{name}"), b"a".to_vec());
    }
    for name in ["3/assets/vocabulary", "4/saved_model.pb", "4/assets/a\\x", "9223372036854775808/saved_model.pb"] {
        store.put(&format!("m/{name}"), b"a".to_vec());
    }
    let other_cache = tempfile::tempdir().expect("a directory");
    let after = serve(&format!("--cache_dir {} --model m=s3://bucket/m", other_cache.path().display()), &variables);
    for process in [&before, &after] {
        until("the fault is known", || error_of(process, 4).contains("is refused: a backslash"));
        assert!(error_of(process, 3).contains("not complete: saved_model.pb is missing"), "{}", error_of(process, 3));
        assert_eq!(asks(process, "m"), GIVES_TWO);
    }
    for (path, content) in files(&model().with_file_name("half_plus_three").join("1")) {
        store.put(&format!("m/7/{path}"), content);
    }
    for process in [&before, &after] {
        until("version 7 takes over", || asks(process, "m") == GIVES_THREE);
    }
}

#[test]
fn a_hundred_thousand_objects_beside_the_versions_are_passed_over() {
    let (store, local) = (HostileStore::start(), Local::new());
    for (path, content) in files(&model()) {
        store.put(&format!("m/{path}"), content);
    }
    let list = || run(local.open("s3://bucket/m", &store.env()).list()).unwrap_or_else(|error| panic!("{error}"));
    let alone = list();
    store.lists(Lists::Beside(MANY.div_ceil(1000)));
    assert_eq!(list(), alone);
}

#[test]
fn a_model_beside_its_versions_says_what_is_not_served() {
    let shelf = Shelf::new();
    shelf.put(2, THREE);
    shelf.put(12, THREE);
    let copied = Command::new("cp").arg("-r").arg(format!("{TWO}/.")).arg(shelf.path()).status().expect("cp");
    assert!(copied.success());
    let mut process = serve(&shelf.flags(""), &[]);
    process.until_says("the versions in its directories 12, 2 are not served");
    assert_eq!(asks(&process, "m"), GIVES_TWO);
}

#[test]
fn a_link_that_is_turned_to_files_of_the_same_sizes_and_dates_is_seen() {
    let place = tempfile::tempdir().expect("a directory");
    let path = |name: &str| place.path().join(name);
    for (name, variables) in [("a", TWO), ("b", THREE)] {
        for (file, content) in files(Path::new(TWO)) {
            let content =
                if file.starts_with("variables/") { fs::read(Path::new(variables).join(&file)).expect("a file") } else { content };
            let file = path(name).join("1").join(file);
            fs::create_dir_all(file.parent().expect("a parent")).expect("a directory");
            fs::write(&file, content).expect("a file");
            let file = fs::File::options().append(true).open(file).expect("a file");
            file.set_modified(std::time::SystemTime::UNIX_EPOCH).expect("a date");
        }
    }
    let sizes = |name: &str| {
        let mut sizes: Vec<_> = files(&path(name)).into_iter().map(|(path, content)| (path, content.len())).collect();
        sizes.sort();
        sizes
    };
    assert_eq!(sizes("a"), sizes("b"), "else this proves nothing");
    symlink("a", path("current")).expect("a link");
    let process = serve(&format!("--model m={}", path("current").display()), &[]);
    assert_eq!(asks(&process, "m"), GIVES_TWO);
    symlink("b", path("next")).expect("a link");
    fs::rename(path("next"), path("current")).expect("a link");
    until("b is served", || asks(&process, "m") == GIVES_THREE);
}

#[test]
fn a_restart_while_the_store_is_down_serves_the_cache_and_says_so() {
    let (server, proxy) = s3_server();
    let cache = tempfile::tempdir().expect("a directory");
    let endpoint = format!("http://{}", proxy.address);
    let variables = [("AWS_ENDPOINT_URL", endpoint.as_str()), ("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    let flags = format!("--cache_dir {} --model m={S3_MODEL}", cache.path().display());
    let mut first = serve(&flags, &variables);
    let loaded = first.until_says("version 1 loaded from `s3://bucket/models/half_plus_two` in ");
    assert!(loaded.ends_with(" ms"), "{loaded}");
    drop(first);
    proxy.dies_after(0);
    let mut second = serve(&flags, &variables);
    second.until_says("does not answer; the cache has these of the versions listed last: 1");
    assert_eq!(asks(&second, "m"), GIVES_TWO);
    let models = second.connect().call(&Request::get("/models")).expect("an answer").json();
    assert!(models[0]["error"].as_str().is_some_and(|error| error.contains("cannot list")), "{models}");
    for (path, content) in files(&model().with_file_name("half_plus_three").join("1")) {
        server.put("PUT", &format!("/bucket/models/half_plus_two/2/{path}"), &content);
    }
    proxy.revive();
    until("the store is listed again", || asks(&second, "m") == GIVES_THREE);
}

#[test]
fn a_version_that_was_taken_back_is_not_served_from_the_cache() {
    let (server, proxy) = s3_server();
    let local = Local::new();
    let origin = local.open(S3_MODEL, &s3(proxy.address));
    let put = |method: &str| {
        for (path, content) in files(&model().join("1")) {
            server.put(method, &format!("/bucket/models/half_plus_two/2/{path}"), &content);
        }
    };
    let remembered = || {
        let listing = run(local.open(S3_MODEL, &s3(proxy.address)).remembered()).expect("a cache");
        listing.map(|listing| listing.versions.iter().map(|version| version.number).collect::<Vec<_>>())
    };
    assert_eq!(remembered(), None, "nothing was downloaded");
    run(newest(&origin)).expect("version 1");
    put("PUT");
    run(newest(&origin)).expect("version 2");
    assert_eq!(remembered(), Some(vec![1, 2]));
    put("DELETE");
    run(origin.list()).expect("a listing");
    assert_eq!(remembered(), Some(vec![1]));
}

#[test]
fn a_cache_that_can_only_be_read_serves_what_it_has() {
    let (server, proxy) = s3_server();
    let (web, cache) = (FileServer::start(), tempfile::tempdir().expect("a directory"));
    web.put("/m.zip", page(zipped(&model()), "\"1\""));
    let endpoint = format!("http://{}", proxy.address);
    let variables = [("AWS_ENDPOINT_URL", endpoint.as_str()), ("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    let flags = format!("--cache_dir {} --model s={S3_MODEL} --model z=http://{}/m.zip", cache.path().display(), web.address);
    drop(serve(&flags, &variables));
    let chmod = |mode: &str| assert!(Command::new("chmod").args(["-R", mode]).arg(cache.path()).status().expect("chmod").success());
    chmod("a-w");
    let mut process = serve(&flags, &variables);
    process.until_says("only the models that it has can be served");
    assert_eq!((asks(&process, "s").as_str(), asks(&process, "z").as_str()), (GIVES_TWO, GIVES_TWO));
    // New files cannot come.
    server.put("PUT", "/bucket/models/half_plus_two/2/saved_model.pb", b"a");
    process.until_says("version 2 from `s3://bucket/models/half_plus_two` was not loaded");
    assert_eq!(asks(&process, "s"), GIVES_TWO);
    chmod("u+w");
}

#[test]
fn a_warning_is_one_line() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("models");
    let config = |name: &str, place: &str| format!("config {{ name: \"{name}\" base_path: \"{place}\" }}\n");
    let here = std::path::absolute(model()).expect("a path");
    let text = config("m", &here.display().to_string()) + &config("odd", "/nowhere/a\\n2026 WARN b");
    fs::write(&file, format!("model_config_list {{ {text} }}")).expect("a file");
    let mut process = serve(&format!("--model_config_file {}", file.display()), &[]);
    let line = process.until_says("No such file");
    assert!(line.contains("model \"odd\": `/nowhere/a 2026 WARN b`"), "{line}");
}

#[test]
fn a_slash_at_the_end_and_percents_make_no_other_place() {
    let uri = |text: &str| ModelUri::parse(text).expect("a URI");
    for (one, other) in [("/m/a/", "/m/a"), ("s3://b/m/", "s3://b/m"), ("hf://o/r/", "hf://o/r"), ("file:///m/a/", "/m/a")] {
        assert_eq!((uri(one), uri(one).name()), (uri(other), uri(other).name()), "{one}");
    }
    assert_eq!(uri("file:///my%20models/%C3%A9"), uri("/my models/é"));
}
