//! The gRPC port, called by TensorFlow Serving's own Python client. `tests/clients/grpc_checks` has the checks.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::client::Request;
use crate::process::Process;
use crate::support::{until, RunningServer, MODELS};
use crate::tf_serving::shelf;

/// A server of this process on a UNIX socket, and the directory that the socket is in.
pub(crate) struct Served {
    server: RunningServer,
    directory: tempfile::TempDir,
}

pub(crate) fn served(flags: &str) -> Served {
    serve(RunningServer::start, flags)
}

fn serve(start: impl Fn(&str) -> RunningServer, flags: &str) -> Served {
    let directory = tempfile::tempdir().expect("a directory");
    let server = start(&format!("{flags} --grpc_socket_path {}", directory.path().join("socket").display()));
    Served { server, directory }
}

impl Served {
    pub(crate) fn target(&self) -> String {
        format!("unix:{}", self.directory.path().join("socket").display())
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

/// The client, with a target and the names of its checks.
pub(crate) fn client(target: &str, checks: &[&str]) -> Command {
    let mut command = Command::new(root().join(".venv/bin/python"));
    command.arg(root().join("tests/clients/tf_serving_grpc.py")).arg(target).args(checks);
    command.env("PYTHONPATH", root().join(".venv-grpc")).current_dir(root());
    without_proxies(&mut command);
    command
}

/// Takes from a command the variables that name proxies: tests call only this machine.
pub(crate) fn without_proxies(command: &mut Command) {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().to_lowercase().ends_with("_proxy")) {
        command.env_remove(name);
    }
}

/// Runs checks of the client against a server.
#[track_caller]
pub(crate) fn check(target: &str, checks: &[&str]) {
    check_with(target, &[], checks);
}

/// The same, told more by variables.
#[track_caller]
pub(crate) fn check_with(target: &str, variables: &[(&str, &Path)], checks: &[&str]) {
    let output =
        client(target, checks).envs(variables.iter().copied()).output().expect("`make test` installs Python and the clients");
    let [said, errors] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{said}{errors}");
}

/// A client whose check waits for the test between its steps. Dropped, it is killed.
struct Client {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Client {
    fn start(target: &str, check: &str) -> Self {
        let mut command = client(target, &[check]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("Python starts");
        let said = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, said }
    }

    #[track_caller]
    fn says(&mut self, expect: &str) {
        let mut line = String::new();
        self.said.read_line(&mut line).expect("a line");
        assert_eq!(line.trim_end(), expect);
    }

