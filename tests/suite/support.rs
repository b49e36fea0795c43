//! Servers in this process, on real models or on a session of the test's own.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{mpsc, Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use futures::channel::oneshot;
use futures::FutureExt;
use tfweb::config::{Config, Flags};
use tfweb::models::defaults::Defaults;
use tfweb::models::{self, Load, Loader, Model, ModelSet, ModelSpec, State, VersionStatus};
use tfweb::observe::log;
use tfweb::server::{Models, Server, Stopped};
use tfweb::watched_files::LookAgain;
use tfweb_actors::{start_arbiter, ModelHandle};
use tfweb_engine::tensorflow::{load_library, SavedModelSession};
use tfweb_engine::Session;
use tfweb_store::{list_directory, ModelUri};

use crate::client::{Connection, Request, Response};

/// The limit of every wait for something that will come soon. Only a wait for something that never comes reaches it.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// The limit of the trials of a model's signatures.
const TRIALS_MAX: Duration = Duration::from_secs(600);
/// How often to look.
const POLL: Duration = Duration::from_millis(1);

/// The flags of the server that most tests share.
pub(crate) const MODELS: &str = "--model tests/models/half_plus_two --model tests/models/kitchen --model examples/digits";

/// Waits for what another thread will do soon.
#[track_caller]
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT_MAX;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {WAIT_MAX:?} until {what}");
        thread::sleep(POLL);
    }
}

/// Numbers that look like noise and are the same every time; xorshift64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number less than `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        // The upper bits; the lower ones are less like noise.
        usize::try_from(self.next() >> 33).expect("31 bits") % end
    }
}

