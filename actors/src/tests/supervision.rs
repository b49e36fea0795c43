//! A panic on an actor's thread. It ends the process, so each test runs again in a process of its own.

use std::env;
use std::process::{self, Command};
use std::sync::mpsc;
use std::time::Duration;

use actix::System;

use crate::supervision::{contain, start_arbiter};

/// Set in the process of a test's own.
const ALONE: &str = "ACTORS_ALONE";
/// How long a process waits for the end that it expects. Only one that does not come takes so long.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Runs the test of that name again in a process of its own. Gives its exit code and its output, or `None` in that process.
fn alone(test: &str) -> Option<(Option<i32>, String)> {
    if env::var_os(ALONE).is_some() {
        return None;
    }
    let itself = env::current_exe().unwrap();
    let name = format!("tests::supervision::{test}");
    let output = Command::new(itself).args(["--exact", &name, "--nocapture"]).env(ALONE, "1").output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Some((output.status.code(), text))
}

#[test]
fn a_panic_on_an_actors_thread_ends_the_process() {
    let Some((code, text)) = alone("a_panic_on_an_actors_thread_ends_the_process") else {
        let _system = System::new();
        let arbiter = start_arbiter(|code| process::exit(code.into()));
        arbiter.spawn(async { panic!("of an actor") });
        let (_open, ended) = mpsc::channel::<()>();
        let _ = ended.recv_timeout(WAIT_MAX);
        panic!("the process lives on");
    };
    assert!(code == Some(70) && text.contains("of an actor"), "{code:?} {text}");
}

#[test]
fn a_panic_that_is_contained_ends_its_future_alone() {
    let Some((code, text)) = alone("a_panic_that_is_contained_ends_its_future_alone") else {
        let _system = System::new();
        let arbiter = start_arbiter(|code| process::exit(code.into()));
        let (tell, told) = mpsc::channel();
        arbiter.spawn(async move {
            let within = contain(async { panic!("of a fetch") }).await;
            tell.send(within.is_none()).unwrap();
            panic!("of the actor");
        });
        assert!(told.recv_timeout(WAIT_MAX).unwrap());
        let _ = told.recv_timeout(WAIT_MAX);
        std::thread::park_timeout(WAIT_MAX);
        panic!("the process lives on");
    };
    assert!(code == Some(70) && text.contains("of a fetch") && text.contains("of the actor"), "{code:?} {text}");
}
