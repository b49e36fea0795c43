//! The image and `deploy/compose.yaml` in a real Docker engine. Skipped, with the reason, where there is none.
//!
//! The image is built around the binary under test, not around a release build, which takes minutes.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;

use crate::client::{Connection, Request};
use crate::rolling::{check, Doors, Replicas};
use crate::support::until;

const IMAGE: &str = "tfweb-suite";
/// Unpacked; most of it is libtensorflow.
const IMAGE_BYTES_MAX: u64 = 1_100_000_000;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn run(command: &[&str]) -> Output {
    let mut process = Command::new(command[0]);
    process.args(&command[1..]).current_dir(root());
    process.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Runs what must succeed; gives what it prints.
#[track_caller]
fn said(command: &[&str]) -> String {
    let output = run(command);
    let [out, errors] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(output.status.success(), "{command:?}: {out}{errors}");
    out.trim().to_owned()
}

fn succeeds(command: &[&str]) -> bool {
    Command::new(command[0]).args(&command[1..]).output().is_ok_and(|output| output.status.success())
}

/// Builds the image, once; whether there is an engine to build it.
fn is_built() -> bool {
    static BUILT: OnceLock<Result<(), String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        if !succeeds(&["docker", "info"]) {
            return Err("no Docker engine answers".into());
        }
        let base = run(&["deploy/base-image.sh"]);
        if !base.status.success() {
            return Err(format!("no base image: {}", String::from_utf8_lossy(&base.stderr)));
        }
        let binary = root().join("target/image/tfweb");
        fs::create_dir_all(binary.parent().expect("a directory")).expect("a directory");
        fs::copy(env!("CARGO_BIN_EXE_tfweb"), &binary).expect("a copy");
        let argument = "--build-arg";
        said(&[
            "docker",
            "build",
            "-t",
            IMAGE,
            argument,
            "BUILD_IMAGE=tfweb-build-base",
            argument,
            "BINARY=target/image/tfweb",
            ".",
        ]);
        fs::remove_file(binary).expect("the copy");
        Ok(())
    });
    if let Err(reason) = built {
        eprintln!("skipped: {reason}");
    }
    built.is_ok()
}

/// A container. Dropped, it is removed.
struct Container(String);

impl Container {
    fn start(arguments: &[&str]) -> Self {
        Self(said(&[&["docker", "run", "-d"], arguments].concat()))
    }

    #[track_caller]
    fn is(&self, format: &str) -> String {
        said(&["docker", "inspect", "--format", &format!("{{{{{format}}}}}"), &self.0])
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", String::from_utf8_lossy(&run(&["docker", "logs", &self.0]).stderr));
        }
        let _ = run(&["docker", "rm", "-f", &self.0]);
    }
}

/// Runs the image as strictly as an engine can, and asks it.
#[track_caller]
fn check_that_it_serves(user: &[&str]) {
    let models = format!("{}:/models:ro", root().join("tests/models").display());
    let strict = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"];
    let model = ["-v", &models, "-e", "TFWEB_MODEL=/models/half_plus_two", "--publish", "127.0.0.1::8080", IMAGE];
    let container = Container::start(&[&strict, user, &model].concat());
    until("its health check passes", || container.is(".State.Health.Status") == "healthy");
    let address = said(&["docker", "port", &container.0, "8080"]).parse().expect("an address");
    let response = Connection::open(address).unwrap().call(&Request::post("/", r#"{"x": [1]}"#)).unwrap();
    assert_eq!((response.status, response.text()), (200, r#"{"y":[2.5]}"#.into()));
    said(&["docker", "stop", "--time", "45", &container.0]);
    assert_eq!(container.is(".State.ExitCode"), "0");
}

#[test]
fn the_image_serves_read_only_and_without_rights() {
    if !is_built() {
        return;
    }
    let bytes: u64 = said(&["docker", "image", "inspect", "--format", "{{.Size}}", IMAGE]).parse().expect("a number");
    assert!(bytes < IMAGE_BYTES_MAX, "{bytes}");
    eprintln!("the image has {} MB", bytes / 1_000_000);
    assert_eq!(said(&["docker", "run", "--rm", "--entrypoint", "id", IMAGE, "-u"]), "1000");
    check_that_it_serves(&[]);
    // As OpenShift runs it: any user, group 0.
    check_that_it_serves(&["--user", "1000680000:0"]);
}

/// Containers of `deploy/compose.yaml`. Dropped, they are removed.
struct Compose {
    command: Vec<&'static str>,
    doors: Doors,
}

impl Compose {
    /// Starts them, where there is something to do so.
    fn start() -> Option<Self> {
        let commands = [vec!["docker", "compose"], vec!["docker-compose"]];
        let Some(command) = commands.into_iter().find(|command| succeeds(&[command, &["version"][..]].concat())) else {
            eprintln!("skipped: no docker compose here");
            return None;
        };
        let [http, grpc, admin] = [(); 3].map(|()| {
            let listener = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
            listener.expect("a free port")
        });
        let it = Self { command, doors: Doors { http, grpc, admin } };
        it.call(&["up", "-d"]);
        Some(it)
    }

    fn call(&self, arguments: &[&str]) -> String {
        let port = |address: SocketAddr| address.port().to_string();
        let output = Command::new(self.command[0])
            .args(&self.command[1..])
            .args(["-p", IMAGE, "-f", "deploy/compose.yaml"])
            .args(arguments)
            .current_dir(root())
            .env("TFWEB_IMAGE", IMAGE)
            .env("MODELS", root().join("tests/models"))
            .env("TFWEB_MODEL", "/models/half_plus_two")
            .env("HTTP_PORT", port(self.doors.http))
            .env("GRPC_PORT", port(self.doors.grpc))
            .env("ADMIN_PORT", port(self.doors.admin))
            .output()
            .expect("it was found");
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() || std::thread::panicking(), "{arguments:?}: {text}");
        text
    }
}

impl Replicas for Compose {
    fn replace(&mut self, number: usize) {
        self.call(&["up", "-d", "--no-deps", "--force-recreate", &format!("tfweb-{}", number + 1)]);
    }

    fn signal(&mut self, number: usize, name: &str) {
        self.call(&["kill", "-s", name, &format!("tfweb-{}", number + 1)]);
    }

    fn start(&mut self, number: usize) {
        self.call(&["up", "-d", "--no-deps", &format!("tfweb-{}", number + 1)]);
    }
}

impl Drop for Compose {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = self.call(&["logs", "--tail", "100"]);
            logs.lines().filter(|line| !line.contains(" 200 ")).for_each(|line| eprintln!("{line}"));
        }
        self.call(&["down", "--timeout", "1"]);
    }
}

#[test]
fn composed_replicas_are_replaced_and_killed_without_a_lost_request() {
    if is_built() {
        if let Some(mut compose) = Compose::start() {
            check(compose.doors, &mut compose);
        }
    }
}
