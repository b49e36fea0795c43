//! The access log: one line for each request.

use std::time::Duration;

use tracing::Value;

use super::request::{EndedRequest, Status, Transport};
use super::stage::Stage;
use super::summary::Summary;
use crate::status::grpc_name;

/// The target of access lines. They are written whatever level the rest of the log has.
pub(super) const TARGET: &str = "tfweb::access";

/// Writes the access line of a request.
pub(super) fn log(ended: &EndedRequest<'_>) {
    // tracing fixes the level of an event at compile time, so this expands once for each level.
    macro_rules! line {
        ($level:ident, $value:expr) => {{
            let EndedRequest { head, bytes_out, time, summary, .. } = ended;
            let signature = summary.and_then(|summary| summary.signature.as_deref());
            let stage = |stage| summary.and_then(|summary: &Summary| summary.stage(stage)).map(|(_, time)| ms(time));
            tracing::$level!(
                target: TARGET,
                request_id = head.id,
                protocol = summary.map_or(transport(head.transport), |summary| summary.protocol.name),
                method = (head.transport == Transport::Http).then_some(head.method.as_str()),
                path = head.path,
                status = $value,
                model = signature.map(|labels| labels.model.as_str()),
                version = signature.map(|labels| labels.version),
                signature = signature.map(|labels| labels.signature.as_str()),
                rows = signature.and(summary.as_ref()).map(|summary| summary.rows),
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
    if ended.head.is_probe {
        line!(debug, value);
    } else {
        line!(info, value);
    }
}

const fn transport(transport: Transport) -> &'static str {
    match transport {
        Transport::Http => "http",
        Transport::Grpc => "grpc",
    }
}

/// Milliseconds with three decimals.
fn ms(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}
