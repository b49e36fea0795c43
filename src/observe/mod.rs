//! Observes the server: metrics, the log, the access log and traces.
//!
//! Other modules report to this one, and it asks none of them. A [`Measurement`] measures one prediction. An [`Exchange`]
//! observes one request at its listener. The measurement leaves its `Summary` to the exchange, which writes the access line and
//! the spans.

mod access_log;
mod exchange;
mod labels;
pub mod log;
mod log_writer;
mod measurement;
pub mod metrics;
mod request;
mod requests;
mod stage;
mod stderr;
mod summary;
mod telemetry;
mod trace;

pub use exchange::Exchange;
pub use labels::{ProtocolId, ProtocolNames, SignatureLabels};
pub use measurement::Measurement;
pub use request::{Arrival, Head, Status, Transport};
pub use requests::RequestFigures;
pub use stage::{Stage, Timings};
pub use summary::SummarySlot;
pub use telemetry::{Settings, Telemetry};
pub use trace::Tracer;
