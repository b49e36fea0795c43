//! Tests of the HTTP port that a transcript cannot express: sizes, connections, ids that differ, files.

use std::fs;
use std::io::{self, Write};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use flate2::write::GzEncoder;
use flate2::Compression;
use tfweb_engine::fake::{Behaviour, FakeSession};
use tfweb_engine::{Error, Session, Signature, Tensor};

use crate::client::{Connection, Request, Response};
use crate::support::{Random, RunningServer, MODELS};
use crate::transcripts;

/// The limit of a body where `--request_size` is not given.
const BODY_BYTES_MAX: usize = 67_108_864;

fn fake(flags: &str) -> RunningServer {
    RunningServer::of(Arc::new(FakeSession::new(Behaviour::HalfPlusTwo)), flags)
}

/// A session with one signature that is not called `serving_default`.
struct Only(FakeSession, Vec<Signature>);

impl Session for Only {
    fn signatures(&self) -> &[Signature] {
        &self.1
    }

    fn run(&self, signature: usize, requests: &[&[Tensor]]) -> Result<Vec<Tensor>, Error> {
        self.0.run(signature, requests)
    }
}

/// Serves a model whose one signature has this name.
fn only(name: &str) -> RunningServer {
    let fake = FakeSession::new(Behaviour::HalfPlusTwo);
    let signature = Signature { name: name.into(), ..fake.signatures()[0].clone() };
    RunningServer::of(Arc::new(Only(fake, vec![signature])), "")
}

