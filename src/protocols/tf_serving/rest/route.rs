//! Reads paths. A path is read as it came, with its query, because TensorFlow Serving's patterns match it so.

use actix_web::http::Method;
use tfweb_engine::{quoted, Error};

use crate::protocols::tf_serving::classify_regress::Task;
use crate::protocols::tf_serving::find::Wanted;

/// The method behind the colon of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// `:predict`.
    Predict,
    /// `:classify` or `:regress`.
    Examples(Task),
}

/// The request that a path makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// All models.
    List,
    Status(String, Wanted),
    Metadata(String, Wanted),
    Call(String, Wanted, Verb),
}

/// Reads a path.
///
/// # Errors
/// `InvalidArgument` for every path that is no request.
pub(super) fn parse(method: &Method, path: &str) -> Result<Route, Error> {
    let is_get = matches!(*method, Method::GET | Method::HEAD);
    let route = match split(path) {
        Some(rest) if is_get => read(rest),
        Some(rest) if *method == Method::POST => call(rest),
        Some(_) | None => None,
    };
    let path: String = path.chars().take(200).collect();
    route.unwrap_or_else(|| Err(Error::invalid(format!("Malformed request: {method} {path}"))))
}

/// Gives the rest of a path that begins with `/v1/models`.
fn split(path: &str) -> Option<&str> {
    const START: &str = "/v1/models";
    let (start, rest) = path.split_at_checked(START.len())?;
    start.eq_ignore_ascii_case(START).then_some(rest)
}

fn read(rest: &str) -> Option<Result<Route, Error>> {
    if rest.is_empty() {
        return Some(Ok(Route::List));
    }
    let mut segments: Vec<&str> = rest.strip_prefix('/')?.split('/').collect();
    let is_metadata = segments.len().is_multiple_of(2) && segments.last().is_some_and(|last| last.eq_ignore_ascii_case("metadata"));
    if is_metadata {
        segments.pop();
    }
    let found = model(&segments)?;
    Some(found.map(|(name, version)| if is_metadata { Route::Metadata(name, version) } else { Route::Status(name, version) }))
}

fn call(rest: &str) -> Option<Result<Route, Error>> {
    let (rest, verb) = rest.strip_prefix('/')?.rsplit_once(':')?;
    let verb = match verb {
        "predict" => Verb::Predict,
        "classify" => Verb::Examples(Task::Classify),
        "regress" => Verb::Examples(Task::Regress),
        _ => return None,
    };
    let segments: Vec<&str> = rest.split('/').collect();
    Some(model(&segments)?.map(|(name, version)| Route::Call(name, version, verb)))
}

/// `NAME`, `NAME/versions/V` or `NAME/labels/L`.
fn model(segments: &[&str]) -> Option<Result<(String, Wanted), Error>> {
    let (name, version) = match segments {
        [name] => (name, Ok(Wanted::Newest)),
        [name, kind, number] if kind.eq_ignore_ascii_case("versions") && is_number(number) => {
            let refused = || Error::invalid(format!("Failed to convert version: {} to numeric.", cut(number)));
            (name, number.parse().map(Wanted::Number).map_err(|_| refused()))
        }
        [name, kind, label] if kind.eq_ignore_ascii_case("labels") && is_name(label) => {
            let refused = || Error::invalid(format!("Failed to decode model version label:{}", cut(label)));
            (name, percent_decode(label).map(Wanted::Label).ok_or_else(refused))
        }
        _ => return None,
    };
    if !is_name(name) {
        return None;
    }
    let decoded = percent_decode(name).ok_or_else(|| Error::invalid(format!("Failed to decode model name:{}", cut(name))));
    Some(decoded.and_then(|name| version.map(|version| (name, version))))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(':')
}

fn cut(text: &str) -> String {
    let quoted = quoted(text);
    quoted.trim_matches('"').to_owned()
}

/// Takes `%41` for `A`; what is no such code stays. `None` where the bytes are no text.
fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).filter(|code| *first == b'%' && code.iter().all(u8::is_ascii_hexdigit));
        let byte = code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: Method, path: &str, expect: Option<Route>) {
        assert_eq!(parse(&method, path).ok(), expect, "{method} {path}");
    }

    #[test]
    fn paths_are_what_the_patterns_match() {
        let name = || "m".to_owned();
        let number = || Wanted::Number(7);
        check(Method::GET, "/v1/models", Some(Route::List));
        check(Method::GET, "/V1/Models/m", Some(Route::Status(name(), Wanted::Newest)));
        check(Method::GET, "/v1/models/m/versions/007", Some(Route::Status(name(), number())));
        check(Method::GET, "/v1/models/m/versions/7/metadata", Some(Route::Metadata(name(), number())));
        check(Method::GET, "/v1/models/metadata", Some(Route::Status("metadata".into(), Wanted::Newest)));
        check(Method::GET, "/v1/models/a%20b/metadata", Some(Route::Metadata("a b".into(), Wanted::Newest)));
        let label = || Wanted::Label("a/b".into());
        check(Method::POST, "/v1/models/m/labels/a%2fb:predict", Some(Route::Call(name(), label(), Verb::Predict)));
        let regress = Verb::Examples(Task::Regress);
        check(Method::POST, "/v1/models/m/VERSIONS/7:regress", Some(Route::Call(name(), number(), regress)));
        for path in
            ["/v1/models/", "/v1/models/m/", "/v1/models/m/x", "/v1/models/m/versions/a", "/v1/models/m:predict", "/v1", "/v1/x"]
        {
            check(Method::GET, path, None);
        }
        for path in [
            "/v1/models/m",
            "/v1/models/m:PREDICT",
            "/v1/models/m:predict?a=b",
            "/v1/models/m/versions/:predict",
            "/v1/models/:predict",
        ] {
            check(Method::POST, path, None);
        }
        check(Method::DELETE, "/v1/models/m", None);
    }
}
