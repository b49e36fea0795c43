//! The HTTP client of stores and archives.

use std::time::Duration;

use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, ClientBuilder};
use tfweb_engine::Error;

/// The time limit of a connection to a server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest wait for more bytes of an answer. With all retries, a host that accepts connections and says nothing is given up
/// after a minute.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// The most redirects of a request: from a namenode to a datanode, or from a site to a mirror, and a few more.
const REDIRECTS_MAX: usize = 5;
/// The retries of each request. With their pauses they take about five seconds.
pub(super) const RETRIES: usize = 4;
/// The pause before the first retry. It doubles with each further one.
pub(super) const RETRY_DELAY_MIN: Duration = Duration::from_millis(300);
/// The longest pause before a retry.
pub(super) const RETRY_DELAY_MAX: Duration = Duration::from_secs(5);

/// Makes a client. It belongs to the runtime that uses it first.
///
/// # Errors
/// `Internal` where the system's certificates cannot be read.
pub(super) fn client() -> Result<Client, Error> {
    build(builder().read_timeout(IDLE_TIMEOUT).redirect(Policy::custom(redirect)))
}

/// Makes a client for a cloud machine's metadata service. It uses no proxy, follows no redirect, and has a short time limit,
/// because most machines have no such service.
pub(super) fn metadata_client(timeout: Duration) -> Result<Client, Error> {
    build(builder().timeout(timeout).redirect(Policy::none()).no_proxy())
}

fn builder() -> ClientBuilder {
    // The provider belongs to the whole process. An error means that it has one already, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let agent = concat!("tfweb/", env!("CARGO_PKG_VERSION"));
    Client::builder().connect_timeout(CONNECT_TIMEOUT).user_agent(agent).referer(false)
}

fn build(builder: ClientBuilder) -> Result<Client, Error> {
    builder.build().map_err(|error| Error::internal(format!("no HTTP client: {}", cause(&error))))
}

/// Follows a redirect. The client itself removes credentials before it asks another host. A request over TLS is not redirected to
/// a URL without TLS.
fn redirect(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    if attempt.previous().len() > REDIRECTS_MAX {
        return attempt.error("too many redirects");
    }
    let is_downgrade = attempt.url().scheme() != "https" && attempt.previous().last().is_some_and(|url| url.scheme() == "https");
    if is_downgrade {
        return attempt.error("a redirect from https to http");
    }
    attempt.follow()
}

/// The innermost reason of an error, without the queries of URLs. It says the most in the fewest words.
pub(super) fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    without_queries(&innermost.to_string())
}

/// The most characters of a reason. Some servers answer with a whole page.
const REASON_CHARS_MAX: usize = 300;

/// Puts a text on one line, cuts it, and removes the queries of URLs, because they hold signatures.
pub(super) fn without_queries(text: &str) -> String {
    let mut words = Vec::new();
    for word in text.split_whitespace() {
        match word.split_once('?') {
            Some((before, _)) if before.contains("://") => words.push(format!("{before}?…")),
            _ => words.push(word.to_owned()),
        }
    }
    words.join(" ").chars().take(REASON_CHARS_MAX).collect()
}

/// The pause before a retry. The first retry is 0.
#[cfg(feature = "http")]
pub(super) fn retry_delay(retry: usize) -> Duration {
    let factor = 1_u32 << retry.min(16);
    RETRY_DELAY_MIN.saturating_mul(factor).min(RETRY_DELAY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_one_line_without_signatures() {
        let text = "cannot get\nhttps://h/m.zip?sig=secret  for (http://h/?a=secret): why?";
        assert_eq!(without_queries(text), "cannot get https://h/m.zip?… for (http://h/?… why?");
        assert_eq!(without_queries(&"x".repeat(1000)).len(), REASON_CHARS_MAX);
    }
}
