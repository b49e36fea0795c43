//! The flags of URL inputs.

use std::sync::Arc;
use std::time::Duration;

use structopt::StructOpt;
use tfweb_actors::fetcher::rules::Rules;
use tfweb_actors::fetcher::{FetchPolicy, SystemResolver};

use super::{number, within, Usage};

/// The most fetches that can be asked for: each may hold a descriptor.
const CONCURRENCY_LIMIT: usize = 4096;
/// The most redirects that can be asked for; browsers follow as many.
const REDIRECTS_LIMIT: usize = 20;
/// The longest time a fetch can be given: an hour.
const TIMEOUT_MS_LIMIT: usize = 3_600_000;

/// What the user typed about URL inputs.
#[derive(StructOpt, Clone, Debug)]
pub struct UrlFlags {
    /// Host or network that urls may lead to although it is not public: HOST, HOST:PORT or ADDRESS/PREFIX; may repeat (in the variable: commas)
    #[structopt(long = "url_allow", env = "TFWEB_URL_ALLOW", value_name = "HOST", number_of_values = 1)]
    pub url_allow: Vec<String>,
    /// The only hosts that urls may name, comma separated; *.example.org stands for all below it
    #[structopt(long = "url_domains", env = "TFWEB_URL_DOMAINS", value_name = "HOSTS", default_value = "")]
    pub url_domains: String,
    /// Take no urls
    #[structopt(long = "no_url")]
    pub no_url: bool,
    /// Most redirects on the way to one body
    #[structopt(long = "url_redirects", env = "TFWEB_URL_REDIRECTS", value_name = "REDIRECTS", default_value = "3", parse(try_from_str = number))]
    pub url_redirects: usize,
    /// Most bytes of one fetched body, after decompression
    #[structopt(long = "url_size", env = "TFWEB_URL_SIZE", value_name = "BYTES", default_value = "16777216", parse(try_from_str = number))]
    pub url_size: usize,
    /// Most time for one fetch, connecting and waiting for its turn included
    #[structopt(long = "url_timeout_ms", env = "TFWEB_URL_TIMEOUT_MS", value_name = "MS", default_value = "10000", parse(try_from_str = number))]
    pub url_timeout_ms: usize,
    /// Fetches at once; one host gets a quarter of them
    #[structopt(long = "url_concurrency", env = "TFWEB_URL_CONCURRENCY", value_name = "FETCHES", default_value = "64", parse(try_from_str = number))]
    pub url_concurrency: usize,
    /// Most bytes of fetched bodies in memory; one host and one request get a quarter of them each
    #[structopt(long = "url_memory", env = "TFWEB_URL_MEMORY", value_name = "BYTES", default_value = "268435456", parse(try_from_str = number))]
    pub url_memory: usize,
}

impl UrlFlags {
    /// Checks the flags; none where URLs are switched off.
    pub(super) fn policy(&self, queue_max: usize) -> Result<Option<FetchPolicy>, Usage> {
        let wrong = |flag: &str, error: String| Usage::wrong(format!("--{flag}: {error}"));
        let allow = self.url_allow.iter().map(|text| text.parse().map_err(|error| wrong("url_allow", error)));
        let domains = self.url_domains.split(',').map(str::trim).filter(|text| !text.is_empty());
        let domains = domains.map(|text| text.parse().map_err(|error| wrong("url_domains", error)));
        if self.url_redirects > REDIRECTS_LIMIT {
            return Err(wrong("url_redirects", format!("expected at most {REDIRECTS_LIMIT}, got {}", self.url_redirects)));
        }
        let body_bytes_max = within("url_size", self.url_size, usize::MAX)?;
        if self.url_memory < body_bytes_max {
            let text = format!("expected at least --url_size, which is {body_bytes_max}, got {}", self.url_memory);
            return Err(wrong("url_memory", text));
        }
        let fetches_max = within("url_concurrency", self.url_concurrency, CONCURRENCY_LIMIT)?;
        let policy = FetchPolicy {
            rules: Rules {
                allow: allow.collect::<Result<_, _>>()?,
                domains: domains.collect::<Result<_, _>>()?,
                redirects_max: self.url_redirects,
            },
            body_bytes_max,
            timeout: Duration::from_millis(within("url_timeout_ms", self.url_timeout_ms, TIMEOUT_MS_LIMIT)? as u64),
            fetches_max,
            queue_max,
            memory_bytes_max: self.url_memory,
            resolver: Arc::new(SystemResolver::new(fetches_max)),
        };
        Ok((!self.no_url).then_some(policy))
    }
}
