//! The rules of URL inputs: which URLs may be fetched, from which addresses, over which redirects. Pure: no actor, no socket, no
//! clock.
//!
//! The rules check the text of a URL ([`Rules::target`]), each redirect ([`Rules::redirect`]), and before a host is dialled each of
//! its addresses ([`Rules::check_addresses`]).

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::str::FromStr;

use ipnet::IpNet;
use url::{Host, Url};

use super::address::{is_public, unmapped};

/// The longest URL that is fetched, in bytes. Servers accept no longer ones; RFC 9110 asks them for 8000 bytes.
pub const URL_BYTES_MAX: usize = 8192;

/// The words for every refusal of a host. A reason would tell strangers about the network inside.
const HOST_NOT_ALLOWED: &str = "is not allowed; its host must be one that this server fetches from, and must have a public address";

/// The rules of one server.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Hosts and networks that may be fetched from although they are not public.
    pub allow: Vec<Allow>,
    /// The only hosts that may be fetched from. Empty for any host.
    pub domains: Vec<Domain>,
    /// The most redirects on the way to one body.
    pub redirects_max: usize,
}

/// A host or network that may be fetched from although it is not public.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allow {
    /// Host names, whatever their addresses; on one port, or on any.
    Name(Domain, Option<u16>),
    /// A network, whatever the host name; on one port, or on any.
    Addresses(IpNet, Option<u16>),
}

impl FromStr for Allow {
    type Err = String;

    /// Reads `HOST`, `*.HOST`, an address, `HOST:PORT` of each, or `ADDRESS/PREFIX`. An IPv6 address may stand in brackets, and
    /// does before a port.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected HOST, *.HOST, HOST:PORT or ADDRESS/PREFIX, got `{text}`");
        if let Ok(net) = text.parse::<IpNet>() {
            // Hosts are compared in IPv4 where they have such an address, so `::ffff:10.0.0.0/104` would match nothing.
            return if unmapped(net.addr()) == net.addr() { Ok(Self::Addresses(net, None)) } else { Err(wrong()) };
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Addresses(unmapped(address).into(), None));
        }
        let (host, port) = match text.rsplit_once(':') {
            // The colons in brackets are those of an address.
            Some((host, port)) if !text.ends_with(']') => (host, Some(port.parse::<NonZeroU16>().map_err(|_| wrong())?.get())),
            Some(_) | None => (text, None),
        };
        match Host::parse(host).map_err(|_| wrong())? {
            Host::Domain(_) => Ok(Self::Name(host.parse().map_err(|_| wrong())?, port)),
            Host::Ipv4(address) => Ok(Self::Addresses(IpAddr::V4(address).into(), port)),
            Host::Ipv6(address) => Ok(Self::Addresses(unmapped(address.into()).into(), port)),
        }
    }
}

/// A host name. With `*.` in front it stands for all names below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    host: String,
    below: bool,
}

impl FromStr for Domain {
    type Err = String;

    /// Reads `example.org`, `*.example.org`, or an address.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &dyn fmt::Display| format!("expected a host name, got `{text}` ({why})");
        let (below, host) = text.strip_prefix("*.").map_or((false, text), |host| (true, host));
        let host = Host::parse(host).map_err(|error| wrong(&error))?;
        // No host of a URL is like the names that are refused here, so they would match nothing.
        match &host {
            Host::Domain(name) if name.contains('*') => return Err(wrong(&"`*.` stands at the beginning only")),
            Host::Domain(name) if without_dot(name).split('.').any(str::is_empty) => return Err(wrong(&"empty label")),
            Host::Ipv4(_) | Host::Ipv6(_) if below => return Err(wrong(&"no name is below an address")),
            Host::Domain(_) | Host::Ipv4(_) | Host::Ipv6(_) => {}
        }
        Ok(Self { host: without_dot(&host.to_string()).to_owned(), below })
    }
}

impl Domain {
    fn matches(&self, host: &str) -> bool {
        if self.below {
            host.strip_suffix(&self.host).is_some_and(|front| front.ends_with('.'))
        } else {
            host == self.host
        }
    }
}

/// A URL that may be fetched.
#[derive(Debug)]
pub enum Target<'a> {
    /// A `data:` URL, which holds its bytes itself.
    Data(&'a str),
    /// A URL to fetch over HTTP or HTTPS.
    Web(Url),
}

/// The reason why a URL is not fetched. `Display` writes it for the log. The caller gets [`Refusal::tell`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The scheme is neither http, https nor data.
    Scheme,
    /// The URL has a user or a password.
    Credentials,
    /// The host is not one of [`Rules::domains`].
    Domain,
    /// The host has this address, which is not public.
    Address(IpAddr),
    /// The host name has no address.
    Unresolved(String),
    /// The URL redirects from https to http.
    Downgrade,
    /// The URL redirects to one that is refused.
    Redirect(Box<Self>),
    /// The text is no URL.
    Malformed(String),
    /// The URL has this many bytes, more than [`URL_BYTES_MAX`].
    TooLong(usize),
    /// The URL redirects more often than this limit.
    Redirects(usize),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scheme => f.write_str("its scheme is not http, https or data"),
            Self::Credentials => f.write_str("it has a user or password"),
            Self::Domain => f.write_str("its host is not one of --url_domains"),
            Self::Address(address) => write!(f, "{address} is not public, and not opened by --url_allow"),
            Self::Unresolved(error) => write!(f, "its host has no address: {error}"),
            Self::Downgrade => f.write_str("it redirects from https to http"),
            Self::Redirect(refusal) => write!(f, "it redirects to a URL that is refused: {refusal}"),
            Self::Malformed(error) => write!(f, "it is not a URL: {error}"),
            Self::TooLong(bytes) => write!(f, "it has {bytes} bytes, limit {URL_BYTES_MAX}"),
            Self::Redirects(max) => write!(f, "it redirects more than {max} times"),
        }
    }
}

