//! Models that are changed by several callers at once, and by callers that go away. No TensorFlow loads them: a file says
//! how each load ends.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use futures::executor::block_on;
use futures::FutureExt;
use serde_json::{json, Value};
use tempfile::TempDir;
use tfweb::models::defaults::Defaults;
use tfweb::models::{Load, Loaded, ModelSpec, VersionPolicy};
use tfweb_engine::fake::{Behaviour, FakeSession};
use tfweb_engine::{Code, Error, Session, Signature, Tensor, Trial};
use tfweb_store::ModelUri;

use crate::client::{Connection, Request, Response};
use crate::process::Process;
use crate::support::{until, RunningServer};

const ADMIN: &str = "--admin_token secret";

/// Loads that do what `saved_model.pb` says: `good`, `bad`, `warned`, or one of them after `held`.
#[derive(Default)]
pub(crate) struct Loads {
    are_released: Mutex<bool>,
    released: Condvar,
    begun: Mutex<Vec<String>>,
}

impl Loads {
    fn load(&self, directory: &Path) -> Result<Loaded, Error> {
        let says = fs::read_to_string(directory.join("saved_model.pb")).map_err(|error| Error::internal(error.to_string()))?;
        lock(&self.begun).push(says.clone());
        if says.starts_with("held") {
            drop(self.released.wait_while(lock(&self.are_released), |are_released| !*are_released));
        }
        if says.ends_with("bad") {
            return Err(Error::new(Code::FailedPrecondition, "a bad model"));
        }
        let failure = || "a trial run on zeros failed: out of luck".to_owned();
        let trial = match says {
            _ if says.ends_with("warned") => Trial::Failed(failure()),
            _ if says.ends_with("refuses zeros") => Trial::Refused(failure()),
            _ => Trial::Passed,
        };
        let session = Arc::new(Tried { inner: FakeSession::new(Behaviour::HalfPlusTwo), trial });
        Ok(Loaded { session, defaults: Defaults::new() })
    }

    /// Lets the held loads go on, and later ones too.
    fn release(&self) {
        *lock(&self.are_released) = true;
        self.released.notify_all();
    }

