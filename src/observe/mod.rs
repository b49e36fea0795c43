//! What the server tells of itself: figures, its log, a line for each request, traces.
//!
//! This room is told and asks nobody. A [`Measurement`] is one prediction as it is measured; an [`Exchange`] is one request at
//! its listener. The measurement leaves its [`Summary`] to the exchange, and the exchange writes the access line and the spans.

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
pub use labels::{ProtocolId, ProtocolNames, SignatureLabels, SignatureMeter};
pub use measurement::Measurement;
pub use request::{Arrival, Head, Status, Transport};
pub use requests::RequestFigures;
pub use stage::{Stage, Timings};
pub use summary::{Summary, SummarySlot};
pub use telemetry::{Settings, Telemetry};
pub use trace::Tracer;
