//! Listings of stores of which a part fails: the part is asked for again, or the listing is an error. It is never shorter.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use tfweb_engine::{Code, Error};
use tfweb_store::{Env, Listing};

use crate::client::{Connection, Request};
use crate::hostile_store::{HostileStore, Lists};
use crate::process::Process;
use crate::store::{run, Local};
use crate::store_servers::{files, model, PythonServer};
use crate::support::until;

/// So many failures in a row fail a listing, and a request of the next one.
const MORE_THAN_RETRIES: usize = 6;

/// A WebHDFS server of two versions: half_plus_two, and half_plus_three in its place.
struct Hdfs {
    server: PythonServer,
    directory: tempfile::TempDir,
}

impl Hdfs {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        for (version, from) in [("1", model()), ("2", model().with_file_name("half_plus_three"))] {
            for (path, content) in files(&from.join("1")) {
                let path = directory.path().join("m").join(version).join(path);
                fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
                fs::write(path, content).expect("a file");
            }
        }
        Self { server: PythonServer::start("webhdfs.py", &[directory.path()]), directory }
    }

    fn uri(&self) -> String {
        format!("webhdfs://{}/m", self.server.address)
    }

    /// Makes the next listings of a path fail.
    fn fails(&self, path: &str, how: &str, times: usize) {
        self.server.put("PUT", &format!("/faults/{path}?how={how}&times={times}"), b"");
    }

    /// How many failures are left.
    fn left(&self, path: &str) -> u64 {
        self.count("faults", path)
    }

    /// How often a path was listed.
    fn listed(&self, path: &str) -> u64 {
        self.count("listed", path)
    }

    fn count(&self, what: &str, path: &str) -> u64 {
        let request = Request::get(&format!("/{what}/{path}"));
        let answer = Connection::open(self.server.address).and_then(|mut connection| connection.call(&request));
        answer.expect("an answer").json().as_u64().expect("a number")
    }

    fn list(&self) -> Result<Listing, Error> {
        let local = Local::new();
        run(local.open(&self.uri(), &Env::of(&[])).list())
    }
}

#[test]
fn a_directory_that_fails_once_is_listed_again() {
    let hdfs = Hdfs::start();
    let whole = hdfs.list().expect("a listing");
    assert_eq!((whole.versions.len(), whole.versions[1].files.len()), (2, 4));
    for path in ["m", "m/2", "m/1/variables"] {
        for how in ["503", "drop"] {
            hdfs.fails(path, how, 1);
            assert_eq!(hdfs.list(), Ok(whole.clone()), "{path} {how}");
            assert_eq!(hdfs.left(path), 0, "{path} {how}");
        }
    }
}

#[test]
fn a_directory_that_cannot_be_listed_fails_the_listing() {
    let hdfs = Hdfs::start();
    for (path, how, code, says) in [
        ("m", "404", Code::NotFound, "there is nothing"),
        ("m/2", "404", Code::Unavailable, "cannot list \"2/\": it was there and is gone"),
        ("m", "403", Code::PermissionDenied, "cannot list: PermissionDenied"),
        ("m/1/variables", "400", Code::Unavailable, "cannot list \"1/variables/\": Unexpected"),
    ] {
        hdfs.fails(path, how, 1);
        let error = hdfs.list().expect_err("a part is missing");
        assert!(error.code == code && error.message.contains(says), "{path} {how}: {error:?}");
    }
}

#[test]
fn a_directory_that_the_store_denies_is_the_fault_of_its_version() {
    let hdfs = Hdfs::start();
    for (path, version, says) in
        [("m/2", 2, "cannot list \"2/\": PermissionDenied"), ("m/1/variables", 1, "cannot list \"1/variables/\": PermissionDenied")]
    {
        hdfs.fails(path, "403", 1);
        let listing = hdfs.list().expect("a listing");
        let fault = listing.version(version).and_then(|version| version.fault.as_ref()).expect("a fault");
        assert!(fault.code == Code::PermissionDenied && fault.message.contains(says), "{path}: {fault:?}");
        assert_eq!(listing.newest().map(|version| version.number), Some(3 - version), "the other one");
    }
}

#[test]
fn directories_that_are_no_part_of_a_version_are_not_listed() {
    let hdfs = Hdfs::start();
    let place = hdfs.directory.path().join("m");
    for path in ["lost+found/1", "1/notes", "1/1", "9223372036854775808", "variables"] {
        fs::create_dir_all(place.join(path)).expect("a directory");
        fs::write(place.join(path).join("saved_model.pb"), "a").expect("a file");
    }
    let listing = hdfs.list().expect("a listing");
    assert_eq!(listing.versions.iter().map(|version| version.files.len()).collect::<Vec<_>>(), [4, 4]);
    let strangers = ["m/lost+found", "m/1/notes", "m/1/1", "m/9223372036854775808"];
    assert_eq!((strangers.map(|path| hdfs.listed(path)), hdfs.listed("m/1/variables")), ([0; 4], 1));
}

