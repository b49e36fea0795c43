//! Runs the transcripts in `tests/transcripts`: requests and the answers to them, as text.
//!
//! The first line of a file is the command whose server it talks to. Then come exchanges:
//!
//! ```text
//! ### the fact that this exchange shows
//! POST /models/kitchen/echo_int32
//! content-type: text/plain
//! {"x": [[1, 2]]}
//! --- 200
//! content-type: application/json
//! {"y":[[1,2]]}
//! ```
//!
//! Headers are the lines of the form `name: value` that come first; a blank line ends them where the body might look like one.
//! Of an answer's headers those written here are compared, by their whole value, or with `(absent)` by their absence. The body
//! is compared whole. `…` stands for any text. Lines that start with `#` before the first exchange are comments.
//!
//! The request header `@body` is not sent: its words change the body, one after another. `hex`: what is written are the bytes in
//! hexadecimal; `crlf`: lines end as a form's do; `gzip`, `deflate`: compressed; `repeat=N`: N times.
//!
//! `UPDATE_TRANSCRIPTS=1 cargo test --test suite` writes what the server answered wherever it differs. Read the
//! difference before you keep it.

use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::path::Path;

use flate2::read::{GzEncoder, ZlibEncoder};
use flate2::Compression;

use crate::client::{Request, Response};
use crate::support::RunningServer;

const DIRECTORY: &str = "tests/transcripts";
const ABSENT: &str = "(absent)";

/// One request and the answer to it.
struct Exchange {
    line: usize,
    fact: String,
    /// As it is written, for [`Exchange::write`].
    request: String,
    expected: Expected,
}

#[derive(Clone, Debug, PartialEq)]
struct Expected {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

/// Runs every exchange of a file; in its first line, `words` are replaced.
#[track_caller]
pub(crate) fn check(name: &str, words: &[(&str, &str)]) {
    let path = Path::new(DIRECTORY).join(format!("{name}.txt"));
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let (preamble, exchanges) = parse(&text);
    let mut flags =
        preamble.lines().next().and_then(|line| line.strip_prefix("tfweb ")).expect("a first line with flags").to_owned();
    for (word, value) in words {
        flags = flags.replace(word, value);
    }
    let server = RunningServer::start(&flags);
    let (mut answered, mut differences) = (Vec::new(), String::new());
    for exchange in exchanges {
        let response = server.call(&parse_request(&exchange.request));
        let actual = Expected::of(&response, &exchange.expected);
        if actual != exchange.expected {
            let _ = write!(
                differences,
                "\n{}:{}: {}\nexpected:\n{}\ngot:\n{}\n",
                path.display(),
                exchange.line,
                exchange.fact,
                exchange.expected.write(),
                actual.write()
            );
        }
        answered.push(Exchange { expected: actual, ..exchange });
    }
    if std::env::var_os("UPDATE_TRANSCRIPTS").is_some() {
        fs::write(&path, write(&preamble, &answered)).expect("a transcript that can be written");
    } else {
        assert!(differences.is_empty(), "{differences}");
    }
}

impl Exchange {
    fn write(&self) -> String {
        format!("### {}\n{}{}", self.fact, self.request, self.expected.write())
    }
}

/// A whole file again.
fn write(preamble: &str, exchanges: &[Exchange]) -> String {
    let exchanges: Vec<String> = exchanges.iter().map(Exchange::write).collect();
    preamble.to_owned() + &exchanges.join("\n")
}

impl Expected {
    /// Writes a response as the expectation does, in the words of the expectation where the response fits them.
    fn of(response: &Response, expected: &Self) -> Self {
        let header = |(name, pattern): &(String, String)| {
            let actual = response.header(name).unwrap_or(ABSENT);
            let text = if fits(pattern, actual) { pattern } else { actual };
            (name.clone(), text.to_owned())
        };
        let body = response.text();
        let body = if fits(&expected.body, body.trim_end()) { &expected.body } else { body.trim_end() };
        Self { status: response.status, headers: expected.headers.iter().map(header).collect(), body: body.to_owned() }
    }

    fn write(&self) -> String {
        let mut text = format!("--- {}\n", self.status);
        for (name, value) in &self.headers {
            let _ = writeln!(text, "{name}: {value}");
        }
        if !self.body.is_empty() {
            // A body that looks like a header is kept apart from them.
            if as_header(self.body.lines().next().unwrap_or_default()).is_some() {
                text.push('\n');
            }
            let _ = writeln!(text, "{}", self.body);
        }
        text
    }
}

/// Whether a text fits a pattern in which `…` stands for any text.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('…') else {
        return pattern == text;
    };
    let (middle, last) = rest.rsplit_once('…').unwrap_or(("", rest));
    let Some(mut between) = text.strip_prefix(first).and_then(|text| text.strip_suffix(last)) else {
        return false;
    };
    middle.split('…').all(|part| match between.split_once(part) {
        Some((_, after)) => {
            between = after;
            true
        }
        None => false,
    })
}

