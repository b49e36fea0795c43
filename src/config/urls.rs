//! The flags of URL inputs.

use std::sync::Arc;
use std::time::Duration;

use structopt::StructOpt;
use tfweb_actors::fetcher::rules::Rules;
use tfweb_actors::fetcher::{FetchPolicy, SystemResolver};

use super::values::{list, number, switch, within, Usage};

/// The largest number of fetches that the flag takes: each may hold a file descriptor.
const CONCURRENCY_LIMIT: usize = 4096;
/// How many look-ups of host names fetches wait for at a time. Name servers answer within milliseconds.
const LOOK_UPS_MAX: usize = 64;
/// How many look-ups run at a time, each on a thread of its own. A look-up cannot be cut short, so some of them nobody waits for.
const LOOK_UP_THREADS_MAX: usize = 4 * LOOK_UPS_MAX;
/// The largest number of redirects that the flag takes. Browsers follow as many.
const REDIRECTS_LIMIT: usize = 20;
/// The longest time that a fetch can be given: an hour.
const TIMEOUT_MS_LIMIT: usize = 3_600_000;

/// The flags of URL inputs as typed.
#[derive(StructOpt, Clone, Debug)]
#[structopt(name = "URL inputs")]
pub struct UrlFlags {
    /// Host or network that URLs may lead to although its address is not public: HOST, HOST:PORT or ADDRESS/PREFIX; *.example.org stands for all hosts below example.org. The flag may repeat; in the variable, commas separate hosts
    #[structopt(long = "url_allow", env = "TFWEB_URL_ALLOW", value_name = "HOST", number_of_values = 1)]
    pub url_allow: Vec<String>,
    /// The only hosts that URLs may name, separated by commas; *.example.org stands for all hosts below example.org. Default: any host
    #[structopt(long = "url_domains", env = "TFWEB_URL_DOMAINS", value_name = "HOSTS")]
    pub url_domains: Option<String>,
    /// Refuse requests with URLs
    #[structopt(long = "no_url", env = "TFWEB_NO_URL", value_name = "SWITCH", default_value = "false", hide_default_value = true, parse(try_from_str = switch))]
    pub no_url: bool,
    /// Maximum number of redirects that one fetch follows
    #[structopt(long = "url_redirects", env = "TFWEB_URL_REDIRECTS", value_name = "REDIRECTS", default_value = "3", parse(try_from_str = number))]
    pub url_redirects: usize,
    /// Maximum size of a fetched body in bytes, after decompression. A larger body is answered with 413
    #[structopt(long = "url_size", env = "TFWEB_URL_SIZE", value_name = "BYTES", default_value = "16777216", parse(try_from_str = number))]
    pub url_size: usize,
    /// Maximum time for one fetch in milliseconds, including the time it waits for its turn
    #[structopt(long = "url_timeout_ms", env = "TFWEB_URL_TIMEOUT_MS", value_name = "MS", default_value = "10000", parse(try_from_str = number))]
    pub url_timeout_ms: usize,
    /// Number of fetches at the same time. One host gets at most a quarter of them, and so does one request
    #[structopt(long = "url_concurrency", env = "TFWEB_URL_CONCURRENCY", value_name = "FETCHES", default_value = "64", parse(try_from_str = number))]
    pub url_concurrency: usize,
    /// Maximum size of all fetched bodies in memory, in bytes. One host gets at most a quarter of it, and so does one request
    #[structopt(long = "url_memory", env = "TFWEB_URL_MEMORY", value_name = "BYTES", default_value = "268435456", parse(try_from_str = number))]
    pub url_memory: usize,
}

impl UrlFlags {
    /// Checks the flags; none where the server takes no URLs.
    pub(super) fn policy(&self, queue_max: usize) -> Result<Option<FetchPolicy>, Usage> {
        let wrong = |flag: &str, error: String| Usage::wrong(format!("--{flag}: {error}"));
        let allow = self.url_allow.iter().map(|text| text.parse().map_err(|error| wrong("url_allow", error)));
        let domains = self.url_domains.as_deref().map_or(Ok(Vec::new()), |text| list("--url_domains", text))?;
        let domains = domains.iter().map(|text| text.parse().map_err(|error| wrong("url_domains", error)));
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
            look_ups_max: LOOK_UPS_MAX,
            queue_max,
            memory_bytes_max: self.url_memory,
            resolver: Arc::new(SystemResolver::new(LOOK_UP_THREADS_MAX)),
        };
        Ok((!self.no_url).then_some(policy))
    }
}
