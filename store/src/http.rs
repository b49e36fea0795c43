//! The one HTTP client that stores and archives are asked with.

use std::time::Duration;

use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, ClientBuilder};
use tfweb_engine::Error;

/// The most time to reach a server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The most time in which nothing comes while something should.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The most redirects of a request: the datanode of a namenode, the mirror of a site, and some more.
const REDIRECTS_MAX: usize = 5;
/// Attempts after the first, of each request; with the delays below, some five seconds in all.
pub(super) const RETRIES: usize = 4;
/// Before the first retry; doubled before each other one.
pub(super) const RETRY_DELAY_MIN: Duration = Duration::from_millis(300);
/// Before any.
pub(super) const RETRY_DELAY_MAX: Duration = Duration::from_secs(5);

/// Makes a client. It belongs to the runtime that uses it first.
///
/// # Errors
/// `Internal` where the system's certificates cannot be read.
pub(super) fn client() -> Result<Client, Error> {
    build(builder().read_timeout(IDLE_TIMEOUT).redirect(Policy::custom(redirect)))
}

/// Makes a client for a cloud machine's own metadata: no proxy, no redirect, and little time, for most machines have none.
pub(super) fn metadata_client(timeout: Duration) -> Result<Client, Error> {
    build(builder().timeout(timeout).redirect(Policy::none()).no_proxy())
}

fn builder() -> ClientBuilder {
    // Of the whole process; whoever came first has chosen as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let agent = concat!("tfweb/", env!("CARGO_PKG_VERSION"));
    Client::builder().connect_timeout(CONNECT_TIMEOUT).user_agent(agent).referer(false)
}

fn build(builder: ClientBuilder) -> Result<Client, Error> {
    builder.build().map_err(|error| Error::internal(format!("no HTTP client: {}", cause(&error))))
}

/// To another host the client itself takes no credentials along. What was asked for by TLS is not answered without.
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

/// The innermost reason of an error, which says the most in the fewest words, without the queries of URLs.
pub(super) fn cause(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    without_queries(&innermost.to_string())
}

/// The most characters of a reason that is passed on: some servers answer with a page.
const REASON_CHARS_MAX: usize = 300;

/// One line, cut, in which no URL has its query: signatures are there.
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
