//! Tests of what flags mean, of refused flags and of `--help`.

use std::collections::BTreeSet;

use std::time::Duration;

use structopt::StructOpt;

use super::*;
use crate::models::config_file::ModelConfigFile;
use crate::models::VersionPolicy;
use crate::transport::http::Cors;

fn config(line: &str) -> Result<Config, Usage> {
    let args = std::iter::once("tfweb").chain(line.split_whitespace()).map(str::to_owned);
    Flags::parse(args).and_then(Config::new)
}

#[track_caller]
fn refused(line: &str, expect: &str) {
    let usage = config(line).unwrap_err();
    assert!(!usage.asked_for && usage.text.contains(expect) && usage.text.lines().count() == 1, "{line}: {}", usage.text);
}

#[test]
fn defaults_are_the_documented_ones() {
    let config = config("--model /m/digits").unwrap();
    assert_eq!(
        (config.batch_rows_max, config.body_bytes_max, config.port, config.queue_requests_max),
        (32, 67_108_864, 8080, 1024)
    );
    assert_eq!((config.host.as_str(), config.request_timeout, config.cors), ("0.0.0.0", Duration::from_secs(30), Cors::Nobody));
    assert_eq!(config.tags, ["serve"]);
    let grpc = config.grpc.unwrap();
    assert_eq!((grpc.port, grpc.is_default_port, grpc.message_bytes_max), (50051, true, 64 << 20));
    assert!((1..=4).contains(&config.run_threads) && !config.protocols.batch_transpose);
}

#[test]
fn hyphens_are_underscores() {
    let config = config("--model a-b --batch-size=4 --no-cors --tags serve,gpu").unwrap();
    assert_eq!((config.batch_rows_max, config.cors, config.tags.len()), (4, Cors::Nobody, 2));
    assert_eq!(config.models[0].name, "a-b", "values keep their hyphens");
}

#[test]
fn wrong_flags_are_one_clear_line() {
    refused("", "--model: expected a SavedModel, got nothing");
    refused("--model m --batch_size 0", "--batch_size: expected at least 1, got 0");
    refused("--model m --queue_size 0", "--queue_size: expected at least 1");
    refused("--model m --request_timeout_ms 18446744073709551615", "--request_timeout_ms: expected at most 86400000");
    refused("--model m --run_threads 1000000", "--run_threads: expected at most 256");
    refused("--model m --intra_op_threads 257", "--intra_op_threads: expected at most 256, got 257");
    refused("--model m --intra_op_threads 0", "--intra_op_threads: expected at least 1, got 0");
    refused("--model m --batch_size many", "many");
    refused("--model m --colour", "--colour");
    refused("--model m --port 70000", "70000");
    refused("--model m --inter_op both", "both");
    refused("--model m --static_path /no/such/place", "is not a directory");
    refused("--model a/m --model b/m", "two models are called `m`: `a/m` and `b/m`; name them");
}

#[test]
fn help_names_every_flag() {
    let usage = config("--help").unwrap_err();
    let flags = "model tags batch_size static_path batch_transpose no_cors cors_origin request_size keep_alive_seconds \
                 grpc_port port host queue_size \
                 request_timeout_ms tensorflow_lib run_threads inter_op grpc_socket_path grpc_message_size grpc_tensor_content \
                 drain_delay_ms drain_timeout_ms api_token api_token_file admin_token admin_token_file tls_cert tls_key \
                 tls_client_ca admin_port admin_host healthcheck model_name";
    assert!(usage.asked_for);
    assert!(flags.split_whitespace().all(|flag| usage.text.contains(&format!("--{flag}"))), "{}", usage.text);
}

/// The flags that a help text lists, in its order: `--help` for the line `    -h, --help`. Lines of explanation are indented further.
fn flags_in(help: &str) -> Vec<&str> {
    let lines = help.lines().filter(|line| ["    -", "        -"].iter().any(|indented| line.starts_with(indented)));
    lines.filter_map(|line| line.split_whitespace().find(|word| word.starts_with("--"))).collect()
}

#[test]
fn help_lists_each_flag_under_one_heading() {
    let help = config("--help").unwrap_err().text;
    let listed = flags_in(&help);
    // clap's own text has no headings, and all flags that there are.
    let mut ungrouped = Vec::new();
    Flags::clap().write_long_help(&mut ungrouped).unwrap();
    let ungrouped = String::from_utf8(ungrouped).unwrap();
    let known: BTreeSet<&str> = flags_in(&ungrouped).into_iter().chain(["--help", "--version"]).collect();
    assert_eq!(listed.len(), known.len(), "each once: {listed:?}");
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), known);
    let headings: Vec<&str> = help.lines().filter(|line| line.ends_with(':') && !line.starts_with(' ')).collect();
    assert_eq!(headings.len(), 9, "{headings:?}");
}

#[test]
fn each_flag_has_its_variable() {
    let help = config("--help").unwrap_err().text;
    let unwrapped = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for flag in flags_in(&help).into_iter().filter(|flag| !["--help", "--version", "--healthcheck"].contains(flag)) {
        let variable = format!("TFWEB_{}", flag.trim_start_matches('-').to_uppercase());
        let is_read = ["=", "]"].iter().any(|end| unwrapped.contains(&format!("[env: {variable}{end}")));
        assert!(is_read, "{flag}: expected {variable}");
    }
}

