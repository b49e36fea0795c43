//! Figures: that each moves when it should and by how much, and that Prometheus itself takes them.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use prost::Message;
use serde_json::Value;
use tfweb_engine::fake::{Behaviour, FakeSession};
use tfweb_proto::tensorflow::serving::{input, ExampleList, InferenceTask, Input, ModelSpec, MultiInferenceRequest};
use tfweb_proto::tensorflow::Example;

use crate::client::{Connection, Request};
use crate::frames::{frame, post_head, Frames, DATA, END_STREAM};
use crate::gated::Gated;
use crate::grpc;
use crate::origin::Origin;
use crate::process::Process;
use crate::support::{until, RunningServer, MODELS};

const TEST: &str = r#"model="test",version="1",signature="serving_default""#;
const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";

/// A page of figures, as a scraper reads it.
struct Page(String);

impl Page {
    fn of(address: SocketAddr, accept: &str) -> Self {
        let mut connection = Connection::open(address).expect("the server accepts");
        let response = connection.call(&Request::get("/metrics").header("Accept", accept)).expect("an answer");
        let expect =
            if accept == OPEN_METRICS { "application/openmetrics-text; version=1.0.0" } else { "text/plain; version=0.0.4" };
        let content_type = response.header("content-type").expect("a type").to_owned();
        assert!(response.status == 200 && content_type.starts_with(expect), "{} {content_type}", response.status);
        Self(response.text())
    }

    /// The value of one sample, by its name and labels as they are written; none where it is not there.
    #[track_caller]
    fn find(&self, sample: &str) -> Option<f64> {
        let value = |line: &str| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok();
        let found: Vec<f64> = self.0.lines().filter_map(value).collect();
        assert!(found.len() < 2, "{sample} is there {} times", found.len());
        found.first().copied()
    }

    #[track_caller]
    fn get(&self, name: &str, labels: &str) -> f64 {
        self.find(&format!("{name}{{{labels}}}")).unwrap_or_else(|| panic!("no {name}{{{labels}}} in\n{}", self.0))
    }
}

fn page(server: &RunningServer) -> Page {
    Page::of(server.address, "*/*")
}

