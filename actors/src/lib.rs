//! The actors of tfweb: which requests wait, and which run next.
//!
//! ```text
//!                 Predict                RequestCredit              RunBatch (channel)
//!  ModelHandle ──────────► ModelActor ─────────────────► SessionActor ─────────────► run thread
//!       ▲        (Purge)   one per      ◄── RunCredit ──  one per      ◄─ RunReport ─     │
//!       │                  signature    ─── RunBatch ──►  model                           │
//!       └───────────────────────────────── answer (oneshot) ──────────────────────────────┘
//! ```
//!
//! - [`ModelHandle`] is all that callers see of a model. It admits a request, sends it, and waits until the deadline.
//! - A ModelActor owns the requests that wait for one signature. The pure `batcher` decides which of them run together.
//! - A SessionActor owns the session of one model and its run threads. It hands out run credits.
//! - A run thread merges the rows of a batch, runs the session, splits the outputs and answers each request.
//! - The FetcherActor ([`fetcher`]) fetches the URLs of a request before the request goes to its model.
//!
//! # What actix is used for
//!
//! - Confinement of state. Each queue, each set of credits and the table of fetches belongs to one actor, and no other thread
//!   touches it. Their code needs no lock.
//! - Typed messages. Each is a struct beside the actor that handles it, and says what the receiver must do.
//! - Arbiters. An actor runs on a thread that its starter chooses, apart from the threads of the HTTP and gRPC ports.
//!
//! # What actix is not used for
//!
//! - Mailboxes do not hold the load: `Addr::send` and `do_send` do not bound them. A [`Permit`](tfweb_limits::Permit) does. It is
//!   taken before a request is sent and lives until the answer, so there are never more messages than permits.
//! - Answers do not pass through actors. A run thread answers each request itself, through the oneshot channel that the request
//!   holds.
//! - Actors do no work on tensors. Decoding happens on the threads of the ports, copying on run threads. Handlers only move
//!   requests.
//! - Runs do not use `SyncArbiter`, whose queue is unbounded. Run threads are plain threads, and credits bound their work.
//! - Actors are not restarted. A panic in a run is answered as an error, and its thread lives on; a panic within a fetch fails that
//!   fetch. A panic in an actor ends the process ([`start_arbiter`]), for a server whose actors are half dead would fail
//!   every later request.

#![forbid(unsafe_code)]

mod batcher;
mod caller;
pub mod fetcher;
mod gauges;
pub mod idle_memory;
mod model_actor;
mod model_handle;
mod observer;
mod outbox;
mod pace;
mod part_size;
mod parts;
mod record;
mod request;
mod run;
mod search;
mod session_actor;
mod supervision;
#[cfg(test)]
mod tests;
mod watchdog;

pub use caller::{Outputs, Prediction};
pub use gauges::RowGauges;
pub use model_handle::{start_model, ModelHandle, Policy, SignatureFigures};
pub use observer::{ObservedRun, RunObserver, TraceLink};
pub use supervision::start_arbiter;
pub use watchdog::Heartbeat;
