//! Clients that nobody here wrote: TensorFlow Serving's examples in the forms they send, min-tfs-client (PyPI) and @grpc/grpc-js
//! (npm). They are what says that answers must be as TensorFlow Serving gives them.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::grpc::without_proxies;
use crate::process::Process;
use crate::support::MODELS;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A server on a port of this machine for each protocol, and the address of gRPC.
fn serve(flags: &str) -> (Process, String) {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    let mut process = Process::serve(&format!("{flags} --grpc_port {port}"));
    let address = format!("127.0.0.1:{port}");
    process.until_says(&format!("gRPC on {address}"));
    (process, address)
}

/// Runs a client, which must end well.
#[track_caller]
fn run(program: impl AsRef<Path>, arguments: &[&str], variables: &[(&str, PathBuf)]) {
    let mut command = Command::new(program.as_ref());
    command.args(arguments).current_dir(root()).envs(variables.iter().cloned());
    without_proxies(&mut command);
    let output = command.output().expect("the client starts");
    let [said, errors] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    eprint!("{said}");
    assert!(output.status.success(), "{said}{errors}");
}

/// Whether `make test` could install a client. It says what is skipped.
fn is_installed(client: &str) -> bool {
    let is_there = root().join(".venv-clients").join(client).exists();
    if !is_there {
        eprintln!("skipped: .venv-clients has no {client}, which `make test` installs where it can");
    }
    is_there
}

#[test]
fn the_examples_of_tensorflow_serving_get_their_answers() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().to_str().expect("a path of text");
    let python = |arguments: &[&str]| {
        let arguments = [&["tests/clients/serving_examples.py"], arguments].concat();
        run(root().join(".venv/bin/python"), &arguments, &[("PYTHONPATH", root().join(".venv-grpc"))]);
    };
    python(&["save", path]);
    let models = ["mnist", "resnet", "resnet_jpeg"].map(|name| format!("--model {path}/{name}"));
    let (process, grpc) = serve(&models.join(" "));
    python(&["call", &process.address().to_string(), &grpc]);
}

#[test]
fn min_tfs_client_reads_its_answers() {
    if !is_installed("bin/python") {
        return;
    }
    let (_process, grpc) = serve(MODELS);
    let (host, port) = grpc.split_once(':').expect("an address with a port");
    run(root().join(".venv-clients/bin/python"), &["tests/clients/min_tfs.py", host, port], &[]);
}

#[test]
fn grpc_js_reads_its_answers() {
    if !is_installed("node_modules/@grpc/grpc-js") {
        return;
    }
    let (_process, grpc) = serve(MODELS);
    run("node", &["tests/clients/grpc_js.cjs", &grpc], &[("NODE_PATH", root().join(".venv-clients/node_modules"))]);
}
