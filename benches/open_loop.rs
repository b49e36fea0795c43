//! A load that does not wait for answers, and what became of it.
//!
//!     open_loop ADDRESS TARGET BODY_FILE RATE SECONDS
//!
//! Prints one line: how many were answered 200, and their p50 and p99 in ms; how many 503, their p50, p99 and longest, and how many
//! of those had Retry-After; how many anything else.

#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "its answer")]

use std::error::Error;
use std::time::Duration;

#[path = "../tests/suite/open_loop.rs"]
mod open_loop;

use open_loop::{quantile, run, Answer};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [address, target, body, rate, seconds] = args.as_slice() else {
        return Err("expected ADDRESS TARGET BODY_FILE RATE SECONDS".into());
    };
    let body = std::fs::read(body)?;
    let head = format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
    let request = [head.into_bytes(), body].concat();
    let answers = run(address.parse()?, request, rate.parse()?, Duration::from_secs(seconds.parse()?))?;
    let times = |status: u16| answers.iter().filter(|answer| answer.status == status).map(|answer| answer.time).collect();
    let (mut accepted, mut refused): (Vec<Duration>, Vec<Duration>) = (times(200), times(503));
    let ms = |times: &mut Vec<Duration>, q| quantile(times, q).as_secs_f64() * 1e3;
    let advised = answers.iter().filter(|Answer { status, has_retry_after, .. }| *status == 503 && *has_retry_after).count();
    println!(
        "{} {:.1} {:.1} {} {:.1} {:.1} {:.1} {advised} {}",
        accepted.len(),
        ms(&mut accepted, 0.5),
        ms(&mut accepted, 0.99),
        refused.len(),
        ms(&mut refused, 0.5),
        ms(&mut refused, 0.99),
        ms(&mut refused, 1.0),
        answers.len() - accepted.len() - refused.len()
    );
    Ok(())
}
