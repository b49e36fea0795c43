//! Tests of values that are missing, empty, or not what a flag expects: none of them starts a server that does something else.

use std::os::unix::ffi::OsStringExt;

use super::command_line::SWITCHES;
use super::*;

use crate::transport::http::Cors;
use structopt::StructOpt;

/// Reads the words of a command line, with `·` for a space.
fn config(line: &str) -> Result<Config, Usage> {
    let args = std::iter::once("tfweb").chain(line.split(' ')).map(|word| word.replace('·', " "));
    Flags::parse(args).and_then(Config::new)
}

#[track_caller]
fn refused(line: &str, expect: &str) {
    let usage = config(&format!("--model m {line}")).expect_err(line);
    let is_line = !usage.asked_for && usage.text.lines().count() == 1;
    assert!(is_line && usage.text.contains(expect), "{line}: expected {expect:?}, got {:?}", usage.text);
}

/// clap's own help, which names each flag and its value: `--port <PORT>`.
fn lines_of_clap() -> Vec<String> {
    let mut text = Vec::new();
    Flags::clap().write_long_help(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    text.lines().map(str::trim).filter(|line| line.starts_with("--")).map(str::to_owned).collect()
}

#[test]
fn no_flag_starts_without_its_value() {
    let lines = lines_of_clap();
    assert!(lines.len() > 40, "{lines:?}");
    for line in lines.iter().filter(|line| !line.ends_with("<SWITCH>")) {
        let flag = line.split(' ').next().unwrap();
        let expect = format!("{flag}: expected a value, got nothing");
        for given in [flag.to_owned(), format!("{flag} --no_url"), format!("{flag}="), format!("{flag}=··"), format!("{flag} ·")]
        {
            refused(&given, &expect);
        }
    }
}

#[test]
fn switches_take_true_and_false() {
    let listed: Vec<String> = SWITCHES.iter().map(|name| format!("--{name} <SWITCH>")).collect();
    let known: Vec<String> = lines_of_clap().into_iter().filter(|line| line.ends_with("<SWITCH>")).collect();
    let sorted = |mut list: Vec<String>| {
        list.sort();
        list
    };
    assert_eq!(sorted(listed), sorted(known));
    for (line, expect) in [
        ("", false),
        ("--batch_transpose", true),
        ("--batch-transpose", true),
        ("--batch_transpose --port 0", true),
        ("--batch_transpose=true", true),
        ("--batch_transpose=YES", true),
        ("--batch_transpose=false", false),
        ("--batch_transpose false", false),
        ("--batch_transpose=0", false),
    ] {
        let config = config(format!("--model m {line}").trim()).unwrap_or_else(|usage| panic!("{line}: {}", usage.text));
        assert_eq!(config.protocols.batch_transpose, expect, "{line}");
    }
    refused("--batch_transpose=perhaps", "--batch_transpose: expected true or false, got `perhaps`");
    refused("--batch_transpose m", "--batch_transpose: expected true or false, got `m`");
    refused("--batch_transpose=", "--batch_transpose: expected a value, got nothing");
    refused("--no_url --no_url=false", "'--no_url <SWITCH>' was provided more than once");
    assert!(config("--model m --no_url").unwrap().fetch.is_none() && config("--model m --no_url=off").unwrap().fetch.is_some());
}

#[test]
fn origins_are_named_or_there_is_no_cors() {
    let cors = |line: &str| config(format!("--model m {line}").trim()).unwrap().cors;
    assert_eq!((cors(""), cors("--no_cors"), cors("--cors_origin *")), (Cors::Nobody, Cors::Nobody, Cors::Everybody));
    let named = cors("--cors_origin https://a.example --cors-origin=http://b.example:81 --no_cors=false");
    assert_eq!(named, Cors::new(&["https://a.example".into(), "http://b.example:81".into()]).unwrap());
    refused("--no_cors --cors_origin *", "--no_cors: expected no --cors_origin with it");
    refused("--no_cors=false", "--no_cors: expected --cors_origin with false");
    refused("--cors_origin null", "--cors_origin: expected an origin such as");
    refused("--cors_origin https://a.example/", "without a path");
}

#[test]
fn values_that_mean_nothing_are_refused() {
    for (line, expect) in [
        ("--api_token a·b", "--api_token: expected a token of printable ASCII"),
        ("--api_token ,,", "--api_token: expected values separated by commas, got an empty one"),
        ("--url_allow a,*", "--url_allow: expected HOST, *.HOST, HOST:PORT or ADDRESS/PREFIX, got `*`"),
        ("--cors_origin ,,", "--cors_origin: expected values separated by commas"),
        ("--api_token_file /no/such", "--api_token_file: `/no/such`"),
        ("--admin_token_file /no/such", "--admin_token_file: `/no/such`"),
        ("--url_allow *", "--url_allow: expected HOST"),
        ("--url_domains ,", "--url_domains: expected values separated by commas, got an empty one"),
        ("--url_domains a,,b", "--url_domains: expected values"),
        ("--url_domains *", "--url_domains: expected a host name, got `*`"),
        ("--tags ,", "--tags: expected values"),
        ("--version_labels ,", "--version_labels: expected LABEL=VERSION"),
        ("--version_labels a=1,a=2", "--version_labels: expected each label once"),
        ("--host 127.0.0.1:80", "--host: expected the name or the address of a host, without a port"),
        ("--host *", "--host: expected"),
        ("--host a·b", "--host: expected"),
        ("--admin_port 0 --admin_host http://x", "--admin_host: expected"),
        ("--poll_seconds -1", "--poll_seconds: expected 0, or"),
        ("--poll_seconds nan", "--poll_seconds: expected 0, or"),
        ("--poll_seconds inf", "--poll_seconds: expected 0, or"),
        ("--batch_size -1", "--batch_size: expected a whole number, got `-1`"),
        ("--batch_size 1e3", "--batch_size: expected a whole number, got `1e3`"),
        ("--batch_size ٣", "--batch_size: expected a whole number, got `٣`"),
        ("--batch_size 99999999999999999999", "--batch_size: expected a whole number"),
        ("--batch_size 1 --batch_size 2", "more than once"),
        ("--batch_size 1,2", "--batch_size: expected one number for all signatures, got another"),
        ("--batch_size m/s=1,m/s=2", "--batch_size: expected one number for m/s, got another"),
        ("--batch_size s=1", "--batch_size: expected ROWS or MODEL/SIGNATURE=ROWS, got `s=1`"),
        ("--batch_size /s=1", "--batch_size: expected ROWS or MODEL/SIGNATURE=ROWS, got `/s=1`"),
        ("--batch_size m/s=0", "--batch_size: expected at least 1, got 0"),
        ("--batch_size m/s=x", "--batch_size: expected a whole number, got `x`"),
        ("--batch_size 32,", "--batch_size: expected a whole number, got ``"),
        ("--batch_siz", "'--batch_siz'"),
        ("-- --no_url", "--no_url"),
    ] {
        refused(line, expect);
    }
}

#[test]
fn values_are_taken_as_typed() {
    let token = |line: &str| Flags::parse(["tfweb", line].map(|arg| arg.replace('·', " "))).unwrap().access.api_token;
    assert_eq!(token("--api_token==a="), ["=a="], "clap would take the first `=` away");
    assert_eq!(token("--api_token=·a\n"), ["a"], "white space around a value comes from its file");
    let host = |line: &str| config(&format!("--model m --host {line}")).unwrap().host;
    assert_eq!((host("[::1]"), host("::"), host("·a_b.example·")), ("::1".into(), "::".into(), "a_b.example".into()));
    let spaced = config("--model m --tags serve,·gpu --batch_size ·4·").unwrap();
    assert_eq!((spaced.tags, spaced.batch_rows_max), (vec!["serve".to_owned(), "gpu".into()], 4));
}

#[test]
fn a_signature_may_have_a_batch_size_of_its_own() {
    let rows = |line: &str| {
        let config = config(&format!("--model m --batch_size {line}")).unwrap();
        let chosen: Vec<(String, usize)> = config.chosen_rows.iter().map(|(name, rows)| (name.clone(), *rows)).collect();
        (config.batch_rows_max, chosen)
    };
    assert_eq!(rows("4,m/sort=1"), (4, vec![("m/sort".into(), 1)]));
    assert_eq!(rows("m/a/b=64,·m/c=d=·2·"), (32, vec![("m/a/b".into(), 64), ("m/c=d".into(), 2)]));
}

#[test]
fn arguments_that_are_not_text_are_refused() {
    let args = [b"tfweb".to_vec(), b"--api_token".to_vec(), b"secret\xff".to_vec()].map(OsStringExt::from_vec);
    let usage = Flags::parse(args.map(|arg: std::ffi::OsString| arg)).unwrap_err();
    assert!(usage.text.contains("argument 2: expected UTF-8") && !usage.text.contains("secret"), "{}", usage.text);
}
