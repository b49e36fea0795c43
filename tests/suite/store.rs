//! Models brought from stores: byte for byte what was put there, once, and whole or not at all. `archives` has the same for
//! archives of web servers.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;

use tfweb_engine::{Code, Error};
use tfweb_store::{Cache, Env, Listing, ModelUri, Origin};

use crate::archives::{page, tarred, zipped};
use crate::client::Request;
use crate::process::Process;
use crate::store_servers::{files, model, FileServer, Proxy, PythonServer};
use crate::support::{until, Random};

/// The files of half_plus_two, as they are read.
const FILES: [&str; 4] = ["fingerprint.pb", "saved_model.pb", "variables.data-00000-of-00001", "variables.index"];

/// As the server will run it.
pub(crate) fn run<T>(work: impl Future<Output = T>) -> T {
    actix::System::new().block_on(work)
}

pub(crate) struct Local {
    pub(crate) directory: tempfile::TempDir,
}

impl Local {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().expect("a directory") }
    }

    fn cache(&self) -> Cache {
        Cache::open(Some(self.directory.path()), &Env::of(&[])).expect("a cache")
    }

    #[track_caller]
    pub(crate) fn open(&self, uri: &str, env: &Env) -> Origin {
        let uri = ModelUri::parse(uri).unwrap_or_else(|error| panic!("{error}"));
        Origin::open(&uri, || Ok(self.cache()), env).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Lists the files of downloads that did not end.
    fn leftovers(&self) -> Vec<String> {
        files(self.directory.path()).into_keys().filter(|path| path.contains(".part")).collect()
    }
}

/// Looks, and brings the newest.
pub(crate) async fn newest(origin: &Origin) -> Result<PathBuf, Error> {
    let listing = origin.list().await?;
    origin.download(listing.newest().expect("a complete version")).await
}

