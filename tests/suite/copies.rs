//! Versions that are copied while the server looks at them, in the orders of the tools that copy. Real TensorFlow.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::keeping::{answer, models, until_answers, Shelf, GIVES_THREE, GIVES_TWO, POLL, THREE, TWO};
use crate::process::Process;
use crate::store::asks;
use crate::support::{until, RunningServer};

const DATA: &str = "variables/variables.data-00000-of-00001";
const INDEX: &str = "variables/variables.index";
/// TensorFlow would load the graph without its variables.
const RESTORES: &str = "its graph restores variables, and variables/variables.index is missing";

/// A step of a copy: what it does, and what is then said of the version. After the last step it is served.
type Step = (fn(&Path), &'static str);

fn copy(version: &Path, file: &str) {
    copy_as(version, file, file);
}

fn copy_as(version: &Path, file: &str, name: &str) {
    let to = version.join(name);
    fs::create_dir_all(to.parent().expect("a directory")).expect("a directory");
    fs::copy(Path::new(THREE).join(file), to).expect("a file");
}

/// Copies half_plus_three beside half_plus_two in these steps.
#[track_caller]
fn check(steps: &[Step]) {
    let shelf = Shelf::new();
    shelf.put(1, TWO);
    let server = RunningServer::kept(&shelf.flags(POLL));
    let said_of_two = || {
        let versions = models(&mut server.connect())[0]["versions"].clone();
        let two = versions.as_array().into_iter().flatten().find(|version| version["version"] == 2).cloned();
        two.as_ref().and_then(|two| two["error"].as_str()).unwrap_or_default().to_owned()
    };
    for (number, (step, expect)) in steps.iter().enumerate() {
        step(&shelf.version(2));
        if number + 1 < steps.len() {
            until(&format!("step {number} leaves `{expect}`, it says {:?}", said_of_two()), || said_of_two().contains(expect));
            assert_eq!(answer(&server, "/"), (200, GIVES_TWO.into()), "step {number}");
        }
    }
    until_answers(&server, "/", GIVES_THREE);
    let two: Value = models(&mut server.connect())[0]["versions"][1].clone();
    assert_eq!((&two["state"], &two["error"]), (&"AVAILABLE".into(), &Value::Null));
}

#[test]
fn a_copy_in_the_order_of_names_takes_over_when_it_is_whole() {
    check(&[
        (|version| copy(version, "fingerprint.pb"), "saved_model.pb is missing"),
        (|version| copy(version, "saved_model.pb"), RESTORES),
        (|version| copy(version, DATA), "not complete: variables/variables.index is missing"),
        (|version| copy(version, INDEX), ""),
    ]);
}

#[test]
fn a_copy_in_the_order_of_a_directory_takes_over_when_it_is_whole() {
    check(&[
        (|version| fs::create_dir_all(version.join("variables")).expect("a directory"), ""),
        (|version| copy(version, "saved_model.pb"), RESTORES),
        (|version| copy(version, INDEX), "not complete: variables/variables.data-… is missing"),
        (|version| copy(version, DATA), ""),
    ]);
}

#[test]
fn a_copy_under_names_for_the_time_being_takes_over_when_it_is_whole() {
    check(&[
        (|version| copy(version, "saved_model.pb"), RESTORES),
        (
            |version| copy_as(version, INDEX, "variables/.variables.index.x7Qz"),
            "not complete: variables/variables.index is missing",
        ),
        (|version| copy(version, INDEX), "not complete: variables/variables.data-… is missing"),
        (|version| copy_as(version, DATA, "variables/variables.data-00000-of-00001.4f2A"), "variables/variables.data-… is missing"),
        (|version| copy(version, DATA), ""),
    ]);
}

#[test]
fn a_shard_that_is_cut_off_does_not_take_over() {
    let cut_off = |version: &Path| {
        copy(version, "saved_model.pb");
        copy(version, INDEX);
        let bytes = fs::read(Path::new(THREE).join(DATA)).expect("a file");
        fs::write(version.join(DATA), &bytes[..1]).expect("a file");
    };
    check(&[(cut_off, "cannot be loaded"), (|version| copy(version, DATA), "")]);
}

#[test]
fn a_version_that_lacks_files_is_told_once_and_has_not_ended() {
    let shelf = Shelf::new();
    shelf.put(1, TWO);
    let mut process = Process::serve(&shelf.flags(POLL));
    let two = || models(&mut process.connect())[0]["versions"][1].clone();
    let says = |text: &str| two()["error"].as_str().is_some_and(|error| error.contains(text));
    for (file, lacks) in [("saved_model.pb", RESTORES), (DATA, "not complete: variables/variables.index is missing")] {
        copy(&shelf.version(2), file);
        until(&format!("version 2 lacks files after {file}: {}", two()), || says(lacks));
        assert_eq!(two()["state"], "START");
    }
    process.until_says("version 2 waits for the rest of its files: ");
    copy(&shelf.version(2), INDEX);
    until("version 2 takes over", || asks(&process, "m") == GIVES_THREE);
    let log = process.stderr();
    let told = |text: &str| log.iter().filter(|line| line.contains(text)).count();
    assert_eq!((told("waits for the rest"), told("WARN")), (1, 0), "{log:#?}");
}
