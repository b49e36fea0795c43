//! The `tfweb` binary as a process of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::client::Connection;
use crate::support::until;

/// The line of the log that says that the server takes requests; its URL follows.
const READY: &str = "listening on http";
/// The line of the log that says that the ports are open, after the URL.
const OPEN: &str = " is open; models to load: ";
/// The line of the log that says that each model has been tried.
const TRIED: &str = "models loaded: ";
/// Variables that tfweb reads although they are not called `TFWEB_…`.
const OTHERS: [&str; 3] = ["MODEL", "MODEL_NAME", "PORT"];

/// A running `tfweb`, or one that has ended. Dropped, it is killed.
pub(crate) struct Process {
    child: Child,
    stderr: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
    address: Option<SocketAddr>,
}

impl Process {
    /// Starts it with the flags and variables given, and none of this process's own.
    pub(crate) fn start(flags: &str, variables: &[(&str, &str)]) -> Self {
        Self::run(Command::new(env!("CARGO_BIN_EXE_tfweb")), flags, variables)
    }

    /// Starts a server on a free port, with a limit of file descriptors.
    pub(crate) fn limited(descriptors: usize, flags: &str) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {descriptors}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_tfweb")]);
        Self::run(command, &format!("--host 127.0.0.1 --port 0 {flags}"), &[])
    }

    /// Starts it without the right to read and to write everything, which an administrator has.
    pub(crate) fn without_rights(flags: &str, variables: &[(&str, &str)]) -> Self {
        const SETPRIV: &str = "/usr/bin/setpriv";
        if !std::path::Path::new(SETPRIV).exists() {
            return Self::start(flags, variables);
        }
        let mut command = Command::new(SETPRIV);
        command.args(["--inh-caps=-all", "--bounding-set=-all", env!("CARGO_BIN_EXE_tfweb")]);
        Self::run(command, flags, variables)
    }

    fn run(mut command: Command, flags: &str, variables: &[(&str, &str)]) -> Self {
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("TFWEB_") || OTHERS.contains(&name)) {
                command.env_remove(name);
            }
        }
        // Many run at once: those that are not asked about it leave gRPC's port alone.
        // So does HTTP's port, unless the test is about `PORT`.
        if !variables.iter().any(|(name, _)| *name == "PORT") {
            command.env("TFWEB_PORT", "0");
        }
        command.env("TFWEB_GRPC_PORT", "0").args(flags.split_whitespace()).envs(variables.iter().copied());
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let reader = thread::spawn({
            let stderr = Arc::clone(&stderr);
            move || {
                for line in lines.map_while(Result::ok) {
                    stderr.lock().unwrap_or_else(PoisonError::into_inner).push(line);
                }
            }
        });
        Self { child, stderr, reader: Some(reader), address: None }
    }

    /// Starts a server on a free port and waits until it has tried each of its models.
    #[track_caller]
    pub(crate) fn serve(flags: &str) -> Self {
        Self::start(&format!("--host 127.0.0.1 --port 0 {flags}"), &[]).ready()
    }

    /// Waits until its ports are open.
    #[track_caller]
    pub(crate) fn opened(self) -> Self {
        self.with_address(OPEN)
    }

    /// Waits until it has tried each of its models.
    #[track_caller]
    pub(crate) fn ready(self) -> Self {
        let mut process = self.with_address(READY);
        process.until_says(TRIED);
        process
    }

    /// Waits for a line with this text and the URL of the HTTP port.
    #[track_caller]
    fn with_address(mut self, text: &str) -> Self {
        let line = self.until_says(text);
        // Of JSON, a quote follows it.
        let address = line.rsplit("://").next().and_then(|rest| rest.split(['"', ' ']).next()?.trim().parse().ok());
        self.address = Some(address.unwrap_or_else(|| panic!("an address in {line:?}")));
        self
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address.expect("a server that is ready")
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::open(self.address()).expect("the server accepts")
    }

    /// Gives the lines that it has written to stderr so far.
    pub(crate) fn stderr(&self) -> Vec<String> {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a line with this text on stderr, and gives the line.
    #[track_caller]
    pub(crate) fn until_says(&mut self, text: &str) -> String {
        let mut found = None;
        until(&format!("{text:?} is on stderr"), || {
            found = self.stderr().into_iter().find(|line| line.contains(text));
            if found.is_none() {
                let ended = self.child.try_wait().expect("a child");
                assert!(ended.is_none(), "ended with {ended:?}: {:#?}", self.stderr());
            }
            found.is_some()
        });
        found.expect("it was found")
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// KiB of it that lie in memory.
    pub(crate) fn resident_kib(&self) -> u64 {
        resident_kib(self.id())
    }

    /// Sends a signal by its name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().expect("a `kill` command");
        assert!(status.success(), "kill -s {name}: {status}");
    }

    /// Whether it is still running.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// Waits for its end; gives its exit status and all of stderr.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> (ExitStatus, Vec<String>) {
        until("the process ends", || !self.is_running());
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader of stderr ends with it");
        }
        (self.child.wait().expect("a child"), self.stderr())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// KiB of a process that lie in memory.
pub(crate) fn resident_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("its status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its resident size");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number of kB")
}
