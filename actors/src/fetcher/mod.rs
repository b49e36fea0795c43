//! Fetches the URLs of requests, each URL once for all requests that wait for it.
//!
//! - `handle`: [`FetcherHandle`], which is all that callers see.
//! - `actor`: the FetcherActor, which owns the HTTP client, the limits and the table of fetches under way.
//! - `policy`: the URLs that may be fetched, and the limits of fetching.
//! - [`rules`] and [`address`]: which URLs, hosts and addresses may be fetched. Both are pure.
//! - `waiters`: which request waits for which fetch, and what each of them holds. `hosts`: the same of each host.
//! - `turns`: whose fetch, or whose look-up of a name, comes next. `memory`: who gets memory for a body, and who gives way.
//! - `download`: one fetch. `dial` opens its connection, and `connection` follows the answer to its last byte.
//! - `answer`, `chunks` and `malformed`: where an answer ends. All three are pure.
//! - `failure` and `counters`: why a fetch gave no bytes, and how many fetches ended how.
//!
//! A fetch is a future that all requests for its URL share. The last of them to go, by its deadline or because its client hung up,
//! drops the future, which closes the connection. Fetches run side by side on the actor's own thread, apart from the threads of
//! the ports and the models. A panic within a fetch is answered as an error to the requests that wait for it.

mod actor;
pub mod address;
mod answer;
mod chunks;
mod connection;
mod counters;
mod dial;
mod download;
mod failure;
#[cfg(test)]
mod failure_tests;
#[doc(hidden)]
pub mod fuzzing;
mod handle;
mod hosts;
mod malformed;
mod memory;
mod policy;
pub mod rules;
mod turns;
mod waiters;

pub use counters::{FetchObservation, Outcome};
pub use dial::{Resolve, SystemResolver};
pub use handle::FetcherHandle;
pub use policy::FetchPolicy;
