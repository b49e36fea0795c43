//! Tokens: both ports refuse a request without one before they read its body.

use std::fs;

use crate::client::{Request, Response};
use crate::support::{until, RunningServer};

/// Where a request without a token is refused, whatever is there.
const PATHS: [&str; 10] =
    ["/", "/serving_default", "/models", "/models/half_plus_two/x", "/web/7.png", "/7.png", "/no/such", "//", "/metrics", "/stats"];
const FLAGS: &str = "--model tests/models/half_plus_two --static_path examples/digits_images --admin_token root";

fn bearing(request: Request, token: &str) -> Request {
    request.header("Authorization", &format!("Bearer {token}"))
}

#[track_caller]
fn check_refused(answer: &Response, challenge: &str, body: &str) {
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some(challenge)), "{answer:?}");
    assert!(answer.text().starts_with(body) && answer.header("x-request-id").is_some(), "{answer:?}");
}

#[test]
fn requests_without_a_token_are_refused_in_the_doors_own_words() {
    let server = RunningServer::start(&format!("{FLAGS} --api_token one --api_token two"));
    let [missing, wrong] = ["Bearer realm=\"tfweb\"", "Bearer realm=\"tfweb\", error=\"invalid_token\""];
    let native = ["{\"error\":\"this server asks for a token", "{\"error\":\"the bearer's token is none"];
    let tf_serving = native.map(|text| text.replace("{\"error\":", "{\n    \"error\": "));
    for request in PATHS.iter().flat_map(|path| [Request::get(path), Request::post(path, "{}"), Request::new("DELETE", path)]) {
        check_refused(&server.call(&request), missing, native[0]);
        check_refused(&server.call(&bearing(request, "three")), wrong, native[1]);
    }
    for path in ["/v1/models", "/V1/models/half_plus_two:predict", "/v1/x"] {
        check_refused(&server.call(&Request::get(path)), missing, &tf_serving[0]);
        check_refused(&server.call(&bearing(Request::post(path, "{}"), "three")), wrong, &tf_serving[1]);
    }
    for token in ["one", "two", "root"] {
        let answer = server.call(&bearing(Request::post("/", r#"{"x": [1]}"#), token));
        assert_eq!((answer.status, answer.text()), (200, r#"{"y":[2.5]}"#.into()), "{token}");
        assert_eq!(server.call(&bearing(Request::get("/7.png"), token)).status, 200, "{token}");
    }
    // A token for calls does not allow changes.
    let add = Request::post("/models/x", r#"{"uri": "/no/such"}"#);
    let denied = server.call(&bearing(add.clone(), "one"));
    assert_eq!(denied.status, 403);
    assert!(denied.text().contains("--admin_token; to predict, POST to /models/{model}/{signature}"), "{}", denied.text());
    assert_ne!(server.call(&bearing(add, "root")).status, 403);
}

#[test]
fn health_and_preflights_need_no_token() {
    let server = RunningServer::start(&format!("{FLAGS} --api_token one --cors_origin *"));
    for path in ["/livez", "/readyz", "/%6civez", "/ready%7a"] {
        assert_eq!(server.call(&Request::get(path)).status, 200, "{path}");
    }
    let preflight = |path: &str| {
        let request = Request::new("OPTIONS", path).header("Origin", "https://a.example");
        request.header("Access-Control-Request-Method", "POST").header("Access-Control-Request-Headers", "authorization")
    };
    for path in ["/", "/models", "/v1/models/half_plus_two:predict"] {
        let answer = server.call(&preflight(path));
        assert!(
            answer.status < 300 && answer.header("access-control-allow-headers") == Some("authorization"),
            "{path}: {answer:?}"
        );
        assert_eq!(server.call(&Request::new("OPTIONS", path)).status, 401, "{path}");
    }
    let refused = server.call(&Request::get("/").header("Origin", "https://a.example"));
    assert_eq!(refused.header("access-control-allow-origin"), Some("*"), "so that pages can read why");
}

#[test]
fn only_preflights_of_pages_that_may_call_need_no_token() {
    let asked = |flags: &str, origin: &str| {
        let server = RunningServer::start(&format!("{FLAGS} --api_token one {flags}"));
        let request = Request::new("OPTIONS", "/").header("Origin", origin).header("Access-Control-Request-Method", "POST");
        let answer = server.call(&request);
        (answer.status, answer.header("access-control-allow-origin").map(str::to_owned))
    };
    let a = "https://a.example";
    assert_eq!(asked("", a), (401, None));
    assert_eq!(asked("--cors_origin https://a.example", a), (204, Some(a.to_owned())));
    assert_eq!(asked("--cors_origin https://a.example", "https://b.example"), (401, None));
}

#[test]
fn who_bears_no_token_is_answered_before_the_body_is_read() {
    let server = RunningServer::start(&format!("{FLAGS} --api_token one"));
    let mut connection = server.connect();
    let request = Request::post("/", "").header("Content-Length", "1000000");
    connection.send_bytes(&request.head()).unwrap();
    assert_eq!(connection.receive().unwrap().status, 401);
    // No byte of a refused request is read as the beginning of the next one.
    if connection.send_bytes(&[b'x'; 1000]).is_ok() && connection.send(&bearing(Request::get("/"), "one")).is_ok() {
        assert!(connection.receive().is_err(), "the body is still being waited for, or the connection is closed");
    }
}

#[test]
fn a_file_of_tokens_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let [api, admin] = ["api", "admin"].map(|name| directory.path().join(name));
    fs::write(&api, "# those of today\none\n").unwrap();
    fs::write(&admin, "root\n").unwrap();
    let files = format!("--api_token_file {} --admin_token_file {}", api.display(), admin.display());
    let server = RunningServer::start(&format!("--model tests/models/half_plus_two --api_token typed {files}"));
    let status = |token: &str| server.call(&bearing(Request::get("/"), token)).status;
    assert_eq!(["one", "typed", "root", "two"].map(status), [200, 200, 200, 401]);
    // One that cannot be used changes nothing.
    fs::write(&api, "").unwrap();
    fs::write(&admin, "other\n").unwrap();
    until("the new admin may call", || status("other") == 200);
    assert_eq!(["one", "root"].map(status), [200, 401]);
    fs::write(&api, "two\n").unwrap();
    until("the new token is taken", || status("two") == 200);
    assert_eq!(["one", "typed"].map(status), [401, 200]);
}