/// Whether this process runs nothing but the one test of that name; else runs it so, in a process of its own, and fails as
/// it does. For what other tests in the same process would disturb.
#[track_caller]
pub(crate) fn is_alone(test: &str) -> bool {
    const ALONE: &str = "SUITE_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let itself = std::env::current_exe().expect("the path of this binary");
    let output = Command::new(itself).args(["--exact", test]).env(ALONE, "1").output().expect("this binary starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    false
}

/// Reads a command line as the binary does.
pub(crate) fn config(flags: &str) -> Config {
    // On no port but the one that is picked: many servers run at once.
    let grpc = if flags.contains("--grpc_port") { "" } else { "--grpc_port 0" };
    let line = format!("tfweb --host 127.0.0.1 --port 0 {grpc} {flags}");
    let flags = Flags::parse(line.split_whitespace().map(str::to_owned));
    flags.and_then(Config::new).unwrap_or_else(|usage| panic!("{}", usage.text))
}

/// A model that is loaded and not yet served.
pub(crate) struct Loaded {
    name: String,
    version: u64,
    session: Arc<dyn Session>,
}

/// Versions and sessions by the path they were loaded from.
type Sessions = HashMap<PathBuf, (u64, Arc<dyn Session>)>;

/// Loads models, each directory only once in this process.
pub(crate) fn load(config: &Config) -> Vec<Loaded> {
    static SESSIONS: Mutex<Option<Sessions>> = Mutex::new(None);
    let mut sessions = SESSIONS.lock().unwrap_or_else(PoisonError::into_inner);
    let sessions = sessions.get_or_insert_with(|| {
        load_library(config.tensorflow_lib.as_deref()).unwrap_or_else(|error| panic!("{error}"));
        HashMap::new()
    });
    let load = |spec: &ModelSpec| {
        let ModelUri::Local(path) = &spec.uri else { panic!("{}: expected a local path", spec.uri) };
        let (version, session) = sessions.entry(path.clone()).or_insert_with(|| {
            let listing = list_directory(path).unwrap_or_else(|error| panic!("{error}"));
            let version = listing.newest().expect("a complete version");
            // On a busy machine trials take longer, and no test is about their time.
            let (directory, tags) = (path.join(&version.directory), &config.tags);
            let session = SavedModelSession::load_within(&directory, tags, config.inter_op, TRIALS_MAX);
            (version.number, Arc::new(session.unwrap_or_else(|error| panic!("{error}"))))
        });
        Loaded { name: spec.name.clone(), version: *version, session: Arc::clone(session) }
    };
    config.models.iter().map(load).collect()
}

/// The session of one real model.
pub(crate) fn session(model: &str) -> Arc<dyn Session> {
    load(&config(&format!("--model {model}"))).remove(0).session
}

/// A server in a thread of this process. Dropped, it stops.
pub(crate) struct RunningServer {
    pub(crate) address: SocketAddr,
    /// By model and signature.
    handles: HashMap<(String, String), ModelHandle>,
    /// Changes its models; none where they cannot change.
    pub(crate) set: Option<Arc<ModelSet>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl RunningServer {
    /// Serves the models that the flags name.
    pub(crate) fn start(flags: &str) -> Self {
        let config = config(flags);
        let models = load(&config);
        Self::serve(config, models)
    }

    /// Serves a session of the test's own, as the model `test`.
    pub(crate) fn of(session: Arc<dyn Session>, flags: &str) -> Self {
        Self::configured([("test", session)], config(&format!("--model test {flags}")))
    }

    /// Serves sessions of the test's own, each as the model of that name.
    pub(crate) fn configured<const N: usize>(sessions: [(&str, Arc<dyn Session>); N], config: Config) -> Self {
        let load = |(name, session): (&str, _)| Loaded { name: name.to_owned(), version: 1, session };
        Self::serve(config, sessions.map(load).into())
    }

    /// Serves no models at first. Those that are added are loaded by `load`, and not by TensorFlow.
    pub(crate) fn loading(load: Load, flags: &str) -> Self {
        Self::run(config(flags), async move |config, models| {
            let loader = Loader { load, ..models.loader(config) };
            Some(Arc::new(ModelSet::new(
                Arc::clone(&models.catalog),
                loader,
                start_arbiter(log::end_process),
                LookAgain::default(),
            )))
        })
    }

    /// The server of these flags that all tests share; it is never stopped.
    pub(crate) fn shared(flags: &str) -> &'static Self {
        static SERVERS: Mutex<Vec<(String, &'static RunningServer)>> = Mutex::new(Vec::new());
        let mut servers = SERVERS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, server)) = servers.iter().find(|(known, _)| known == flags) {
            return server;
        }
        let server = Box::leak(Box::new(Self::start(flags)));
        servers.push((flags.to_owned(), server));
        server
    }

    /// Serves the models that the flags name as the binary does: watched, and each loaded for this server alone.
    pub(crate) fn kept(flags: &str) -> Self {
        let config = config(flags);
        load_library(config.tensorflow_lib.as_deref()).unwrap_or_else(|error| panic!("{error}"));
        Self::run(config, async |config, models| {
            let set = Arc::new(models.set(config));
            let (open, opened) = oneshot::channel();
            let updates = set.start(&config.models, &opened.shared());
            let _ = open.send(());
            futures::future::join_all(updates).await;
            Some(set)
        })
    }

    fn serve(config: Config, loaded: Vec<Loaded>) -> Self {
        Self::run(config, async move |config, models| {
            let loader = models.loader(config);
            for Loaded { name, version: number, session } in loaded {
                let loaded = models::Loaded { session, defaults: Defaults::new() };
                let version = loader.start(&name, number, loaded, Duration::ZERO).expect("run threads");
                let status = VersionStatus { number, state: State::Available, error: None, served: Some(version) };
                models.catalog.put(Model { name, versions: vec![status], ..Model::default() });
            }
            None
        })
    }

    fn run(config: Config, fill: impl AsyncFnOnce(&Config, &Models) -> Option<Arc<ModelSet>> + Send + 'static) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (started, start) = mpsc::channel();
        let thread = thread::spawn(move || {
            actix::System::new().block_on(async {
                let models = Models::new(&config, LookAgain::default()).unwrap_or_else(|error| panic!("{error}"));
                let catalog = Arc::clone(&models.catalog);
                let set = fill(&config, &models).await;
                let server = Server::start(&config, models, set.clone()).expect("the server starts");
                let mut handles = HashMap::new();
                for model in catalog.models().iter() {
                    for servable in model.served().flat_map(|version| &version.servables) {
                        let signature = servable.handle.signature().name.clone();
                        handles.insert((model.name.clone(), signature), servable.handle.clone());
                    }
                }
                started.send((server.address(), handles, set)).expect("the test waits for this");
                // A test that panics drops its end, which stops the server as well.
                let _ = stopped.await;
                assert_eq!(server.stop().await.expect("the server stops"), Stopped::Finished);
            });
        });
        let (address, handles, set) = start.recv().expect("the server says where it listens");
        Self { address, handles, set, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::open(self.address).expect("the server accepts")
    }

    /// Sends a request on a connection of its own and waits for the answer.
    #[track_caller]
    pub(crate) fn call(&self, request: &Request) -> Response {
        self.connect().call(request).expect("an answer")
    }

    /// Posts a body and gives status and text.
    #[track_caller]
    pub(crate) fn post(&self, target: &str, body: &str) -> (u16, String) {
        let response = self.call(&Request::post(target, body));
        (response.status, response.text())
    }

    /// Sends requests, each on a connection of its own, and waits for no answer.
    pub(crate) fn send_all(&self, requests: impl IntoIterator<Item = Request>) -> Vec<Connection> {
        let send = |request| {
            let mut connection = self.connect();
            connection.send(&request).expect("the server takes the request");
            connection
        };
        requests.into_iter().map(send).collect()
    }

    /// Waits until `count` requests are inside a model, and their actors have them.
    #[track_caller]
    pub(crate) fn until_inside(&self, model: &str, count: usize) {
        let handle = self.handles.iter().find(|((name, _), _)| name == model).map(|(_, handle)| handle).expect("a model");
        until(&format!("{count} requests are inside"), || handle.queued_requests() == count);
        // A request is counted just before it is sent to its actor, in the same turn of its thread. New connections go to the
        // server's threads one after another: once each thread has answered something later, no request is between the two.
        for _ in 0..2 * thread::available_parallelism().map_or(1, usize::from) {
            assert_eq!(self.call(&Request::get("/livez")).status, 200);
        }
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        self.handles.clear();
        self.set = None;
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let (Some(thread), false) = (self.thread.take(), thread::panicking()) {
            thread.join().expect("the server's thread ends");
        }
    }
}
