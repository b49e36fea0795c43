//! The actors together, on a session without TensorFlow. Each file holds the tests of one subject.

mod batching;
mod failures;
mod large_requests;
mod observing;
mod running_out;
mod supervision;
mod support;
mod waiting;
mod watchdog;
