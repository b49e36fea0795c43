//! Three processes behind a real nginx with `deploy/nginx.conf`, and behind a real Caddy with `deploy/Caddyfile`.

use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;

use tempfile::TempDir;

use crate::balancer::{command, free, Place, Processes};
use crate::client::{Connection, Request};
use crate::rolling::{check_replacement, REPLICAS};
use crate::support::until;

/// The files that nginx writes, below its prefix. Packages choose directories of the system for them.
const NGINX_FILES: [&str; 5] = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];

/// A proxy. Dropped, it is killed; if the test has failed, its log is shown.
struct Proxy {
    child: Child,
    directory: TempDir,
    address: SocketAddr,
}

impl Proxy {
    /// Starts a proxy on a free address. `arrange` gives the command its arguments.
    fn start(name: &str, arrange: impl FnOnce(&mut Command, &TempDir, SocketAddr)) -> Option<Self> {
        let Some(command) = command(name) else {
            eprintln!("skipped: no {name} here; `make test` installs it on Debian, as root");
            return None;
        };
        let (directory, address) = (tempfile::tempdir().expect("a directory"), free(9));
        let mut command = Command::new(command);
        arrange(&mut command, &directory, address);
        let log = fs::File::create(directory.path().join("log")).expect("a file");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Some(Self { child: command.spawn().expect("the proxy starts"), directory, address })
    }

    fn nginx(places: &[Place]) -> Option<Self> {
        Self::start("nginx", |command, directory, address| {
            let mut config = include_str!("../../deploy/nginx.conf").replace("listen 8080;", &format!("listen {address};"));
            for (number, place) in (1..).zip(places) {
                config = config.replace(&format!("tfweb-{number}:8080"), &place.http.to_string());
            }
            let files = NGINX_FILES.map(|name| format!("{name}_temp_path {name};")).concat();
            let config = config.replace("\nhttp {", &format!("\nhttp {{ {files}"));
            let path = directory.path().join("nginx.conf");
            fs::write(&path, config).expect("a file");
            // One process, so that no worker outlives it. As root it would give up the right to read the test's own directory.
            let globals = "daemon off; master_process off; user root; pid pid; error_log stderr;";
            command.arg("-p").arg(directory.path()).arg("-c").arg(path).args(["-e", "stderr", "-g", globals]);
        })
    }

    fn caddy(places: &[Place]) -> Option<Self> {
        Self::start("caddy", |command, directory, address| {
            let config = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/Caddyfile");
            command.args(["run", "--adapter", "caddyfile", "--config", config]);
            command.env("HTTP_HOST", address.ip().to_string()).env("HTTP_PORT", address.port().to_string());
            for (number, place) in (1..).zip(places) {
                command.env(format!("REPLICA_{number}"), place.http.to_string());
            }
            command.env("XDG_DATA_HOME", directory.path()).env("XDG_CONFIG_HOME", directory.path());
        })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("{}", fs::read_to_string(self.directory.path().join("log")).unwrap_or_default());
        }
    }
}

/// Whether `/readyz` at an address is 200.
fn is_ready(address: SocketAddr) -> bool {
    let answer = Connection::open(address).and_then(|mut connection| connection.call(&Request::get("/readyz")));
    answer.is_ok_and(|response| response.status == 200)
}

#[track_caller]
fn check(proxy: fn(&[Place]) -> Option<Proxy>) {
    let mut replicas = Processes::start();
    let places = replicas.places.clone();
    let until_back = |number: usize| until("the replica is ready", || is_ready(places[number].http));
    (0..REPLICAS).for_each(until_back);
    let Some(proxy) = proxy(&places) else { return };
    until("the proxy serves", || is_ready(proxy.address));
    let status = |request: &Request| Connection::open(proxy.address).unwrap().call(request).unwrap().status;
    for request in
        [Request::get("/metrics"), Request::get("/%73tats"), Request::post("/models/a", "{}"), Request::new("DELETE", "/models/a")]
    {
        assert_eq!(status(&request), 403, "{request:?}");
    }
    check_replacement(proxy.address, &mut replicas, until_back);
}

#[test]
fn replicas_behind_nginx_are_replaced_without_a_lost_request() {
    check(Proxy::nginx);
}

#[test]
fn replicas_behind_caddy_are_replaced_without_a_lost_request() {
    check(Proxy::caddy);
}