/// The same model came, and comes again without being fetched.
#[track_caller]
pub(crate) fn check_brought(local: &Local, origin: &Origin) -> PathBuf {
    let directory = run(newest(origin)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(files(&directory), files(&model().join("1")), "{}", directory.display());
    assert!(directory.starts_with(local.directory.path()));
    assert_eq!(run(newest(origin)).expect("again"), directory);
    assert_eq!(local.leftovers(), [""; 0]);
    directory
}

pub(crate) fn s3(address: SocketAddr) -> Env {
    let endpoint = format!("http://{address}");
    Env::of(&[("AWS_ENDPOINT_URL", &endpoint), ("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")])
}

/// An S3 server that has the model, behind a proxy.
pub(crate) fn s3_server() -> (PythonServer, Proxy) {
    let server = PythonServer::start("s3.py", &[]);
    server.put("PUT", "/bucket", b"");
    for (path, content) in files(&model()) {
        server.put("PUT", &format!("/bucket/models/half_plus_two/{path}"), &content);
    }
    let proxy = Proxy::start(server.address);
    (server, proxy)
}

pub(crate) const S3_MODEL: &str = "s3://bucket/models/half_plus_two";

#[test]
fn s3_has_the_model() {
    let (server, proxy) = s3_server();
    let local = Local::new();
    let origin = local.open(S3_MODEL, &s3(proxy.address));
    let directory = check_brought(&local, &origin);
    assert!(directory.parent().unwrap().file_name().unwrap().to_str().unwrap().starts_with("half_plus_two-"));
    let is_signed = |head: &String| head.to_lowercase().contains("\nauthorization: aws4-hmac-sha256 credential=id/");
    assert!(proxy.heads().iter().all(is_signed));

    let alone = local.open(&format!("{S3_MODEL}/1"), &s3(server.address));
    let listing = run(alone.list()).unwrap();
    assert_eq!((listing.is_versioned, listing.versions[0].number, listing.versions[0].files.len()), (false, 1, 4));
    check_brought(&local, &alone);

    let error = run(local.open("s3://bucket/nothing", &s3(server.address)).list()).unwrap_err();
    assert!(error.code == Code::NotFound && error.message.ends_with("there is nothing"), "{error}");
    let error = run(local.open("s3://no-such-bucket/m", &s3(server.address)).list()).unwrap_err();
    assert!(error.code == Code::NotFound && error.message.starts_with("`s3://no-such-bucket/m`: cannot list"), "{error}");
}

#[test]
fn public_bucket_is_read_unsigned() {
    let (_server, proxy) = s3_server();
    let local = Local::new();
    let endpoint = format!("http://{}", proxy.address);
    check_brought(&local, &local.open(S3_MODEL, &Env::of(&[("AWS_ENDPOINT_URL_S3", &endpoint)])));
    let heads = proxy.heads();
    assert!(!heads.is_empty() && !heads.iter().any(|head| head.to_lowercase().contains("authorization")), "{heads:#?}");
}

#[test]
fn gcs_has_the_model() {
    let server = PythonServer::start("gcs.py", &[]);
    for (path, content) in files(&model()) {
        let name = format!("half_plus_two/{path}").replace('/', "%2F");
        server.put("POST", &format!("/upload/storage/v1/b/models/o?uploadType=media&name={name}"), &content);
    }
    let local = Local::new();
    let env = Env::of(&[("STORAGE_EMULATOR_HOST", &server.address.to_string())]);
    check_brought(&local, &local.open("gs://models/half_plus_two", &env));
    let error = run(local.open("gs://models/nothing", &env).list()).unwrap_err();
    assert_eq!(error.code, Code::NotFound, "{error}");
}

#[test]
fn azure_has_the_model() {
    let directory = model();
    let server = PythonServer::start("azblob.py", &[directory.parent().expect("a parent")]);
    let proxy = Proxy::start(server.address);
    let settings = |more: &str| format!("AccountName=dev;BlobEndpoint=http://{}/dev;{more}", proxy.address);
    for (more, authorization) in
        [("AccountKey=c2VjcmV0", "authorization: SharedKey dev:"), ("SharedAccessSignature=sig=secret", "sig=secret")]
    {
        let env = Env::of(&[("AZURE_STORAGE_CONNECTION_STRING", &settings(more))]);
        let local = Local::new();
        check_brought(&local, &local.open("az://half_plus_two", &env));
        check_brought(&local, &local.open("az://half_plus_two/1", &env));
        assert!(proxy.heads().iter().all(|head| head.contains(authorization)));
        let error = run(local.open("az://nowhere/m", &env).list()).unwrap_err();
        assert!(error.code == Code::NotFound && !error.message.contains("secret"), "{error}");
        proxy.heads();
    }
}

#[test]
fn webhdfs_has_the_model() {
    let directory = model();
    let server = PythonServer::start("webhdfs.py", &[directory.parent().expect("a parent")]);
    let local = Local::new();
    let env = Env::of(&[("HADOOP_USER_NAME", "me")]);
    check_brought(&local, &local.open(&format!("webhdfs://{}/half_plus_two", server.address), &env));
    check_brought(&local, &local.open(&format!("webhdfs://{}/half_plus_two/1", server.address), &env));
    let error = run(local.open(&format!("webhdfs://{}/nowhere", server.address), &env).list()).unwrap_err();
    assert_eq!(error.code, Code::NotFound, "{error}");
}

#[test]
fn unchanged_files_are_not_fetched_again() {
    let (server, proxy) = s3_server();
    let local = Local::new();
    let origin = local.open(S3_MODEL, &s3(proxy.address));
    let first = run(newest(&origin)).unwrap();
    assert_eq!(proxy.files_read(), FILES);
    run(newest(&local.open(S3_MODEL, &s3(proxy.address)))).unwrap();
    assert_eq!(proxy.files_read(), [""; 0], "known to the next process too");

    server.put("PUT", "/bucket/models/half_plus_two/1/fingerprint.pb", b"changed");
    let second = run(newest(&origin)).unwrap();
    assert_eq!(proxy.files_read(), ["fingerprint.pb"]);
    assert_ne!(first, second, "who reads the first goes on reading it");
    assert_eq!(files(&first), files(&model().join("1")));
    assert_eq!(files(&second)["fingerprint.pb"], b"changed");

    std::fs::write(second.join("saved_model.pb"), "cut").unwrap();
    run(newest(&origin)).unwrap();
    assert_eq!(files(&second)["saved_model.pb"], files(&model())["1/saved_model.pb"], "what is damaged is mended");
}

#[test]
fn two_that_bring_the_same_fetch_it_once() {
    let (_server, proxy) = s3_server();
    let local = Local::new();
    let (one, two) = (local.open(S3_MODEL, &s3(proxy.address)), local.open(S3_MODEL, &s3(proxy.address)));
    let (one, two) = run(async { futures::join!(newest(&one), newest(&two)) });
    assert_eq!(one.unwrap(), two.unwrap());
    assert_eq!(proxy.files_read(), FILES);
}

#[test]
fn version_that_changes_meanwhile_is_not_taken() {
    let (server, _proxy) = s3_server();
    let local = Local::new();
    let origin = local.open(S3_MODEL, &s3(server.address));
    let listing: Listing = run(origin.list()).unwrap();
    let size = listing.versions[0].files[0].size;
    server.put("PUT", "/bucket/models/half_plus_two/1/fingerprint.pb", &vec![b'x'; usize::try_from(size).unwrap()]);
    let error = run(origin.download(&listing.versions[0])).unwrap_err();
    assert!(error.code == Code::Unavailable && error.message.contains("was changed while it was being read"), "{error}");
    assert_eq!(files(local.directory.path()).into_keys().filter(|path| !path.ends_with(".lock")).count(), 0);

    server.put("PUT", "/bucket/models/half_plus_two/7/saved_model.pb", b"a");
    server.put("PUT", "/bucket/models/half_plus_two/7/variables/variables.index", b"a");
    let listing = run(origin.list()).unwrap();
    assert_eq!(listing.newest().map(|version| version.number), Some(1), "7 is not all there");
    let error = run(origin.download(listing.version(7).unwrap())).unwrap_err();
    assert!(error.message.contains("version 7 is not complete: variables/variables.data-… is missing"), "{error}");
}

#[test]
fn large_file_is_read_in_ranges() {
    let (server, proxy) = s3_server();
    let mut random = Random(11);
    let large: Vec<u8> = (0..(33 << 20) / 8).flat_map(|_| random.next().to_le_bytes()).chain([1, 2, 3]).collect();
    server.put("PUT", "/bucket/models/half_plus_two/1/assets/large", &large);
    let local = Local::new();
    let directory = run(newest(&local.open(S3_MODEL, &s3(proxy.address)))).unwrap_or_else(|error| panic!("{error}"));
    assert!(files(&directory)["assets/large"] == large);
    let ranges = proxy.heads().iter().filter(|head| head.contains("/large ") && head.contains("\nrange: bytes=")).count();
    assert_eq!(ranges, 9, "of 4 MiB each");
}

#[test]
fn server_that_dies_leaves_nothing_half_written() {
    let (server, proxy) = s3_server();
    let mut random = Random(7);
    let large: Vec<u8> = (0..500_000).flat_map(|_| random.next().to_le_bytes()).collect();
    server.put("PUT", "/bucket/models/half_plus_two/1/assets/large", &large);
    let local = Local::new();
    let origin = local.open(S3_MODEL, &s3(proxy.address));
    let listing = run(origin.list()).unwrap();
    proxy.dies_after(1_000_000);
    let error = run(origin.download(&listing.versions[0])).unwrap_err();
    assert!(proxy.is_dead());
    assert!(error.code == Code::Unavailable && error.message.starts_with(&format!("`{S3_MODEL}`: cannot read ")), "{error}");
    assert!(error.message.lines().count() == 1 && error.message.len() < 500, "{error}");
    assert_eq!(files(local.directory.path()).into_keys().filter(|path| !path.ends_with(".lock")).count(), 0);
    let error = run(origin.list()).unwrap_err();
    assert!(error.code == Code::Unavailable && error.message.contains("cannot list"), "{error}");

    proxy.revive();
    let directory = run(newest(&origin)).unwrap();
    assert_eq!(files(&directory)["assets/large"], large);
    assert_eq!(local.leftovers(), [""; 0]);
}

#[test]
fn cache_that_cannot_be_written_is_an_error() {
    let (server, _proxy) = s3_server();
    let local = Local::new();
    let origin = local.open(S3_MODEL, &s3(server.address));
    let listing = run(origin.list()).unwrap();
    let place = local.directory.path().to_path_buf();
    std::fs::remove_dir_all(&place).unwrap();
    std::fs::write(&place, "in its place").unwrap();
    let error = run(origin.download(&listing.versions[0])).unwrap_err();
    std::fs::remove_file(&place).unwrap();
    std::fs::create_dir(&place).unwrap();
    let expected = format!("cannot write to the cache directory `{}`: ", place.display());
    assert!(error.code == Code::FailedPrecondition && error.message.starts_with(&expected), "{error}");
}

pub(crate) fn asks(process: &Process, model: &str) -> String {
    let request = Request::post(&format!("/models/{model}/serving_default"), r#"{"x": [1]}"#);
    process.connect().call(&request).expect("an answer").text()
}

#[test]
fn one_server_serves_the_model_from_every_place() {
    let (s3, _proxy) = s3_server();
    let gcs = PythonServer::start("gcs.py", &[]);
    for (path, content) in files(&model()) {
        let name = format!("half_plus_two/{path}").replace('/', "%2F");
        gcs.put("POST", &format!("/upload/storage/v1/b/models/o?uploadType=media&name={name}"), &content);
    }
    let directory = model();
    let parent = directory.parent().expect("a parent");
    let (azure, hdfs) = (PythonServer::start("azblob.py", &[parent]), PythonServer::start("webhdfs.py", &[parent]));
    let web = FileServer::start();
    web.put("/model.zip", page(zipped(&model().join("1")), "\"1\""));
    web.put("/model.tgz", page(tarred(&model(), "half_plus_two"), "\"1\""));
    let cache = tempfile::tempdir().expect("a directory");
    let places = [
        ("local", directory.display().to_string()),
        ("s3", S3_MODEL.to_owned()),
        ("gcs", "gs://models/half_plus_two".to_owned()),
        ("azure", "az://half_plus_two".to_owned()),
        ("hdfs", format!("webhdfs://{}/half_plus_two", hdfs.address)),
        ("zip", format!("http://{}/model.zip", web.address)),
        ("tgz", format!("http://{}/model.tgz", web.address)),
    ];
    let mut flags = format!("--host 127.0.0.1 --port 0 --cache_dir {}", cache.path().display());
    for (name, uri) in &places {
        flags += &format!(" --model {name}={uri}");
    }
    let (s3, gcs) = (format!("http://{}", s3.address), gcs.address.to_string());
    let azure = format!("AccountName=dev;BlobEndpoint=http://{}/dev;AccountKey=c2VjcmV0", azure.address);
    let variables = [
        ("AWS_ENDPOINT_URL", s3.as_str()),
        ("AWS_ACCESS_KEY_ID", "id"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("STORAGE_EMULATOR_HOST", gcs.as_str()),
        ("AZURE_STORAGE_CONNECTION_STRING", azure.as_str()),
    ];
    let process = Process::start(&flags, &variables).ready();
    for (name, uri) in places {
        assert_eq!(asks(&process, name), r#"{"y":[2.5]}"#, "{uri}");
    }
}

#[test]
fn a_store_that_dies_is_asked_again() {
    let (server, proxy) = s3_server();
    let cache = tempfile::tempdir().expect("a directory");
    let flags = format!("--host 127.0.0.1 --port 0 --cache_dir {} --poll_seconds 0.1 --model m={S3_MODEL}", cache.path().display());
    let endpoint = format!("http://{}", proxy.address);
    let variables = [("AWS_ENDPOINT_URL", endpoint.as_str()), ("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")];
    let process = Process::start(&flags, &variables).ready();
    assert_eq!(asks(&process, "m"), r#"{"y":[2.5]}"#);
    let mut random = Random(7);
    let large: Vec<u8> = (0..500_000).flat_map(|_| random.next().to_le_bytes()).collect();
    proxy.dies_after(1_000_000);
    server.put("PUT", "/bucket/models/half_plus_two/2/assets/large", &large);
    for (path, content) in files(&model().with_file_name("half_plus_three").join("1")) {
        server.put("PUT", &format!("/bucket/models/half_plus_two/2/{path}"), &content);
    }
    let error = || {
        let models = process.connect().call(&Request::get("/models")).expect("an answer").json();
        models[0]["error"].as_str().unwrap_or_default().to_owned()
    };
    until("the trouble is shown", || error().contains(S3_MODEL));
    assert!(proxy.is_dead());
    assert_eq!(asks(&process, "m"), r#"{"y":[2.5]}"#, "what was loaded is served meanwhile");
    let parts: Vec<String> = files(cache.path()).into_keys().filter(|path| path.contains("large")).collect();
    assert!(parts.iter().all(|path| path.contains(".part")), "nothing half written passes for whole: {parts:?}");
    proxy.revive();
    until("version 2 is served", || asks(&process, "m") == r#"{"y":[3.5]}"#);
    assert_eq!(error(), "");
}