#[test]
fn the_only_signature_answers_at_the_root() {
    let server = only("only");
    for target in ["/", "/only", "/models/test/only", "/models/test/versions/1"] {
        assert_eq!(server.post(target, r#"{"x": [1]}"#), (200, r#"{"y":[2.5]}"#.into()), "{target}");
    }
}

#[test]
fn a_signature_may_have_any_name() {
    for name in ["a/b", "models", "livez", "versions", "é ü", "a:b"] {
        let server = only(name);
        let encoded = name.replace(' ', "%20").replace('é', "%C3%A9").replace('ü', "%C3%BC");
        for prefix in ["/models/test/", "/models/test/versions/1/"] {
            let target = format!("{prefix}{encoded}");
            assert_eq!(server.post(&target, r#"{"x": [1]}"#), (200, r#"{"y":[2.5]}"#.into()), "{target}");
            assert_eq!(server.call(&Request::get(&target)).json()["name"], name, "{target}");
        }
    }
}

#[test]
fn requests_without_an_id_get_one_of_their_own() {
    let server = fake("");
    let id = |response: Response| response.header("x-request-id").unwrap().to_owned();
    let mut ids: Vec<String> = (0..20).map(|_| id(server.call(&Request::post("/", r#"{"x": [1]}"#)))).collect();
    ids.push(id(server.call(&Request::get("/no/route"))));
    ids.push(id(server.call(&Request::get("/livez"))));
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 22);
}

#[test]
fn an_id_of_more_than_128_bytes_is_not_taken() {
    let server = fake("");
    let answered = |sent: &str| {
        let response = server.call(&Request::get("/").header("X-Request-Id", sent));
        response.header("x-request-id").unwrap().to_owned()
    };
    let (longest, longer) = ("i".repeat(128), "i".repeat(129));
    assert_eq!(answered(&longest), longest);
    assert!(answered(&longer).len() < 129);
}

#[test]
fn an_error_says_where_its_time_went_too() {
    let server = fake("");
    let response = server.call(&Request::post("/", r#"{"x": [null]}"#));
    assert_eq!(response.status, 400);
    assert!(response.header("server-timing").is_some_and(|value| value.starts_with("decode;dur=")), "{response:?}");
}

#[test]
fn a_body_of_exactly_the_limit_is_read() {
    let server = fake("");
    assert_eq!(server.post("/", &" ".repeat(BODY_BYTES_MAX)).0, 400, "spaces are no JSON");
}

#[test]
fn a_body_over_the_limit_is_refused_by_its_length_alone() {
    let server = fake("");
    let request = Request::post("/", "").header("Content-Length", &(BODY_BYTES_MAX + 1).to_string());
    let answer = server.call(&request);
    let says = "the body is too large: expected at most 67108864 bytes, got 67108865 bytes; raise --request_size";
    assert_eq!((answer.status, answer.json()["error"].as_str()), (413, Some(says)));
}

#[test]
fn a_body_that_never_has_room_to_be_decoded_is_refused_for_good() {
    let server = fake("");
    let empty = format!(r#"{{"examples": [{}{{}}]}}"#, "{},".repeat(8 << 20));
    let answer = server.call(&Request::post("/v1/models/test:classify", empty));
    let says = "is too large to be decoded: that may take 12";
    assert!(answer.status == 413 && answer.text().contains(says), "{}", answer.text());
}

#[test]
fn a_client_that_sends_all_of_a_body_over_the_limit_reads_its_413() {
    let server = fake("");
    let mut connection = server.connect();
    // The server may end the connection before it has read the whole body; the test looks at its answer.
    let _ = connection.send(&Request::post("/", " ".repeat(BODY_BYTES_MAX + 1)));
    assert_eq!(connection.receive().expect("an answer").status, 413);
}

fn chunked(body: &str) -> Request {
    let mut chunks = String::new();
    for chunk in body.as_bytes().chunks(1000) {
        chunks += &format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk));
    }
    Request::post("/", chunks + "0\r\n\r\n").header("Transfer-Encoding", "chunked")
}

#[test]
fn a_body_in_chunks_is_one_body() {
    let server = fake("");
    let numbers: Vec<String> = (0..5000).map(|i| i.to_string()).collect();
    let response = server.call(&chunked(&format!(r#"{{"x": [{}]}}"#, numbers.join(","))));
    let expected: Vec<f64> = (0..5000).map(|i| f64::from(i) / 2.0 + 2.0).collect();
    assert_eq!((response.status, response.json()), (200, serde_json::json!({ "y": expected })));
}

#[test]
fn a_body_in_chunks_has_the_same_limit() {
    let server = fake("--request_size 1500");
    assert_eq!(server.call(&chunked(&" ".repeat(1500))).status, 400, "spaces are no JSON");
    assert_eq!(server.call(&chunked(&" ".repeat(1501))).status, 413);
}

#[test]
fn a_gzip_bomb_is_refused_at_the_limit() {
    let server = fake("");
    let mut member = GzEncoder::new(Vec::new(), Compression::best());
    member.write_all(&vec![b' '; 1 << 20]).unwrap();
    // One after another, gzip members are one gzip file: here of 2 GiB.
    let bomb = member.finish().unwrap().repeat(2048);
    assert!(bomb.len() < BODY_BYTES_MAX);
    let start = Instant::now();
    let response = server.call(&Request::post("/", bomb).header("Content-Encoding", "gzip"));
    assert_eq!(response.status, 413);
    assert!(start.elapsed().as_secs() < 10, "{:?}: the rest is not inflated", start.elapsed());
}

#[test]
fn large_bodies_and_answers_go_compressed() {
    let server = RunningServer::shared(MODELS);
    let mut random = Random(1);
    let rows: Vec<[u64; 2]> = (0..20_000).map(|_| [random.next(), random.next()]).collect();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(serde_json::json!({ "x": rows }).to_string().as_bytes()).unwrap();
    let target = "/models/kitchen/echo_uint64";
    let request = Request::post(target, encoder.finish().unwrap()).header("Content-Encoding", "gzip");
    let plain = server.call(&request);
    assert_eq!((plain.status, plain.header("content-encoding")), (200, None));
    assert_eq!(plain.json()["y"], serde_json::json!(rows));
    let compressed = server.call(&request.header("Accept-Encoding", "deflate, gzip;q=0.5"));
    assert_eq!((compressed.status, compressed.header("content-encoding")), (200, Some("gzip")));
    assert!(compressed.body.len() < plain.body.len());
    assert_eq!(compressed.text(), plain.text());
}

#[test]
fn names_of_files_in_forms_may_be_utf_8_or_latin_1() {
    let server = RunningServer::shared(MODELS);
    for file in ["größe.jpg".as_bytes(), b"gr\xf6\xdfe.jpg", b"\x80\xff.jpg"] {
        let head = b"--XX\r\nContent-Disposition: form-data; name=\"text\"; filename=\"";
        let body = [head, file, b"\"\r\n\r\nabcd\r\n--XX--\r\n"].concat();
        let request = Request::post("/models/kitchen/length", body).header("Content-Type", "Multipart/Form-Data; boundary=XX");
        let response = server.call(&request);
        assert_eq!((response.status, response.text()), (200, r#"{"bytes":4}"#.into()), "{}", file.escape_ascii());
    }
}

#[test]
fn a_body_that_does_not_come_in_time_is_answered_504() {
    let server = fake("--request_timeout_ms 100");
    let mut connection = server.connect();
    connection.send(&Request::post("/", "half").header("Content-Length", "8")).unwrap();
    let response = connection.receive().unwrap();
    assert_eq!(response.status, 504);
    let expected = serde_json::json!({"error": "the request's time ran out while its body was read", "code": "DEADLINE_EXCEEDED"});
    assert_eq!(response.json(), expected);
}

#[test]
fn who_asks_whether_to_send_is_told_to() {
    let server = fake("");
    let request = Request::post("/", r#"{"x": [1]}"#).header("Expect", "100-continue");
    let mut connection = server.connect();
    connection.send_bytes(&request.head()).unwrap();
    assert_eq!(connection.receive().unwrap().status, 100);
    connection.send_bytes(&request.body).unwrap();
    assert_eq!(connection.receive().unwrap().text(), r#"{"y":[2.5]}"#);
}

/// Sends only the head of a request that expects 100, and gives the connection.
fn expecting(server: &RunningServer, request: Request) -> Connection {
    let mut connection = server.connect();
    connection.send_bytes(&request.header("Expect", "100-continue").head()).unwrap();
    connection
}

#[test]
fn a_request_that_its_head_refuses_is_not_told_to_send_its_body() {
    let server = fake("--api_token secret");
    let post = |target: &str| Request::post(target, "").header("Authorization", "Bearer secret");
    let (small, large) = (("Content-Length", "10"), ("Content-Length", "67108865"));
    for (request, (name, value), status) in [
        (post("/"), large, 413),
        (post("/v1/models/test:predict"), large, 413),
        (post("/none"), small, 404),
        (post("/models/none/predict"), small, 404),
        (post("/v1/models/none:predict"), small, 404),
        (post("/v1/models/test:none"), small, 400),
        (post("/models"), small, 405),
        (post("/").header("Content-Encoding", "br"), small, 415),
        (Request::post("/", ""), small, 401),
        (Request::post("/v1/models/test:predict", ""), small, 401),
        (post("/none"), ("Transfer-Encoding", "chunked"), 404),
    ] {
        let response = expecting(&server, request.header(name, value)).receive().unwrap();
        assert_eq!((response.status, response.header("connection")), (status, Some("close")), "{response:?}");
    }
}

#[test]
fn a_connection_that_is_kept_says_for_how_long() {
    let server = RunningServer::shared(MODELS);
    let told = |request: Request| server.call(&request).header("keep-alive").map(str::to_owned);
    assert_eq!(told(Request::get("/livez")).as_deref(), Some("timeout=75"));
    assert_eq!(told(Request::post("/v1/models/none:predict", "{}")).as_deref(), Some("timeout=75"));
    assert_eq!(told(Request::get("/livez").header("Connection", "close")), None);
}

#[test]
fn a_connection_on_which_nothing_was_sent_ends_without_an_answer() {
    let server = fake("");
    let (mut silent, mut slow) = (server.connect(), server.connect());
    slow.send_bytes(b"POST / HTTP/1.1\r\nHost: ").unwrap();
    let end = silent.receive().unwrap_err();
    assert_eq!((end.kind(), end.to_string().as_str()), (io::ErrorKind::UnexpectedEof, "nothing"));
    assert_eq!(slow.receive().unwrap().status, 408);
}

#[test]
fn a_connection_that_was_told_not_to_send_ends() {
    let server = fake("");
    let mut connection = expecting(&server, Request::post("/none", "").header("Content-Length", "10"));
    assert_eq!(connection.receive().unwrap().status, 404);
    assert_eq!(connection.receive().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn a_request_that_expects_to_be_told_and_has_no_body_is_answered() {
    let server = fake("");
    let mut connection = expecting(&server, Request::get("/livez"));
    assert_eq!(connection.receive().unwrap().status, 200);
    assert_eq!(connection.call(&Request::get("/livez")).unwrap().status, 200, "on the same connection");
}

#[test]
fn requests_that_expect_to_be_told_follow_one_another() {
    let server = fake("");
    let mut connection = server.connect();
    for i in 0..10 {
        let request = Request::post("/", format!(r#"{{"x": [{i}]}}"#)).header("Expect", "100-continue");
        // The body comes along, as from clients that wait no longer.
        connection.send(&request).unwrap();
        assert_eq!(connection.receive().unwrap().status, 100);
        assert_eq!(connection.receive().unwrap().json()["y"][0], f64::from(i) / 2.0 + 2.0);
    }
}

#[test]
fn a_connection_serves_one_request_after_another() {
    let server = fake("");
    let mut connection = server.connect();
    for i in 0..100 {
        let response = connection.call(&Request::post("/", format!(r#"{{"x": [{i}]}}"#))).unwrap();
        assert_eq!(response.json()["y"][0], f64::from(i) / 2.0 + 2.0);
    }
}

#[test]
fn requests_sent_together_are_answered_in_order() {
    let server = fake("");
    let mut connection = server.connect();
    for i in 0..10 {
        connection.send(&Request::post("/", format!(r#"{{"x": [{i}]}}"#))).unwrap();
    }
    for i in 0..10 {
        assert_eq!(connection.receive().unwrap().json()["y"][0], f64::from(i) / 2.0 + 2.0);
    }
}

#[test]
fn a_form_has_at_most_4096_parts() {
    let server = RunningServer::shared(MODELS);
    let part = "--XX\r\ncontent-disposition: form-data; name=\"text\"\r\n\r\nab\r\n";
    let form = |parts: usize| {
        let request = Request::post("/models/kitchen/length", part.repeat(parts) + "--XX--\r\n");
        server.call(&request.header("Content-Type", "multipart/form-data; boundary=XX"))
    };
    let most = form(4096);
    assert_eq!((most.status, most.json().as_array().unwrap().len()), (200, 4096));
    assert_eq!(form(4097).status, 400);
}

#[test]
fn static_files_are_served_beside_the_api() {
    let place = tempfile::tempdir().unwrap();
    let site = place.path().join("site");
    fs::create_dir_all(site.join("sub/.hidden")).unwrap();
    for (file, text) in [
        ("../secret.txt", "secret"),
        ("index.html", "<h1>home</h1>"),
        ("app.js", "let a;"),
        (".env", "secret"),
        ("sub/index.html", "<h1>sub</h1>"),
        ("sub/page.html", "<h1>page</h1>"),
        ("sub/.hidden/key", "secret"),
        ("a b.txt", "space"),
        ("serving_default", "hidden by the signature"),
        ("models", "hidden by the API"),
    ] {
        fs::write(site.join(file), text).unwrap();
    }
    for (link, target) in [("out.txt", "../secret.txt"), ("out", ".."), ("in.txt", "app.js")] {
        std::os::unix::fs::symlink(target, site.join(link)).unwrap();
    }
    transcripts::check("static_files", &[("{site}", site.to_str().unwrap())]);
}

#[test]
fn a_fifo_among_the_static_files_holds_nobody() {
    let site = tempfile::tempdir().unwrap();
    fs::create_dir(site.path().join("sub")).unwrap();
    for fifo in ["fifo", "sub/index.html"] {
        assert!(Command::new("mkfifo").arg(site.path().join(fifo)).status().unwrap().success());
    }
    let server = fake(&format!("--static_path {}", site.path().display()));
    // More requests than the server has workers.
    let asking: Vec<Connection> = (0..16).map(|_| server.connect()).collect();
    for (index, mut connection) in asking.into_iter().enumerate() {
        let target = ["/web/fifo", "/fifo", "/web/sub/", "/sub"][index % 4];
        assert_eq!(connection.call(&Request::get(target)).unwrap().status, 404, "{target}");
    }
    assert_eq!(server.call(&Request::get("/livez")).status, 200);
}

#[test]
fn a_static_file_larger_than_a_packet_comes_whole() {
    let site = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 251) as u8).collect();
    fs::write(site.path().join("image.png"), &bytes).unwrap();
    let server = fake(&format!("--static_path {}", site.path().display()));
    for target in ["/image.png", "/web/image.png"] {
        let response = server.call(&Request::get(target));
        assert_eq!((response.status, response.header("content-type")), (200, Some("image/png")), "{target}");
        assert!(response.body == bytes, "{target}");
    }
    for target in ["/web/.hidden", "/.hidden"] {
        let refused = server.call(&Request::get(target).header("Accept-Encoding", "gzip"));
        assert_eq!((refused.status, refused.header("content-encoding")), (404, None), "{target}: it is too short to be compressed");
    }
    let part = server.call(&Request::get("/image.png").header("Range", "bytes=10-19"));
    assert_eq!((part.status, part.body.as_slice()), (206, &bytes[10..20]));
}