#[test]
fn a_store_that_is_down_is_said_once_and_then_counted() {
    let (hdfs, cache) = (Hdfs::start(), tempfile::tempdir().expect("a directory"));
    let mut process = serve(&hdfs, cache.path());
    let said = |process: &Process, text: &str| process.stderr().iter().filter(|line| line.contains(text)).count();
    hdfs.fails("m", "400", 4);
    process.until_says("can be listed again; 4 listings in a row had failed");
    assert_eq!(said(&process, "cannot list"), 1, "{:#?}", process.stderr());
    // Requests that are tried again within a listing.
    hdfs.fails("m", "503", MORE_THAN_RETRIES);
    until("the failure is over", || hdfs.left("m") == 0);
    assert_eq!(said(&process, "trying again in"), 1, "{:#?}", process.stderr());
}

#[test]
fn a_served_version_stays_while_directories_cannot_be_listed() {
    let (hdfs, cache) = (Hdfs::start(), tempfile::tempdir().expect("a directory"));
    // The first listing fails too, so a start does not begin with version 1.
    hdfs.fails("m/2", "503", 1);
    let process = serve(&hdfs, cache.path());
    let check = || {
        let request = Request::post("/models/m/serving_default", r#"{"x": [1]}"#);
        assert_eq!(process.connect().call(&request).expect("an answer").text(), r#"{"y":[3.5]}"#);
    };
    check();
    let faults =
        [("m/2", "drop", 1), ("m/2/variables", "503", 1), ("m/2", "403", 1), ("m/2", "404", 1), ("m/2", "503", MORE_THAN_RETRIES)];
    for (path, how, times) in faults {
        hdfs.fails(path, how, times);
        until("the failure is over", || hdfs.left(path) == 0);
        // The third listing from here begins after tfweb has acted on the one that failed.
        let seen = hdfs.listed("m");
        until("the store is listed again", || hdfs.listed("m") >= seen + 3);
        check();
    }
    let changes: Vec<String> =
        process.stderr().into_iter().filter(|line| line.contains("loaded") && line.contains("version")).collect();
    assert!(matches!(&changes[..], [loaded] if loaded.contains("model \"m\" version 2 loaded")), "{changes:#?}");
}

fn serve(hdfs: &Hdfs, cache: &Path) -> Process {
    Process::serve(&format!("--cache_dir {} --poll_seconds 0.1 --model m={}", cache.display(), hdfs.uri()))
}

#[test]
fn a_mute_host_is_given_up_for_its_time() {
    // The system accepts connections, and nobody answers.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let uri = format!("webhdfs://{}/m", listener.local_addr().expect("its port"));
    let local = Local::new();
    let origin = local.open(&uri, &Env::of(&[]));
    let (error, took) = run(async {
        tokio::time::pause();
        let start = tokio::time::Instant::now();
        (origin.list().await.expect_err("nobody answers"), start.elapsed())
    });
    assert!(error.code == Code::Unavailable && error.message.contains("cannot list") && error.message.contains("time"), "{error}");
    assert!(took > Duration::from_secs(50) && took < Duration::from_secs(70), "{took:?}: {error}");
}

/// Checks a store that lists in pages, where the requests of the second page fail with some statuses first. 0 ends the connection.
#[track_caller]
fn check_pages(whole: &Listing, list: impl Fn(&[u16]) -> Result<Listing, Error>) {
    for failures in [&[][..], &[503], &[0], &[0, 503]] {
        assert_eq!(list(failures).as_ref(), Ok(whole), "{failures:?}");
    }
    for (status, code) in [(403, Code::PermissionDenied), (404, Code::NotFound), (400, Code::Unavailable)] {
        let error = list(&[status]).expect_err("a page is missing");
        assert!(error.code == code && error.message.contains("cannot list"), "{status}: {error:?}");
    }
}

#[test]
fn a_page_of_s3_that_fails_is_asked_for_again_or_fails_the_listing() {
    let store = HostileStore::start();
    for (path, content) in files(&model()) {
        store.put(&format!("m/{path}"), content);
    }
    let list = |lists| {
        store.lists(lists);
        let local = Local::new();
        run(local.open("s3://bucket/m", &store.env()).list())
    };
    let whole = list(Lists::Truly).expect("a listing");
    check_pages(&whole, |failures| list(Lists::Pages(failures.to_vec())));
}

#[test]
fn a_page_of_azure_that_fails_is_asked_for_again_or_fails_the_listing() {
    let server = PythonServer::start("azblob.py", &[model().parent().expect("a parent")]);
    let account = format!("AccountName=dev;BlobEndpoint=http://{}/dev;AccountKey=c2VjcmV0", server.address);
    let env = Env::of(&[("AZURE_STORAGE_CONNECTION_STRING", &account)]);
    let list = || {
        let local = Local::new();
        run(local.open("az://half_plus_two", &env).list())
    };
    let whole = list().expect("a listing");
    check_pages(&whole, |failures| {
        let failures: Vec<String> = failures.iter().map(u16::to_string).collect();
        server.put("PUT", &format!("/pages?failures={}", failures.join(",")), b"");
        list()
    });
}
