//! The metrics of the server.
//!
//! Each part counts for itself: a measurement counts requests and times in its signature's [`SignatureMetrics`], actors count
//! rows, and the fetcher counts fetches. A [`Scrape`] gathers all of them for one page, for Prometheus ([`prometheus`]) or for
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

pub use registry::{Registry, SignatureMeter, VersionMetrics};
pub use runs::RunCounter;
pub use scrape::{ModelState, Scrape, VersionState};
pub use signature::SignatureMetrics;
