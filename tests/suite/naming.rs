//! Which model and which version answer where a request names none, or names a label.

use std::collections::BTreeMap;

use serde_json::{json, Value};

use crate::changes::{as_admin, delete, serve, served, until_served, Place};
use crate::client::Request;
use crate::keeping::{Shelf, POLL, THREE, TWO};
use crate::process::Process;
use crate::support::until;

#[test]
fn a_label_moves_only_to_a_version_that_is_served() {
    let (_, server) = serve("");
    let place = Place::new(1, "good");
    let post = |labels: Value| {
        let body = json!({ "uri": place.0.path(), "version_labels": labels }).to_string();
        server.call(&as_admin(Request::post("/models/m", body)))
    };
    let version_at = |label: &str| server.call(&Request::get(&format!("/models/m/labels/{label}"))).status;
    assert_eq!(post(json!({"new": 2})).status, 400, "nor is a model added with such a label");
    assert_eq!(served(&server), BTreeMap::new());
    assert_eq!(post(json!({"stable": 1})).status, 200);
    let refused = post(json!({"stable": 2, "other": 1}));
    assert_eq!((refused.status, refused.json()["code"].as_str()), (400, Some("FAILED_PRECONDITION")), "{}", refused.text());
    assert!(refused.text().contains("version 2 of model m, which is not currently available"), "{}", refused.text());
    assert_eq!((version_at("stable"), version_at("other")), (200, 404), "the old labels stay");
    place.put(2, "good");
    assert_eq!(post(json!({"stable": 2})).status, 200);
    until_served(&server, &[("m", Some(2))]);
}

#[test]
fn the_root_keeps_its_model() {
    let (_, server) = serve("");
    let (a, b) = (Place::new(1, "good"), Place::new(2, "good"));
    let statuses = [&a.post("a"), &b.post("b")].map(|request| server.call(request).status);
    assert_eq!(statuses, [200, 200]);
    let root = || server.call(&Request::post("/", r#"{"x": [1]}"#));
    assert_eq!(root().status, 200);
    assert_eq!(server.call(&delete("a")).status, 204);
    assert!(root().status == 404 && root().text().contains(r#"no model \"a\", which answers where no model"#), "{}", root().text());
    assert_eq!(server.call(&b.post("a")).status, 200);
    assert_eq!(root().status, 200);
}

#[test]
fn a_label_of_a_version_that_is_not_there_yet_is_warned_of_and_counts_when_it_comes() {
    let shelf = Shelf::new();
    shelf.put(1, TWO);
    let mut process = Process::serve(&shelf.flags(&format!("{POLL} --version_policy all --version_labels stable=1,new=2")));
    process.until_says("WARN model \"m\": label \"new\" names version 2, which is not served");
    let status =
        |label: &str| process.connect().call(&Request::get(&format!("/models/m/labels/{label}"))).expect("an answer").status;
    assert_eq!((status("stable"), status("new")), (200, 404));
    shelf.put(2, THREE);
    until("the label leads to the version", || status("new") == 200);
    process.until_says("label \"new\" now leads to version 2");
    let log = process.stderr();
    assert_eq!(log.iter().filter(|line| line.contains("label \"")).count(), 2, "each is said once: {log:#?}");
}