impl std::error::Error for Refusal {}

impl Refusal {
    /// The words for the caller. They give a reason if it lies in the URL's own text, or in the answer of a server that the rules
    /// allow.
    #[must_use]
    pub fn tell(&self) -> String {
        match self {
            Self::Malformed(error) => format!("is not a URL: {error}"),
            Self::TooLong(bytes) => format!("is {bytes} bytes long, limit {URL_BYTES_MAX}"),
            Self::Redirects(max) => format!("redirects more than {max} times"),
            Self::Scheme => "is not allowed; its scheme must be http, https or data".to_owned(),
            Self::Credentials => "is not allowed; it must have no user and no password".to_owned(),
            Self::Redirect(refusal) => format!("redirects to a URL that {}", refusal.tell()),
            Self::Downgrade => "is not allowed; it redirects from https to http".to_owned(),
            Self::Domain | Self::Address(_) | Self::Unresolved(_) => HOST_NOT_ALLOWED.to_owned(),
        }
    }
}

impl Rules {
    /// Checks the text of a URL, and its host if that is an address.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn target<'a>(&self, text: &'a str) -> Result<Target<'a>, Refusal> {
        let text = text.trim_matches(|c: char| c <= ' ');
        // The scheme comes first: the text of another scheme follows other rules, and is refused whatever it holds.
        match scheme(text).as_deref() {
            Some("data") => return Ok(Target::Data(text)),
            Some("http" | "https") | None => {}
            Some(_) => return Err(Refusal::Scheme),
        }
        if text.len() > URL_BYTES_MAX {
            return Err(Refusal::TooLong(text.len()));
        }
        let url = Url::parse(text).map_err(|error| Refusal::Malformed(error.to_string()))?;
        self.check(url).map(Target::Web)
    }

    /// Finds the target of a redirect, which follows on `taken` others.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn redirect(&self, from: &Url, location: &str, taken: usize) -> Result<Url, Refusal> {
        if taken >= self.redirects_max {
            return Err(Refusal::Redirects(self.redirects_max));
        }
        if location.len() > URL_BYTES_MAX {
            return Err(Refusal::TooLong(location.len()));
        }
        let to = from.join(location).map_err(|error| Refusal::Malformed(format!("redirects to none: {error}")))?;
        if from.scheme() == "https" && to.scheme() == "http" {
            return Err(Refusal::Downgrade);
        }
        // Other refusals sound like those of the URL itself: they could tell about the network inside.
        self.check(to).map_err(|refusal| {
            let is_in_its_text = matches!(refusal, Refusal::Scheme | Refusal::Credentials);
            if is_in_its_text {
                Refusal::Redirect(Box::new(refusal))
            } else {
                refusal
            }
        })
    }

    fn check(&self, mut url: Url) -> Result<Url, Refusal> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refusal::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::Credentials);
        }
        let host = without_dot(url.host_str().unwrap_or_default());
        if host.split('.').any(str::is_empty) {
            return Err(Refusal::Malformed("empty label in its host".into()));
        }
        if !self.domains.is_empty() && !self.domains.iter().any(|domain| domain.matches(host)) {
            return Err(Refusal::Domain);
        }
        let literal = match url.host() {
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(_)) | None => None,
        };
        if let (Some(address), Some(port)) = (literal, url.port_or_known_default()) {
            self.check_addresses(host, port, &[address])?;
        }
        // The fragment is never sent. Two URLs that differ in it alone are one fetch.
        url.set_fragment(None);
        Ok(url)
    }

    /// Checks every address of a host.
    ///
    /// # Errors
    /// [`Refusal`] if the host has no address, or one that is neither public nor allowed by [`Rules::allow`].
    pub fn check_addresses(&self, host: &str, port: u16, addresses: &[IpAddr]) -> Result<(), Refusal> {
        if addresses.is_empty() {
            return Err(Refusal::Unresolved("none found".into()));
        }
        let is_open = |address: &IpAddr| {
            self.allow.iter().any(|allow| match allow {
                Allow::Name(..) => false,
                Allow::Addresses(net, only) => net.contains(&unmapped(*address)) && only.is_none_or(|only| only == port),
            })
        };
        match addresses.iter().find(|address| !is_public(**address) && !is_open(address)) {
            Some(&address) if !self.names(host, port) => Err(Refusal::Address(address)),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether [`Rules::allow`] has the name of a host, so that its addresses do not matter.
    pub(super) fn names(&self, host: &str, port: u16) -> bool {
        let host = without_dot(host);
        self.allow.iter().any(|allow| match allow {
            Allow::Name(name, only) => name.matches(host) && only.is_none_or(|only| only == port),
            Allow::Addresses(..) => false,
        })
    }
}

/// The scheme with which a text starts, in lower case.
fn scheme(text: &str) -> Option<String> {
    let (scheme, _) = text.split_once(':')?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    is_scheme.then(|| scheme.to_ascii_lowercase())
}

/// Removes the dot that may end a host name: `localhost.` is `localhost`.
fn without_dot(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

/// Removes user and password from a caller's URL, and the query too if `query` is false. All may hold secrets.
#[must_use]
pub fn without_secrets(text: &str, query: bool) -> String {
    let end = if query { None } else { text.find(['?', '#']) };
    let text = &text[..end.unwrap_or(text.len())];
    let Some(start) = text.find("://").map(|at| at + 3) else {
        return text.to_owned();
    };
    let authority = text[start..].find(['/', '?', '#', '\\']).map_or(text.len(), |at| start + at);
    match text[start..authority].rfind('@') {
        Some(at) => format!("{}…{}", &text[..start], &text[start + at..]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