fn parse(text: &str) -> (String, Vec<Exchange>) {
    let (mut preamble, mut exchanges) = (String::new(), Vec::<Exchange>::new());
    let mut answers = String::new();
    let mut in_answer = false;
    for (index, line) in text.lines().enumerate() {
        if let Some(fact) = line.strip_prefix("### ") {
            finish(&mut exchanges, &mut answers);
            let expected = Expected { status: 0, headers: Vec::new(), body: String::new() };
            exchanges.push(Exchange { line: index + 1, fact: fact.into(), request: String::new(), expected });
            in_answer = false;
        } else if let Some(exchange) = exchanges.last_mut() {
            if let (Some(status), false) = (line.strip_prefix("--- "), in_answer) {
                exchange.expected.status = status.trim().parse().unwrap_or(0);
                in_answer = true;
            } else {
                let part = if in_answer { &mut answers } else { &mut exchange.request };
                *part += line;
                part.push('\n');
            }
        } else {
            preamble += line;
            preamble.push('\n');
        }
    }
    finish(&mut exchanges, &mut answers);
    (preamble, exchanges)
}

fn finish(exchanges: &mut [Exchange], answer: &mut String) {
    if let Some(exchange) = exchanges.last_mut() {
        let (headers, body) = headers_and_body(answer);
        exchange.expected.headers = headers;
        exchange.expected.body = body;
        answer.clear();
    }
}

fn as_header(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.split_once(": ")?;
    let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || "-@".contains(c));
    (is_name && !name.is_empty()).then_some((name, value))
}

fn headers_and_body(text: &str) -> (Vec<(String, String)>, String) {
    let mut lines = text.lines().peekable();
    let mut headers = Vec::new();
    while let Some((name, value)) = lines.peek().and_then(|line| as_header(line)) {
        headers.push((name.to_owned(), value.to_owned()));
        lines.next();
    }
    let body: Vec<&str> = lines.collect();
    (headers, body.join("\n").trim_matches('\n').to_owned())
}

fn parse_request(text: &str) -> Request {
    let (line, rest) = text.split_once('\n').expect("a request line");
    let (method, target) = line.split_once(' ').expect("a method and a target");
    let (headers, body) = headers_and_body(rest);
    let mut request = Request { method: method.into(), target: target.into(), headers: Vec::new(), body: body.into() };
    for (name, value) in headers {
        if name == "@body" {
            request.body = value.split(' ').fold(request.body, changed);
        } else {
            request.headers.push((name, value));
        }
    }
    request
}

fn changed(body: Vec<u8>, word: &str) -> Vec<u8> {
    let mut out = Vec::new();
    match word.split_once('=').unwrap_or((word, "")) {
        ("hex", _) => {
            let digits: Vec<u8> = body.into_iter().filter(u8::is_ascii_hexdigit).collect();
            let byte = |pair: &[u8]| u8::from_str_radix(&String::from_utf8_lossy(pair), 16).expect("two hexadecimal digits");
            out.extend(digits.chunks(2).map(byte));
        }
        ("crlf", _) => {
            for line in body.split(|&byte| byte == b'\n') {
                out.extend_from_slice(line);
                out.extend_from_slice(b"\r\n");
            }
        }
        ("gzip", _) => drop(GzEncoder::new(body.as_slice(), Compression::best()).read_to_end(&mut out)),
        ("deflate", _) => drop(ZlibEncoder::new(body.as_slice(), Compression::best()).read_to_end(&mut out)),
        ("repeat", times) => out = body.repeat(times.parse().expect("a number of times")),
        (other, _) => panic!("@body: {other}"),
    }
    out
}

macro_rules! transcripts {
    ($($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                check(stringify!($name), &[]);
            }
        )*

        #[test]
        fn every_transcript_is_run() {
            let listed = [$(stringify!($name)),*, "static_files"];
            for entry in fs::read_dir(DIRECTORY).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_stem().unwrap().to_str().unwrap();
                assert!(listed.contains(&name), "{name} is not in the list");
                let text = fs::read_to_string(&path).unwrap();
                let (preamble, exchanges) = parse(&text);
                assert!(write(&preamble, &exchanges) == text, "{name} is not written as it would be anew");
            }
        }

        #[test]
        fn an_ellipsis_fits_any_text() {
            for (pattern, text, expect) in [
                ("", "", true), ("", "a", false), ("ab", "ab", true), ("ab", "abc", false),
                ("…", "", true), ("…", "ab", true), ("a…", "ab", true), ("…b", "ab", true), ("a…b", "ab", true),
                ("ab…bc", "abc", false), ("a…c…e", "abcde", true), ("a…c…e", "abde", false), ("…a…a…", "aba", true),
                ("…a…a…", "ab", false), ("a…b", "abx", false),
            ] {
                assert_eq!(fits(pattern, text), expect, "{pattern} {text}");
            }
        }
    };
}

transcripts!(
    answers,
    cors_default,
    cors_named,
    forms,
    headers,
    malformed,
    no_cors,
    routes,
    tf_serving_columns,
    tf_serving_documents,
    tf_serving_examples,
    tf_serving_routes,
    tf_serving_rows,
    tf_serving_values,
    transposed,
    values,
);