    /// Has the check take its next step.
    fn goes_on(&mut self) {
        self.child.stdin.as_mut().expect("a pipe").write_all(b"\n").expect("the client reads");
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn tensors_come_and_go_as_bytes() {
    let flags = format!("{MODELS} --grpc_tensor_content");
    check(&served(&flags).target(), &["dtypes", "strings", "shapes", "outputs", "large", "compressed", "together"]);
}

#[test]
fn tensors_go_as_values_unless_bytes_are_wanted() {
    let checks = ["typed_dtypes", "strings", "shapes", "outputs", "large", "compressed", "together"];
    check(&served(MODELS).target(), &checks);
}

#[test]
fn what_is_wrong_is_said_in_tensorflow_servings_words() {
    check(&served(MODELS).target(), &["specs", "errors", "inference", "seed"]);
}

#[test]
fn models_are_described() {
    check(&served(MODELS).target(), &["metadata", "status", "health", "reflection"]);
}

#[test]
fn deadlines_and_cancellation_reach_the_queue() {
    let served_here = served(&format!("{MODELS} --run_threads 1"));
    let ended = |signature: &str, code: &str| {
        let figures = served_here.server.call(&Request::get("/metrics")).text();
        let labels = format!(r#"signature="{signature}",protocol="tf_serving_grpc",code="{code}"}}"#);
        figures.lines().filter(|line| line.contains(&labels)).count()
    };
    check(&served_here.target(), &["deadline"]);
    until("the late request is counted as late", || ended("slow", "DEADLINE_EXCEEDED") == 1);
    assert_eq!(ended("slow", "CANCELLED"), 0);
    let mut client = Client::start(&served_here.target(), "cancel");
    for (said, inside) in [("first", 1), ("second", 2)] {
        client.says(said);
        served_here.server.until_inside("kitchen", inside);
        client.goes_on();
    }
    client.says("what is cancelled is not run");
    until("the cancelled request is counted as cancelled", || ended("stateful", "CANCELLED") == 1);
    check(&served(&format!("{MODELS} --run_threads 1 --request_timeout_ms 1000")).target(), &["queued_deadline", "slow_message"]);
}

#[test]
fn examples_are_classified_and_regressed() {
    let directory = tempfile::tempdir().expect("a directory");
    let model = directory.path().join("examples/1");
    check(&model.display().to_string(), &["save_examples"]);
    check(&served(&format!("--model examples={}", model.display())).target(), &["infer"]);
}

#[test]
fn inputs_that_are_left_out_have_their_defaults() {
    let directory = tempfile::tempdir().expect("a directory");
    let model = directory.path().join("line/1");
    check(&model.display().to_string(), &["save_defaults"]);
    check(&serve(RunningServer::kept, &format!("--model line={}", model.display())).target(), &["defaults"]);
}

#[test]
fn complex_numbers_are_served_over_every_protocol_that_has_them() {
    let directory = tempfile::tempdir().expect("a directory");
    let model = directory.path().join("turn/1");
    check(&model.display().to_string(), &["save_complex"]);
    let served = serve(RunningServer::kept, &format!("--model turn={}", model.display()));
    check(&served.target(), &["complex_numbers"]);
    let call = |target: &str, body: &str| served.server.call(&Request::post(target, body));
    let turned = call("/", r#"{"x": [[1, 2]], "z": [[0, 1e300]]}"#).text();
    assert_eq!(turned, r#"{"x":[[-2.0,1.0]],"z":[[-1e+300,0.0]]}"#);
    let rows = call("/", r#"[{"x": [1, 2], "z": [1, 0]}, {"x": [0, 0], "z": [0, -1]}]"#).text();
    assert_eq!(rows, r#"[{"x":[-2.0,1.0],"z":[0.0,1.0]},{"x":[0.0,0.0],"z":[1.0,0.0]}]"#);
    let rest = call("/v1/models/turn:predict", r#"{"inputs": {"x": [1], "z": [1]}}"#);
    assert!(rest.status == 501 && rest.text().contains("Conversion of JSON Value: 1 to type: complex64"), "{}", rest.text());
}

#[test]
fn models_are_reloaded_by_the_bearer_of_the_token() {
    check(&serve(RunningServer::kept, "--admin_token secret").target(), &["reload"]);
}

#[test]
fn callers_without_a_token_are_unauthenticated() {
    check(&serve(RunningServer::kept, "--api_token one --admin_token root").target(), &["tokens"]);
}

#[test]
fn labels_choose_versions() {
    let shelf = shelf();
    let flags = format!("--model m={} --version_policy all --version_labels stable=1,gone=7", shelf.path().display());
    check(&serve(RunningServer::kept, &flags).target(), &["labels"]);
}

#[test]
fn a_stop_waits_for_requests_and_tells_who_watches() {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    let mut process = Process::serve(&format!("--model tests/models/kitchen --grpc_port {port}"));
    let target = format!("127.0.0.1:{port}");
    process.until_says(&format!("gRPC on {target}"));
    let [mut busy, mut watch, mut reflecting] = ["busy", "watch", "reflecting"].map(|check| Client::start(&target, check));
    watch.says("SERVING");
    reflecting.says("True");
    until("a call is inside", || {
        let figures = process.connect().call(&Request::get("/metrics")).expect("an answer").text();
        figures.contains("tfweb_in_flight_requests{protocol=\"tf_serving_grpc\"} 1")
    });
    process.signal("TERM");
    watch.says("NOT_SERVING");
    watch.says("the end");
    busy.says("answered");
    reflecting.says("the end");
    assert_eq!(process.ended().0.code(), Some(0));
}

#[test]
fn a_port_that_is_taken_is_said() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("its port");
    let flags = format!("--host 127.0.0.1 --port 0 --model tests/models/half_plus_two --grpc_port {}", address.port());
    let (status, stderr) = Process::start(&flags, &[]).ended();
    assert_eq!(status.code(), Some(1), "{stderr:#?}");
    assert!(stderr.iter().any(|line| line.contains(&format!("cannot listen on {address} for gRPC: "))), "{stderr:#?}");
}

#[test]
fn a_socket_that_was_left_behind_is_taken_over() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("socket");
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
    let flags = format!("{MODELS} --grpc_socket_path {}", path.display());
    let server = RunningServer::start(&flags);
    check(&format!("unix:{}", path.display()), &["seed"]);
    // But not from somebody who listens there.
    let second = format!("--host 127.0.0.1 --port 0 --model tests/models/half_plus_two --grpc_socket_path {}", path.display());
    let (status, stderr) = Process::start(&second, &[]).ended();
    assert_eq!(status.code(), Some(1), "{stderr:#?}");
    assert!(stderr.iter().any(|line| line.contains("cannot listen on --grpc_socket_path")), "{stderr:#?}");
    drop(server);
    assert!(!path.exists(), "it leaves nothing behind");
    // Nor a file that is no socket.
    std::fs::write(&path, "precious").expect("a file");
    let (status, stderr) = Process::start(&second, &[]).ended();
    assert_eq!(status.code(), Some(1), "{stderr:#?}");
    assert_eq!(std::fs::read(&path).expect("the file"), b"precious");
}
