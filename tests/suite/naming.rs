//! Which model and which version answer where a request names none, or names a label.

use std::collections::BTreeMap;

use serde_json::{json, Value};

use crate::changes::{as_admin, delete, serve, served, until_served, Place};
use crate::client::Request;

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