fn x(value: f64) -> Request {
    Request::post("/", format!(r#"{{"x": [{value}]}}"#))
}

#[track_caller]
fn ended(page: &Page, protocol: &str, code: &str) -> f64 {
    page.get("tfweb_requests_total", &format!(r#"{TEST},protocol="{protocol}",code="{code}""#))
}

#[track_caller]
fn failed(page: &Page, reason: &str) -> f64 {
    page.get("tfweb_request_failures_total", &format!(r#"{TEST},reason="{reason}""#))
}

#[test]
fn rows_are_counted_while_they_wait_and_run() {
    let session = Gated::new(Arc::new(FakeSession::new(Behaviour::HalfPlusTwo)));
    let server = RunningServer::of(session.clone(), "--run_threads 1 --queue_size 5");
    session.hold();
    let mut running = server.send_all([x(0.0)]);
    session.until_runs(1);
    running.extend(server.send_all([Request::post("/", r#"{"x": [1, 2, 3]}"#), x(4.0), x(5.0)]));
    let gone = server.send_all([x(6.0)]);
    server.until_inside("test", 5);
    let held = page(&server);
    let rows = |page: &Page| (page.get("tfweb_queued_rows", TEST), page.get("tfweb_running_rows", TEST));
    assert_eq!(rows(&held), (6.0, 1.0));
    assert_eq!(held.get("tfweb_in_flight_requests", r#"protocol="native""#), 5.0);
    assert_eq!(held.get("tfweb_batch_rows_count", TEST), 1.0, "of runs that have begun");
    assert_eq!(ended(&held, "native", "OK"), 0.0);

    assert_eq!(server.call(&x(7.0)).status, 503);
    assert_eq!((failed(&page(&server), "rejected"), ended(&page(&server), "native", "UNAVAILABLE")), (1.0, 1.0));
    drop(gone);
    server.until_inside("test", 4);
    until("the record of a caller that is gone ends", || failed(&page(&server), "cancelled") == 1.0);
    assert_eq!(rows(&page(&server)), (5.0, 1.0));

    session.release();
    for connection in &mut running {
        assert_eq!(connection.receive().unwrap().status, 200);
    }
    let after = page(&server);
    assert_eq!((rows(&after), ended(&after, "native", "OK")), ((0.0, 0.0), 4.0));
    assert_eq!(after.get("tfweb_in_flight_requests", r#"protocol="native""#), 0.0);
    // One of one row, and one of five in three requests.
    for (name, sum) in [("tfweb_batch_rows", 6.0), ("tfweb_batch_requests", 4.0)] {
        let at = |bound: &str| after.get(&format!("{name}_bucket"), &format!(r#"le="{bound}",{TEST}"#));
        assert_eq!((after.get(&format!("{name}_sum"), TEST), at("1.0"), at("+Inf")), (sum, 1.0, 2.0), "{name}");
        assert_eq!(at("4.0"), if name == "tfweb_batch_rows" { 1.0 } else { 2.0 }, "{name}");
    }
    // Five were run or waited for; all seven had a time.
    let times = |stage: &str| after.find(&format!("tfweb_{stage}_duration_seconds_count{{{TEST}}}"));
    let expect = (Some(6.0), Some(6.0), Some(4.0), Some(4.0), None);
    assert_eq!((times("request"), times("decode"), times("run"), times("encode"), times("fetch")), expect);
    assert!(after.get("tfweb_queue_duration_seconds_sum", TEST) > 0.0);
}

#[test]
fn figures_appear_when_they_have_something_to_say() {
    let server = RunningServer::of(Arc::new(FakeSession::new(Behaviour::HalfPlusTwo)), "");
    let of_signature = || page(&server).0.lines().filter(|line| line.contains(TEST)).map(str::to_owned).collect::<Vec<_>>();
    let idle = of_signature();
    assert!(idle.len() == 2 && idle.iter().all(|line| line.contains("_rows{")), "{idle:#?}");
    assert_eq!(server.call(&x(1.0)).status, 200);
    let used = of_signature();
    // Two gauges, five reasons, one result for each protocol; five histograms of times with 15 buckets each, and two of sizes.
    assert!((100..150).contains(&used.len()), "{} lines: {used:#?}", used.len());
    assert!(!used.iter().any(|line| line.contains("fetch")), "{used:#?}");
    assert_eq!(server.post("/", "{}").0, 400);
    assert!(of_signature().len() == used.len() + 1, "one more result");
}

#[test]
fn failures_are_counted_by_reason() {
    let session = Gated::new(Arc::new(FakeSession::new(Behaviour::HalfPlusTwo)));
    let server = RunningServer::of(session.clone(), "--run_threads 1 --request_timeout_ms 100");
    assert_eq!(server.post("/", r#"{"x": ["a"]}"#).0, 400);
    assert_eq!(server.post("/v1/models/test:predict", r#"{"instances": ["a"]}"#).0, 400);
    session.hold();
    assert_eq!(server.call(&x(1.0)).status, 504);
    session.release();
    let page = page(&server);
    assert_eq!((failed(&page, "bad_request"), failed(&page, "timeout"), failed(&page, "backend")), (2.0, 1.0, 0.0));
    assert_eq!(ended(&page, "native", "INVALID_ARGUMENT"), 1.0);
    assert_eq!(ended(&page, "tf_serving_rest", "INVALID_ARGUMENT"), 1.0);
    assert_eq!(ended(&page, "native", "DEADLINE_EXCEEDED"), 1.0);

    let broken = RunningServer::of(Arc::new(FakeSession::new(Behaviour::AlwaysFails)), "");
    assert_eq!(broken.call(&x(1.0)).status, 500);
    assert_eq!(failed(&self::page(&broken), "backend"), 1.0);
}

#[test]
fn names_that_nobody_knows_are_no_labels() {
    let server = RunningServer::of(Arc::new(FakeSession::new(Behaviour::HalfPlusTwo)), "");
    for target in ["/nosuchname", "/models/nosuchname/predict", "/models/nosuchname/versions/1", "/v1/models/nosuchname:predict"] {
        assert_eq!(server.post(target, r#"{"instances": [1]}"#).0, 404, "{target}");
    }
    let page = page(&server);
    assert!(!page.0.contains("nosuchname"), "{}", page.0);
    let unknown = |protocol: &str| {
        let labels = format!(r#"model="",version="",signature="",protocol="{protocol}",code="NOT_FOUND""#);
        page.get("tfweb_requests_total", &labels)
    };
    assert_eq!((unknown("native"), unknown("tf_serving_rest")), (3.0, 1.0));
}

/// Calls the classifying signature of the model `examples` by this method, with one example.
fn infer(stream: u32, method: &str) -> Vec<u8> {
    let task = InferenceTask {
        model_spec: Some(ModelSpec { name: "examples".into(), ..ModelSpec::default() }),
        method_name: format!("tensorflow/serving/{method}"),
    };
    let examples = input::Kind::ExampleList(ExampleList { examples: vec![Example::default()] });
    let message = MultiInferenceRequest { tasks: vec![task], input: Some(Input { kind: Some(examples) }) }.encode_to_vec();
    let prefix = u32::try_from(message.len()).expect("a short message").to_be_bytes();
    let path = "/tensorflow.serving.PredictionService/MultiInference";
    let body = frame(DATA, END_STREAM, stream, &[&[0], &prefix[..], &message].concat());
    [post_head(stream, path, &[("content-type", "application/grpc")]), body].concat()
}

#[test]
fn calls_of_several_tasks_are_counted_for_their_model() {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    let mut process = Process::serve(&format!("--model tests/models/examples --grpc_port {port}"));
    process.until_says(&format!("gRPC on 127.0.0.1:{port}"));
    let mut frames = Frames::open(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    for (stream, method) in [(1, "classify"), (3, "regress")] {
        frames.send(&infer(stream, method)).expect("an open connection");
        while !frames.receive().expect("an answer").ends_answer() {}
    }
    let labels = r#"model="examples",version="1",signature="serving_default""#;
    let page = Page::of(process.address(), "");
    let ended = |code: &str| {
        let labels = format!(r#"{labels},protocol="tf_serving_grpc",code="{code}""#);
        page.get("tfweb_requests_total", &labels)
    };
    assert_eq!((ended("OK"), ended("INVALID_ARGUMENT")), (1.0, 1.0), "the signature does no regression");
    assert_eq!(page.get("tfweb_encode_duration_seconds_count", labels), 1.0);
}

#[test]
fn each_protocol_is_counted() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("socket");
    let server = RunningServer::start(&format!("{MODELS} --grpc_socket_path {}", socket.display()));
    assert_eq!(server.post("/", r#"{"x": [1]}"#).0, 200);
    assert_eq!(server.post("/v1/models/half_plus_two:predict", r#"{"instances": [1, 2]}"#).0, 200);
    grpc::check(&format!("unix:{}", socket.display()), &["seed"]);
    let page = page(&server);
    let labels = r#"model="half_plus_two",version="1",signature="serving_default""#;
    let ok = |protocol: &str| page.get("tfweb_requests_total", &format!(r#"{labels},protocol="{protocol}",code="OK""#));
    assert_eq!((ok("native"), ok("tf_serving_rest")), (1.0, 1.0));
    assert!(ok("tf_serving_grpc") >= 1.0);
    let times = |stage: &str| page.get(&format!("tfweb_{stage}_duration_seconds_count"), labels);
    let all = ok("native") + ok("tf_serving_rest") + ok("tf_serving_grpc");
    assert_eq!((times("decode"), times("run"), times("encode")), (all, all, all), "{}", page.0);
}

#[test]
fn fetches_are_counted_by_result() {
    let origin = Origin::start();
    let server = RunningServer::start("--model examples/digits --batch_transpose --url_allow 127.0.0.1");
    let post = |url: &str| server.post("/predict", &serde_json::json!({"image": {"url": url}}).to_string()).0;
    assert_eq!(post(&origin.url("/missing")), 400);
    assert_eq!(post("http://10.0.0.1/"), 400);
    // Fetched, and no image.
    assert_eq!(post(&origin.url("/size/1000")), 400);
    let slow = server.send_all([Request::post("/predict", format!(r#"{{"image": {{"url": "{}"}}}}"#, origin.url("/held")))]);
    origin.until_busy(1);
    let held = page(&server);
    assert_eq!((held.get("tfweb_url_fetches_in_flight", ""), held.get("tfweb_url_fetches_waiting", "")), (1.0, 0.0));
    drop(slow);
    let fetched = |result: &str| page(&server).get("tfweb_url_fetch_total", &format!(r#"result="{result}""#));
    until("the fetch that nobody waits for ends", || fetched("cancelled") == 1.0);
    assert_eq!((fetched("failed"), fetched("refused"), fetched("fetched")), (1.0, 1.0, 1.0));
    let after = page(&server);
    assert_eq!((after.get("tfweb_url_fetch_bytes_total", ""), after.get("tfweb_url_fetches_in_flight", "")), (1000.0, 0.0));
    let labels = r#"model="digits",version="1",signature="predict""#;
    assert_eq!(after.get("tfweb_fetch_duration_seconds_count", labels), 3.0);
}

#[test]
fn stats_say_the_same_to_people() {
    let server = RunningServer::of(Arc::new(FakeSession::new(Behaviour::HalfPlusTwo)), "");
    for value in 0..10 {
        assert_eq!(server.call(&x(f64::from(value))).status, 200);
    }
    assert_eq!(server.post("/", "{}").0, 400);
    let stats = server.call(&Request::get("/stats")).json();
    let signature = &stats["signatures"][0];
    assert_eq!(signature["model"], "test");
    assert_eq!(signature["requests"]["native"], serde_json::json!({"OK": 10, "INVALID_ARGUMENT": 1}));
    assert_eq!(signature["failures"]["bad_request"], 1);
    let run = &signature["ms"]["run"];
    let number = |name: &str| run[name].as_f64().unwrap_or_else(|| panic!("{name} in {run}"));
    assert_eq!(run["count"], 10);
    assert!(number("p50") > 0.0 && number("p50") <= number("p90") && number("p90") <= number("p99"), "{run}");
    // Each run had one row: no share of them is half a row.
    let of_rows = |name: &str| signature["batch_rows"][name].to_string();
    assert_eq!([of_rows("p50"), of_rows("p99"), of_rows("mean")], ["1", "1", "1.0"]);
    assert!(stats["process"]["resident_bytes"].as_f64() > Some(1e6), "{stats}");
    assert_eq!(server.call(&Request::new("PUT", "/stats")).status, 405);
    assert_eq!(server.call(&Request::new("POST", "/metrics")).status, 405);
}

#[test]
fn a_process_and_its_models_are_described() {
    let process = Process::serve("--model tests/models/half_plus_two");
    let page = Page::of(process.address(), "*/*");
    let states = |state: &str| page.get("tfweb_model_state", &format!(r#"model="half_plus_two",version="1",state="{state}""#));
    assert_eq!((states("AVAILABLE"), states("LOADING"), states("END")), (1.0, 0.0, 0.0));
    assert_eq!(page.get("tfweb_model_ready", r#"model="half_plus_two""#), 1.0);
    let load = page.get("tfweb_model_load_seconds", r#"model="half_plus_two",version="1""#);
    assert!(load > 0.001 && load < 60.0, "{load}");
    let info = page.0.lines().find(|line| line.starts_with("tfweb_build_info{")).expect("versions");
    assert!(info.contains(env!("CARGO_PKG_VERSION")) && info.contains(r#"tensorflow="2."#), "{info}");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let started = page.get("process_start_time_seconds", "");
    assert!((now - 600.0..=now + 5.0).contains(&started), "{started} at {now}");
    let (resident, kib) = (page.get("process_resident_memory_bytes", ""), process.resident_kib());
    assert!((resident / 1024.0 / kib as f64 - 1.0).abs() < 0.2, "{resident} of {kib} KiB");
    assert!(page.get("process_cpu_seconds_total", "") > 0.0);
    assert!(page.get("process_open_fds", "") > 3.0 && page.get("process_max_fds", "") > page.get("process_open_fds", ""));
}

/// Whether a command is there; where it is not, the test that needs it says so and ends.
fn is_installed(command: &str) -> bool {
    let found = Command::new(command).arg("--version").output().is_ok();
    if !found {
        eprintln!("skipped: no `{command}` here (Debian: apt-get install prometheus)");
    }
    found
}

#[test]
fn promtool_has_no_complaint() {
    if !is_installed("promtool") {
        return;
    }
    let server = RunningServer::start(MODELS);
    assert_eq!(server.post("/", r#"{"x": [1]}"#).0, 200);
    assert_eq!(server.post("/", "{}").0, 400);
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().expect("promtool starts");
    promtool.stdin.take().expect("a pipe").write_all(page(&server).0.as_bytes()).expect("promtool reads");
    let output = promtool.wait_with_output().expect("promtool ends");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

/// A Prometheus that scrapes a server. Dropped, it is killed.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Prometheus {
    fn scraping(target: SocketAddr) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let config = format!(
            "global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\n\
             scrape_configs:\n- job_name: tfweb\n  static_configs: [{{targets: ['{target}']}}]\n"
        );
        std::fs::write(directory.path().join("prometheus.yml"), config).expect("a file");
        let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
        let child = Command::new("prometheus")
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address={address}"))
            .current_dir(directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus starts");
        Self { child, address, _directory: directory }
    }

    /// Asks a path of its API. Gives its answer, or null while it does not answer.
    fn ask(&self, path: &str) -> Value {
        let answer = Connection::open(self.address).and_then(|mut connection| connection.call(&Request::get(path)));
        answer.ok().filter(|answer| answer.status == 200).map_or(Value::Null, |answer| answer.json()["data"].clone())
    }

    /// The value of a query that gives one.
    fn query(&self, query: &str) -> Option<f64> {
        let result = self.ask(&format!("/api/v1/query?query={query}"));
        result["result"][0]["value"][1].as_str()?.parse().ok()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn prometheus_scrapes_it() {
    if !is_installed("prometheus") {
        return;
    }
    let server = RunningServer::of(Arc::new(FakeSession::new(Behaviour::HalfPlusTwo)), "");
    let prometheus = Prometheus::scraping(server.address);
    for value in 0..7 {
        assert_eq!(server.call(&x(f64::from(value))).status, 200);
    }
    until("Prometheus has the requests", || prometheus.query("sum(tfweb_requests_total)") == Some(7.0));
    let target = prometheus.ask("/api/v1/targets")["activeTargets"][0].clone();
    assert_eq!((&target["health"], &target["lastError"]), (&"up".into(), &"".into()), "{target}");
    // Queries of the autoscaling recipes, and some that people make.
    assert_eq!(prometheus.query("sum+by+(model)(tfweb_queued_rows%2Btfweb_running_rows)"), Some(0.0));
    let median = prometheus.query("histogram_quantile(0.5,sum+by+(le)(tfweb_run_duration_seconds_bucket))");
    assert!(median.is_some_and(|seconds| seconds > 0.0 && seconds < 1.0), "{median:?}");
    let kind = |name: &str| prometheus.ask(&format!("/api/v1/metadata?metric={name}"))[name][0]["type"].clone();
    // OpenMetrics names a counter's family without its suffix: Prometheus has asked for that.
    until("Prometheus knows types", || kind("tfweb_requests") == "counter" && kind("tfweb_queued_rows") == "gauge");
    let open = Page::of(server.address, OPEN_METRICS);
    assert!(open.0.ends_with("# EOF\n") && open.0.contains("# UNIT tfweb_run_duration_seconds seconds\n"), "{}", open.0);
}