    #[track_caller]
    fn until_begun(&self, says: &str) {
        until(&format!("a load of {says} has begun"), || lock(&self.begun).iter().any(|begun| begun == says));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A session whose trial at load has ended so.
struct Tried {
    inner: FakeSession,
    trial: Trial,
}

impl Session for Tried {
    fn signatures(&self) -> &[Signature] {
        self.inner.signatures()
    }

    fn run(&self, signature: usize, requests: &[&[Tensor]]) -> Result<Vec<Tensor>, Error> {
        self.inner.run(signature, requests)
    }

    fn trial(&self, _: usize) -> Trial {
        self.trial.clone()
    }
}

/// A place with one version of a model.
pub(crate) struct Place(pub(crate) TempDir);

impl Place {
    pub(crate) fn new(version: u64, says: &str) -> Self {
        let place = Self(tempfile::tempdir().expect("a directory"));
        place.put(version, says);
        place
    }

    pub(crate) fn put(&self, version: u64, says: &str) {
        let directory = self.0.path().join(version.to_string());
        fs::create_dir_all(&directory).expect("a directory");
        fs::write(directory.join("saved_model.pb"), says).expect("a file");
    }

    pub(crate) fn post(&self, name: &str) -> Request {
        as_admin(Request::post(&format!("/models/{name}"), json!({ "uri": self.0.path() }).to_string()))
    }

    fn spec(&self, name: &str) -> ModelSpec {
        let uri = ModelUri::Local(self.0.path().to_path_buf());
        ModelSpec { name: name.into(), uri, policy: VersionPolicy::default(), labels: BTreeMap::new(), poll: None }
    }
}

pub(crate) fn as_admin(request: Request) -> Request {
    request.header("Authorization", "Bearer secret")
}

pub(crate) fn delete(name: &str) -> Request {
    as_admin(Request::new("DELETE", &format!("/models/{name}")))
}

pub(crate) fn serve(flags: &str) -> (Arc<Loads>, RunningServer) {
    let loads = Arc::new(Loads::default());
    let load: Load = Arc::new({
        let loads = Arc::clone(&loads);
        move |directory| loads.load(directory)
    });
    (loads, RunningServer::loading(load, &format!("{ADMIN} {flags}")))
}

/// The models, each with the version that is served.
pub(crate) fn served(server: &RunningServer) -> BTreeMap<String, Option<u64>> {
    let models = server.call(&Request::get("/models")).json();
    let one = |model: &Value| (model["name"].as_str().expect("a name").to_owned(), model["version"].as_u64());
    models.as_array().expect("a list").iter().map(one).collect()
}

#[track_caller]
pub(crate) fn until_served(server: &RunningServer, expect: &[(&str, Option<u64>)]) {
    let expect: BTreeMap<String, Option<u64>> = expect.iter().map(|&(name, version)| (name.to_owned(), version)).collect();
    until(&format!("{expect:?} are served"), || served(server) == expect);
}

fn sent(server: &RunningServer, request: &Request) -> Connection {
    server.send_all([request.clone()]).remove(0)
}

fn received(mut connection: Connection) -> Response {
    connection.receive().expect("an answer")
}

#[test]
fn a_change_ends_although_its_caller_has_gone() {
    let (loads, server) = serve("--strict_readiness");
    let (good, bad, other) = (Place::new(3, "held good"), Place::new(4, "held bad"), Place::new(5, "good"));
    assert_eq!(server.call(&other.post("other")).status, 200);
    let callers = [sent(&server, &good.post("good")), sent(&server, &bad.post("bad"))];
    loads.until_begun("held good");
    until_served(&server, &[("other", Some(5)), ("good", None), ("bad", None)]);
    assert_eq!(server.call(&Request::get("/readyz")).status, 200, "what a request adds does not make the server unready");
    let early = server.call(&Request::post("/models/good/serving_default", r#"{"x": [1]}"#));
    assert_eq!((early.status, early.header("retry-after")), (503, Some("1")), "{early:?}");
    drop(callers);
    loads.release();
    until_served(&server, &[("other", Some(5)), ("good", Some(3))]);
    assert_eq!(server.call(&Request::get("/readyz")).status, 200);
}

#[test]
fn a_change_that_fails_after_its_caller_has_left_is_logged() {
    let store = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let uri = format!("webhdfs://{}/nowhere", store.local_addr().expect("an address"));
    let mut process = Process::serve(&format!("{ADMIN} --access_log --model tests/models/half_plus_two"));
    let mut caller = process.connect();
    caller.send(&as_admin(Request::post("/models/new", json!({ "uri": uri }).to_string()))).expect("an open connection");
    let (mut asked, _) = store.accept().expect("the server lists the model's place");
    drop(caller);
    process.until_says("status=499");
    drop(store);
    let _ = asked.read(&mut [0; 4096]).expect("a question");
    asked.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").expect("a server that waits");
    process.until_says("a change of models failed after its caller had left, and nothing has changed: `webhdfs://");
}

#[test]
fn a_change_beside_a_removal_is_made_or_refused() {
    let (_loads, server) = serve("");
    let place = Place::new(1, "good");
    for round in 0..40 {
        let requests = [place.post("m"), delete("m"), place.post("m"), delete("m")];
        for connection in server.send_all(requests) {
            let answer = received(connection);
            assert!([200, 204, 404, 503].contains(&answer.status), "round {round}: {answer:?}");
            assert!(answer.status != 503 || answer.text().contains("was removed before this change"), "{answer:?}");
        }
    }
    assert_eq!(server.call(&place.post("m")).status, 200);
    until_served(&server, &[("m", Some(1))]);
    assert_eq!(server.call(&Request::post("/models/m/serving_default", r#"{"x": [1]}"#)).text(), r#"{"y":[2.5]}"#);
}

#[test]
fn a_good_change_beside_a_bad_one_is_made() {
    let (loads, server) = serve("");
    let (held, bad, good) = (Place::new(1, "held bad"), Place::new(1, "bad"), Place::new(2, "good"));
    // The bad one has begun when the good one comes.
    let refused = sent(&server, &held.post("m"));
    loads.until_begun("held bad");
    let made = sent(&server, &good.post("m"));
    loads.release();
    let (refused, made) = (received(refused), received(made));
    assert!(refused.status == 400 && refused.text().contains("a bad model"), "{refused:?}");
    assert_eq!((made.status, &made.json()["version"]), (200, &json!(2)), "{made:?}");
    // They come at the same moment, in any order.
    for round in 0..20 {
        let name = format!("n{round}");
        let answers = server.send_all([bad.post(&name), good.post(&name), bad.post(&name)]).into_iter().map(received);
        assert_eq!(answers.map(|answer| answer.status).collect::<Vec<_>>(), [400, 200, 400], "round {round}");
        assert_eq!(served(&server)[&name], Some(2));
    }
}

#[test]
fn a_removal_ends_a_change_that_still_loads() {
    let (loads, server) = serve("");
    let held = Place::new(1, "held good");
    let waiting = sent(&server, &held.post("m"));
    loads.until_begun("held good");
    assert_eq!(server.call(&delete("m")).status, 204);
    let answer = received(waiting);
    assert!(answer.status == 503 && answer.text().contains("was removed before this change"), "{answer:?}");
    assert_eq!(served(&server), BTreeMap::new());
    loads.release();
}

#[test]
fn changes_that_wait_have_a_limit() {
    let (loads, server) = serve("");
    let held = Place::new(1, "held good");
    let first = sent(&server, &held.post("m"));
    loads.until_begun("held good");
    // One is being made, 16 wait, and the other four are refused at once.
    let answers: Arc<Mutex<Vec<Response>>> = Arc::default();
    let callers: Vec<_> = server
        .send_all((0..20).map(|_| held.post("m")))
        .into_iter()
        .map(|connection| {
            let answers = Arc::clone(&answers);
            thread::spawn(move || {
                let answer = received(connection);
                lock(&answers).push(answer);
            })
        })
        .collect();
    until("four are refused", || lock(&answers).len() == 4);
    let is_refused = |answer: &Response| {
        answer.status == 503 && answer.json()["error"] == "16 changes of model \"m\" wait already; try again later"
    };
    assert!(lock(&answers).iter().all(is_refused), "{:?}", lock(&answers));
    loads.release();
    callers.into_iter().for_each(|caller| caller.join().expect("it ends"));
    assert!(lock(&answers)[4..].iter().all(|answer| answer.status == 200));
    assert_eq!(received(first).status, 200);
}

#[test]
fn a_slow_load_holds_up_no_other() {
    let (loads, server) = serve("");
    let (slow, quick) = (Place::new(1, "held good"), Place::new(2, "good"));
    let waiting = sent(&server, &slow.post("slow"));
    loads.until_begun("held good");
    assert_eq!(server.call(&quick.post("quick")).status, 200);
    loads.release();
    assert_eq!(received(waiting).status, 200);
}

#[test]
fn a_reload_changes_all_models_or_none() {
    let (loads, server) = serve("");
    let (old, new) = (Place::new(1, "good"), Place::new(2, "good"));
    let (held, bad) = (Place::new(3, "held good"), Place::new(3, "bad"));
    for name in ["a", "b"] {
        assert_eq!(server.call(&old.post(name)).status, 200);
    }
    let set = server.set.clone().expect("its models can change");
    let error = block_on(set.replace(vec![new.spec("a"), bad.spec("c")])).expect_err("c is bad");
    assert!(error.message.contains("model \"c\": ") && error.message.contains("a bad model"), "{error}");
    until_served(&server, &[("a", Some(1)), ("b", Some(1))]);
    // Its caller goes while c loads. Until it can be called, nothing has changed.
    let mut reload = Box::pin(set.replace(vec![new.spec("a"), held.spec("c")]));
    assert!(reload.as_mut().now_or_never().is_none());
    loads.until_begun("held good");
    drop(reload);
    let called = |model: &(&str, Option<u64>)| model.1.is_some();
    let (before, after) = ([("a", Some(1)), ("b", Some(1))], [("a", Some(2)), ("c", Some(3))]);
    let mut seen = Vec::new();
    for round in 0.. {
        if round == 20 {
            loads.release();
        }
        let models = served(&server);
        let models: Vec<_> = models.iter().map(|(name, version)| (name.as_str(), *version)).filter(called).collect();
        assert!(models == before || models == after, "{models:?}");
        seen.push(models == after);
        if models == after {
            break;
        }
    }
    assert!(seen.len() > 20, "it waits for c");
    assert_eq!(server.call(&delete("b")).status, 404);
}

#[test]
fn a_removal_within_a_reload_fails_all_of_it() {
    let (loads, server) = serve("");
    let (old, held) = (Place::new(1, "good"), Place::new(2, "held good"));
    assert_eq!(server.call(&old.post("a")).status, 200);
    let set = server.set.clone().expect("its models can change");
    let reload = thread::spawn({
        let specs = vec![held.spec("a"), held.spec("b")];
        move || block_on(set.replace(specs))
    });
    loads.until_begun("held good");
    assert_eq!(server.call(&delete("b")).status, 204);
    loads.release();
    let error = reload.join().expect("it ends").expect_err("b was removed");
    assert!(error.code == Code::Unavailable && error.message.contains("model \"b\" was removed"), "{error}");
    until_served(&server, &[("a", Some(1))]);
}

#[test]
fn a_version_that_cannot_run_does_not_take_over() {
    let (_loads, server) = serve("");
    for (name, says) in [("m", "warned"), ("zeros", "refuses zeros")] {
        does_not_take_over(&server, name, says);
    }
    // Moved to another place, a model is held to the same.
    let (other, repaired) = (Place::new(1, "warned"), Place::new(1, "good"));
    let moved = server.call(&other.post("m"));
    assert!(moved.status == 400 && moved.text().contains("version 1 passed this trial and stays"), "{moved:?}");
    assert_eq!(server.call(&repaired.post("m")).status, 200);
    // Where nothing better is served, it is served with a warning.
    assert_eq!(server.call(&other.post("alone")).status, 200);
}

#[test]
fn who_moves_a_model_is_told_of_its_new_place() {
    let (_loads, server) = serve("");
    let old = Place::new(1, "good");
    assert_eq!(server.call(&old.post("m")).status, 200);
    old.put(2, "bad");
    until("version 2 has failed", || server.call(&Request::get("/models")).text().contains("a bad model"));
    let moved = server.call(&Place::new(1, "warned").post("m"));
    assert!(moved.status == 400 && moved.text().contains("version 1 passed this trial and stays"), "{moved:?}");
}

/// Adds a model, and then a version that says this of itself.
#[track_caller]
fn does_not_take_over(server: &RunningServer, name: &str, says: &str) {
    let place = Place::new(1, "good");
    let watched = json!({ "uri": place.0.path() });
    assert_eq!(server.call(&as_admin(Request::post(&format!("/models/{name}"), watched.to_string()))).status, 200);
    place.put(2, says);
    let of_two = || {
        let models = server.call(&Request::get("/models")).json();
        let model = models.as_array().expect("a list").iter().find(|model| model["name"] == name);
        model.expect("the model")["versions"][1].clone()
    };
    until("version 2 has ended", || of_two()["state"] == "END");
    let said = of_two()["error"].as_str().unwrap_or_default().to_owned();
    let expect =
        "version 2 is not served: signature \"serving_default\": a trial run on zeros failed: out of luck; version 1 passed";
    assert!(said.contains(expect), "{said}");
    assert_eq!(served(server)[name], Some(1));
}