#[test]
fn models_are_named_by_their_place() {
    let name = |model: &str| config(&format!("--model {model}")).unwrap().models[0].name.clone();
    for (model, expect) in [
        ("/models/half_plus_two/00000123", "half_plus_two"),
        ("/models/digits/", "digits"),
        ("cats=/models/digits", "cats"),
        ("/odd=path/m", "m"),
        ("file:///m/digits", "digits"),
        ("s3://bucket/models/digits/7", "digits"),
    ] {
        assert_eq!(name(model), expect, "{model}");
    }
}

#[test]
fn models_may_be_listed_or_come_later() {
    let listed = config("--model_config_file models.txt --model_config_poll_seconds 0.5").unwrap();
    let expect = ModelConfigFile { path: "models.txt".into(), poll: Some(Duration::from_millis(500)) };
    assert_eq!((listed.model_config, listed.models.len()), (Some(expect), 0));
    assert!(config("--admin_token secret").unwrap().models.is_empty());
    let all = config("--model m --version_policy latest:2 --version_labels a=1 --poll_seconds 0").unwrap();
    assert_eq!((&all.models[0].policy, all.models[0].poll), (&VersionPolicy::Latest(2), Some(Duration::ZERO)));
    refused("--model m --poll_seconds=-1", "--poll_seconds: expected 0, or 0.05 to 86400 seconds, got `-1`");
    refused("--model m --poll_seconds soon", "--poll_seconds: expected");
    refused("--model m --version_policy newest", "--version_policy: expected latest");
    refused("--model m --version_labels a", "--version_labels: expected LABEL=VERSION, got `a`");
    refused("--model ftp://x/m", "--model: `ftp://x/m`: expected");
}

#[test]
fn grpc_can_be_switched_off() {
    assert_eq!(config("--model m --grpc_port 0").unwrap().grpc, None);
    let typed = config("--model m --grpc_port 0 --grpc_socket_path /run/tfweb --grpc_tensor_content").unwrap();
    let socket = typed.grpc.unwrap();
    assert_eq!((socket.port, socket.socket_path, typed.protocols.grpc_tensor_content), (0, Some("/run/tfweb".into()), true));
    assert!(!config("--model m --grpc_port 9000").unwrap().grpc.unwrap().is_default_port);
    refused("--model m --grpc_message_size 0", "--grpc_message_size: expected at least 1");
    refused("--model m --grpc_message_size 3000000000", "--grpc_message_size: expected at most 2147483647");
}

#[test]
fn a_stop_has_a_delay_and_a_limit() {
    let drain = |flags: &str| {
        let drain = config(&format!("--model m {flags}")).unwrap().drain;
        (drain.delay.as_millis(), drain.timeout.as_millis())
    };
    assert_eq!(drain(""), (250, 35_250), "a moment even with 0, then the time of a request and a margin");
    assert_eq!(drain("--drain_delay_ms 5000 --request_timeout_ms 1000"), (5000, 11_000));
    assert_eq!(drain("--drain_timeout_ms 900"), (250, 900));
    refused("--model m --drain_delay_ms 5000 --drain_timeout_ms 5000", "--drain_timeout_ms: expected more than the drain delay");
    refused("--model m --drain_delay_ms 172800001", "--drain_delay_ms: expected at most 172800000");
}

#[test]
fn one_model_can_be_named_apart() {
    let name = |flags: &str| config(flags).unwrap().models[0].name.clone();
    assert_eq!(name("--model /mnt/models --model_name cats"), "cats");
    assert_eq!(name("--model cats=/mnt/models --model_name cats"), "cats");
    refused("--model dogs=/mnt/models --model_name cats", "--model_name: the model is called `dogs` already");
    refused("--model a/m --model b/n --model_name cats", "--model_name: expected one --model, got 2");
    refused("--model_config_file f --model_name cats", "--model_name: expected one --model, got 0");
    refused("--model m --model_name a/b", "--model_name: expected a name of letters");
}

#[test]
fn tls_has_a_certificate_and_a_key() {
    refused("--model m --tls_cert c", "--tls_key: expected a file");
    refused("--model m --tls_key k", "--tls_cert: expected a file");
    refused("--model m --tls_client_ca a", "--tls_client_ca: expected --tls_cert and --tls_key");
    refused("--model m --tls_cert no/such/c --tls_key k", "TLS: `no/such/c`: No such file");
    refused("--model m --tls_cert Cargo.toml --tls_key Cargo.toml", "TLS: `Cargo.toml`: expected certificates in PEM, got none");
}

#[test]
fn health_is_asked_where_the_server_listens() {
    let probe = |line: &str| {
        let args = std::iter::once("tfweb").chain(line.split_whitespace()).map(str::to_owned);
        Flags::parse(args).and_then(|flags| flags.healthcheck_url()).map_err(|usage| usage.text)
    };
    for (line, expect) in [
        ("", "http://127.0.0.1:8080/readyz"),
        ("--host :: --port 9000", "http://[::1]:9000/readyz"),
        ("--host 10.0.0.7 --tls_cert c --tls_key k", "https://10.0.0.7:8080/readyz"),
        ("--host fe80::1 --admin_port 9001 --tls_cert c", "http://[fe80::1]:9001/readyz"),
        ("--admin_port 9001 --admin_host localhost --tls_client_ca a", "http://localhost:9001/readyz"),
    ] {
        assert_eq!(probe(line).as_deref(), Ok(expect), "{line}");
    }
    assert!(probe("--port 0").unwrap_err().contains("expected the port"));
    assert!(probe("--tls_cert c --tls_key k --tls_client_ca a").unwrap_err().contains("expected --admin_port"));
}
