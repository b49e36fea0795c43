//! The middle floor of tfweb: who waits, and what runs next.
//!
//! ```text
//!                 Predict                RequestCredit              RunBatch (channel)
//!  ModelHandle ──────────► ModelActor ─────────────────► SessionActor ─────────────► run thread
//!       ▲        (Purge)   one per      ◄── RunCredit ──  one per      ◄─ RunReport ─     │
//!       │                  signature    ─── RunBatch ──►  model                           │
//!       └───────────────────────────────── reply (oneshot) ───────────────────────────────┘
//! ```
//!
//! - [`ModelHandle`] is all that callers see: it admits (a [`Permit`](tfweb_limits::Permit) bounds what is inside), sends, and waits until
//!   the deadline.
//! - A ModelActor owns the requests that wait for one signature; what to run together is decided by the pure [`batcher`].
//! - The SessionActor owns the session and its run threads, and hands out run credits.
//! - A run thread merges, runs, splits and replies; a failure is narrowed down to the request that caused it.
//!
//! Handlers are O(1) or nearly so and copy no tensor: all parsing happens on the door's thread, all copying on a run thread.
//!
//! Beside these, the FetcherActor ([`fetcher`]) has what URLs name fetched before a request goes to its model.
//!
//! Supervision: a panic in a run is answered as an error and its thread lives on. A panic in an actor ends the process
//! ([`exit_on_actor_panic`]): a server whose actors are half dead would fail every request for ever, and the supervisor
//! outside can restart a whole one. A panic within a fetch fails that fetch.

#![forbid(unsafe_code)]

pub mod batcher;
pub mod fetcher;
pub mod histogram;
mod model;
mod observation;
mod outbox;
mod pace;
mod part_size;
mod progress;
mod request;
mod run;
mod session;
mod supervision;
#[cfg(test)]
mod tests;
mod trace;

pub use model::{start_model, ModelHandle, Policy};
pub use observation::ModelObservation;
pub use progress::Heartbeat;
pub use request::Prediction;
pub use supervision::exit_on_actor_panic;
pub use trace::{RunTracer, TraceLink, TracedRun};
