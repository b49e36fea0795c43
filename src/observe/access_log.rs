//! The access log: one line for each request.

use std::time::Duration;

use tracing::Value;

use super::facts::Facts;
use super::visit::{Door, Ended, Status};
use crate::metrics::Stage;
use crate::status::grpc_name;

/// The target of access lines, which are written whatever the level of the rest.
pub(super) const TARGET: &str = "tfweb::access";

/// Writes the line of a request.
pub(super) fn log(ended: &Ended<'_>) {
    // The level of an event is fixed where it stands, hence twice the same.
    macro_rules! line {
        ($level:ident, $value:expr) => {{
            let Ended { head, bytes_out, time, facts, .. } = ended;
            let servable = facts.and_then(|facts| facts.servable.as_deref());
            let stage = |stage| facts.and_then(|facts: &Facts| facts.stage(stage)).map(|(_, time)| ms(time));
            tracing::$level!(
                target: TARGET,
                request_id = head.id,
                protocol = facts.map_or(door(head.door), |facts| facts.protocol.name()),
                method = (head.door == Door::Http).then_some(head.method.as_str()),
                path = head.path,
                status = $value,
                model = servable.map(|name| name.model.as_str()),
                version = servable.map(|name| name.version),
                signature = servable.map(|name| name.signature.as_str()),
                rows = servable.and(facts.as_ref()).map(|facts| facts.rows),
                total_ms = ms(*time),
                decode_ms = stage(Stage::Decode),
                fetch_ms = stage(Stage::Fetch),
                queue_ms = stage(Stage::Queue),
                run_ms = stage(Stage::Run),
                encode_ms = stage(Stage::Encode),
                bytes_in = head.bytes_in,
                bytes_out = *bytes_out,
                client = head.client.map(tracing::field::display),
                forwarded_for = head.forwarded_for,
                "request"
            );
        }};
    }
    let value: &dyn Value = match &ended.status {
        Status::Http(status) => status,
        Status::Grpc(code) => &grpc_name(*code),
    };
    if ended.head.is_probe() {
        line!(debug, value);
    } else {
        line!(info, value);
    }
}

const fn door(door: Door) -> &'static str {
    match door {
        Door::Http => "http",
        Door::Grpc => "grpc",
    }
}

/// Milliseconds, to a thousandth.
fn ms(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}
