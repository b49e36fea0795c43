//! Which pages of other origins may call the server from a browser (CORS), and the headers that tell the browser so.

use actix_web::http::header::{self, HeaderMap, HeaderValue};
use url::Url;

/// The headers that scripts of other origins may read.
const EXPOSED_HEADERS: &str = "server-timing, x-request-id, retry-after";
/// How many seconds a browser may remember the answer to a preflight: a day. No browser keeps it longer.
const PREFLIGHT_AGE: &str = "86400";

/// The pages of other origins that may call the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cors {
    /// None.
    #[default]
    Nobody,
    /// Those of these origins, each as browsers write it.
    Origins(Vec<HeaderValue>),
    /// All.
    Everybody,
}

impl Cors {
    /// Reads origins as users type them. `*` alone stands for all.
    ///
    /// # Errors
    /// A text that says which origin was expected, and which one was found.
    pub fn new(typed: &[String]) -> Result<Self, String> {
        match typed {
            [] => Ok(Self::Nobody),
            all if all.iter().all(|text| text == "*") => Ok(Self::Everybody),
            named => named.iter().map(|text| origin(text)).collect::<Result<_, _>>().map(Self::Origins),
        }
    }

    /// Whether the page that sends a request may call the server.
    pub(super) fn allows(&self, request: &HeaderMap) -> bool {
        match self {
            Self::Nobody => false,
            Self::Origins(named) => request.get(header::ORIGIN).is_some_and(|origin| named.contains(origin)),
            Self::Everybody => true,
        }
    }

    /// Adds the headers that every answer has. The API has no cookies, so a page that may call can misuse none.
    pub(super) fn finish(&self, request: &HeaderMap, answer: &mut HeaderMap) {
        // A cache may give an answer to another page. So all answers say which pages may read them, or what that depends on.
        if matches!(self, Self::Origins(_)) {
            answer.append(header::VARY, HeaderValue::from_static("Origin"));
        }
        if !self.allows(request) {
            return;
        }
        let origin = request.get(header::ORIGIN);
        let all = HeaderValue::from_static("*");
        let allowed = origin.filter(|_| *self != Self::Everybody).cloned().unwrap_or(all);
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if origin.is_some() {
            answer.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED_HEADERS));
        }
    }

    /// Adds the headers that the answer to a preflight has besides: a browser may call with these methods.
    pub(super) fn answer_preflight(&self, request: &HeaderMap, methods: &'static str, answer: &mut HeaderMap) {
        if !self.allows(request) || !request.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
            return;
        }
        answer.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
        answer.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_AGE));
        if let Some(asked) = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            answer.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
    }
}

/// Reads an origin, and writes it as browsers do: in lower case, and without the port that the scheme has anyway.
fn origin(text: &str) -> Result<HeaderValue, String> {
    let wrong = |why: &str| format!("expected an origin such as https://app.example.org:8443{why}, got `{text}`");
    match text {
        "*" => return Err(wrong(", or `*` alone")),
        // Anybody can make a page of this origin.
        "null" => return Err(wrong(", which one site has")),
        _ => {}
    }
    let (_, authority) = text.split_once("://").ok_or_else(|| wrong(""))?;
    if authority.contains(['/', '\\', '?', '#', '@']) {
        return Err(wrong(" without a path and a user"));
    }
    if authority.contains('*') {
        return Err(wrong(" without `*` in its host"));
    }
    // The parser would skip white space.
    let url = Url::parse(text).ok().filter(|_| !text.contains(char::is_whitespace)).ok_or_else(|| wrong(""))?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| wrong(""))?;
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    HeaderValue::from_str(&format!("{}://{host}{port}", url.scheme())).map_err(|_| wrong(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(typed: &[&str]) -> Result<Cors, String> {
        Cors::new(&typed.iter().map(|&text| text.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn origins_are_read_as_browsers_write_them() {
        for (typed, expect) in [
            ("https://app.example.org", "https://app.example.org"),
            ("HTTPS://App.Example.org:443", "https://app.example.org"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://[::1]:80", "http://[::1]"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("capacitor://localhost", "capacitor://localhost"),
        ] {
            assert_eq!(cors(&[typed]), Ok(Cors::Origins(vec![HeaderValue::from_static(expect)])), "{typed}");
        }
        assert_eq!((cors(&[]), cors(&["*"]), cors(&["*", "*"])), (Ok(Cors::Nobody), Ok(Cors::Everybody), Ok(Cors::Everybody)));
    }

    #[test]
    fn what_no_browser_sends_is_refused() {
        for typed in [
            "null",
            "app.example.org",
            "https:app.example.org",
            "https://",
            "https:///app.example.org",
            "https://app.example.org/",
            "https://app.example.org/path",
            "https://app.example.org?x",
            "https://user@app.example.org",
            "https://*.example.org",
            "https://app.example.org:99999",
            "https://app.exa\tmple.org",
            "https://a b",
            "file://",
            "",
        ] {
            let error = cors(&[typed]).unwrap_err();
            assert!(error.starts_with("expected an origin") && error.ends_with(&format!("got `{typed}`")), "{error}");
        }
        assert!(cors(&["*", "https://app.example.org"]).unwrap_err().contains("`*` alone"));
    }
}
