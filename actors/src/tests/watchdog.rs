//! Threads that do not move.

use std::time::Duration;

use tfweb_engine::fake::Behaviour;

use super::support::{column, soon, start, until, values, POLICY};
use crate::model_handle::Policy;
use crate::supervision::start_arbiter;
use crate::watchdog::Heartbeat;

#[actix::test]
async fn threads_that_run_for_long_while_others_wait_are_told() {
    let (fake, handle) = start(Behaviour::HalfPlusTwo, Policy { run_threads: 2, ..POLICY });
    fake.hold();
    let runs = [0.0, 1.0].map(|x| handle.predict(column(&[x]), soon(), None));
    let [first, second] = runs;
    let others = async {
        until(|| fake.run_rows().len() == 1).await;
        assert_eq!(handle.stuck_for(), None, "a thread is free");
        let waits = async {
            until(|| fake.run_rows().len() == 2).await;
            assert_eq!(handle.stuck_for(), None, "nobody waits");
            let third = handle.predict(column(&[2.0]), soon(), None);
            let told = async {
                until(|| handle.stuck_for().is_some_and(|time| time >= Duration::from_millis(20))).await;
                fake.release();
            };
            futures::join!(third, told).0
        };
        futures::join!(second, waits)
    };
    let (first, (second, third)) = futures::join!(first, others);
    assert_eq!([first, second, third].map(values), [[2.0], [2.5], [3.0]]);
    until(|| handle.stuck_for().is_none()).await;
}

#[actix::test]
async fn a_thread_that_does_nothing_is_silent() {
    let arbiter = start_arbiter(|code| std::process::exit(code.into()));
    let heartbeat = Heartbeat::start(&arbiter.handle());
    let (hold, held) = std::sync::mpsc::channel::<()>();
    arbiter.spawn_fn(move || {
        let _ = held.recv();
    });
    until(|| heartbeat.silent_for() > Duration::from_millis(1200)).await;
    drop(hold);
    until(|| heartbeat.silent_for() < Duration::from_millis(500)).await;
}
