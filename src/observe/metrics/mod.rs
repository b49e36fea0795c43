//! Figures of what was served.
//!
//! They are kept where they arise: requests and times in the [`SignatureMetrics`] that a measurement finds without a look-up, rows
//! in what actors observe, fetches in the fetcher. Only a [`Scrape`] brings them together, for Prometheus ([`prometheus`]) or for
//! people ([`stats`]).

mod histogram;
pub mod openmetrics;
mod process;
pub mod prometheus;
mod registry;
mod runs;
mod scrape;
mod signature;
pub mod stats;

pub use registry::{Registry, VersionMetrics};
pub use runs::RunCounter;
pub use scrape::{ModelState, Scrape, VersionState};
pub use signature::{Reason, SignatureMetrics};
