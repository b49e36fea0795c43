//! The rules on small trees that are made up: each finds its offender, and nothing where there is none.

use super::rules::offenders;
use super::tree::Files;

/// A tree that keeps every rule: a crate for each row, and what may be used is used.
const GOOD: [(&str, &str); 18] = [
    (
        "Cargo.toml",
        "[package]\nname = \"tfweb\"\n[dependencies]\ntfweb-store = { path = \"store\" }\n[dev-dependencies]\ntfweb = \"1\"\n",
    ),
    ("limits/Cargo.toml", "[package]\nname = \"tfweb-limits\"\n\n[dependencies]\ntfweb-engine.workspace = true\n"),
    ("limits/src/lib.rs", "use tfweb_engine::Error;"),
    ("src/lib.rs", "mod server; mod status; pub use server::Server;"),
    ("src/main.rs", "fn main() { tfweb::serve() }"),
    ("src/server/mod.rs", "mod parts; pub use parts::Parts; use crate::{config, protocols::native as n, status::{self, Code}};"),
    ("src/server/parts.rs", "pub struct Parts; // use super::Parts;"),
    ("src/config/mod.rs", "use crate::transport::Settings;"),
    ("src/protocols/mod.rs", "mod native; mod tf_serving; fn all() { native::make(); tf_serving::make(); }"),
    ("src/protocols/parts.rs", "macro_rules! m { () => { $crate::status::Code } }"),
    (
        "src/protocols/native.rs",
        "use super::parts::Parts; use crate::models::Model; fn f() { crate::observe::told(\"crate::server::x\") }",
    ),
    ("src/protocols/tf_serving/rest/mod.rs", "use super::find::find;"),
    ("src/protocols/tf_serving/grpc.rs", "use super::super::tf_serving::find;"),
    ("src/protocols/tf_serving/find.rs", "pub(in super::super) fn find() {}"),
    ("src/models.rs", ""),
    ("src/transport/mod.rs", "use crate::observe;"),
    ("src/observe/mod.rs", "#[cfg(test)] mod tests { use super::*; use crate::status::Code; }"),
    ("src/status.rs", "use std::sync::Arc; use tfweb_engine::Code;"),
];

/// Lists the offenders in the good tree with these files instead of its own.
fn found(changed: &[(&str, &str)]) -> Vec<String> {
    let files = GOOD.iter().chain(changed).map(|(file, text)| ((*file).to_owned(), (*text).to_owned()));
    offenders(&files.collect::<Files>()).into_iter().collect()
}

#[track_caller]
fn check(changed: &[(&str, &str)], expected: &[&str]) {
    assert_eq!(found(changed), expected);
}

#[test]
fn tree_in_order_has_no_offenders() {
    check(&[], &[]);
}

#[test]
fn import_that_leads_up_is_found() {
    for text in [
        "use crate::config::Config;",
        "use crate::{status::{self, Code}, config};",
        "pub(crate) use super::config as c;",
        "fn f() { crate::config::f::<u8>() }",
        "fn f() { info!(\"{}\", crate::config::f()) }",
        "mod inner { use super::super::config; }",
        "#[cfg(test)] mod tests { use crate::config; }",
    ] {
        check(&[("src/status.rs", text)], &["up: src/status.rs uses config"]);
    }
    check(&[("src/models/x_tests.rs", "use super::super::config;")], &["up: src/models/x_tests.rs uses config"]);
}

#[test]
fn import_sideways_is_found() {
    check(
        &[("src/transport/tls.rs", "use crate::serving::State;"), ("src/serving.rs", "")],
        &["up: src/transport/tls.rs uses serving"],
    );
    check(&[("src/serving.rs", "use crate::transport;")], &["up: src/serving.rs uses transport"]);
    check(
        &[("src/transport/tls.rs", "use crate::models::Model;"), ("src/models.rs", "")],
        &["up: src/transport/tls.rs uses models"],
    );
}

#[test]
fn import_of_what_stands_above_the_line_is_found() {
    let found = ["above: src/observe/log.rs uses what crate has of src/lib.rs", "up: src/observe/log.rs uses lib"];
    check(&[("src/observe/log.rs", "use crate::Other;")], &found);
    check(&[("src/healthcheck.rs", ""), ("src/status.rs", "use crate::healthcheck;")], &["up: src/status.rs uses healthcheck"]);
}

#[test]
fn entry_outside_the_line_is_found() {
    check(&[("src/keeping/mod.rs", "")], &["entry: src/keeping is not in the line"]);
    let found = ["entry: src/http.rs is not in the line", "up: src/http.rs uses status", "up: src/server/parts.rs uses http"];
    check(&[("src/http.rs", "use crate::status;"), ("src/server/parts.rs", "use crate::http::App;")], &found);
}

#[test]
fn circle_of_files_is_found() {
    let circle = ["circle: actors/src/a.rs uses actors/src/b.rs uses actors/src/a.rs"];
    let tree =
        |a, b| [("actors/Cargo.toml", ""), ("actors/src/lib.rs", "mod a; mod b;"), ("actors/src/a.rs", a), ("actors/src/b.rs", b)];
    check(&tree("use super::b::{C, D as E};", "pub use crate::a::F;"), &circle);
    check(&tree("fn f() { crate::b::g(); }", "fn g(x: impl Fn() -> crate::a::X) {}"), &circle);
    check(&tree("use super::b;", "#[cfg(test)] mod tests { use crate::a; }"), &[]);
    check(&tree("use super::b;", "#[cfg(test)] use crate::a;\nstruct B;"), &[]);
    check(&tree("use super::b;", "use super::b::Own;"), &[]);
    check(&tree("/// See [`crate::b`].\nstruct A;", "use super::a;"), &[]);
}

#[test]
fn circle_around_other_files_is_found() {
    let around = [
        ("src/models/mod.rs", "mod a; mod b; mod c; pub use c::C;"),
        ("src/models/a.rs", "use super::b;"),
        ("src/models/b.rs", "use super::C;"),
        ("src/models/c.rs", "use super::a;"),
    ];
    let found = [
        "above: src/models/b.rs uses what models has of src/models/c.rs",
        "circle: src/models/a.rs uses src/models/b.rs uses src/models/c.rs uses src/models/a.rs",
    ];
    check(&around, &found);
}

#[test]
fn use_of_what_a_mod_rs_has_is_found() {
    let found = [
        "above: src/server/parts.rs uses what server has of src/server/mod.rs",
        "circle: src/server/mod.rs uses src/server/parts.rs uses src/server/mod.rs",
    ];
    check(&[("src/server/parts.rs", "use super::Signals;")], &found);
    let found = ["above: engine/src/graph/proto.rs uses what crate has of engine/src/dtype.rs"];
    let tree = |top| {
        [
            ("engine/Cargo.toml", ""),
            ("engine/src/lib.rs", top),
            ("engine/src/dtype.rs", ""),
            ("engine/src/graph/mod.rs", ""),
            ("engine/src/graph/proto.rs", "use crate::DType;"),
        ]
    };
    check(&tree("mod dtype; pub use dtype::{Scalar, DType};"), &found);
    check(&tree("mod dtype; mod kinds { pub use super::dtype::DType; } pub use self::dtype::DType;"), &found);
    check(&tree("mod dtype; pub use crate::dtype::Kind as DType;"), &found);
    let mut by_macro = tree("mod dtype; pub use dtype::DType;");
    by_macro[4].1 = "macro_rules! m { () => { $crate::DType } }";
    check(&by_macro, &[]);
}

#[test]
fn protocol_that_uses_another_is_found() {
    check(
        &[("src/protocols/native.rs", "use super::tf_serving::find::find;")],
        &["protocol: src/protocols/native.rs uses protocols::tf_serving::find"],
    );
    check(
        &[("src/protocols/tf_serving/rest/mod.rs", "use super::grpc::Service;")],
        &["protocol: src/protocols/tf_serving/rest/mod.rs uses protocols::tf_serving::grpc"],
    );
}

#[test]
fn large_file_and_full_folder_are_found() {
    check(&[("tests/suite/x.rs", &"\n".repeat(400))], &[]);
    check(&[("tests/suite/x.rs", &"\n".repeat(401))], &["size: tests/suite/x.rs has more than 400 lines"]);
    let names: Vec<_> = (0..6).map(|number| format!("src/x{number}.rs")).collect();
    let entries: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
    assert_eq!(found(&entries).last().unwrap(), "size: src has more than 12 entries");
}

#[test]
fn crate_that_knows_its_neighbour_is_found() {
    let manifest = |name, used| format!("[package]\nname = \"{name}\"\n\n[dependencies]\n{used}.workspace = true\nbytes = \"1\"\n");
    for (folder, name, used) in [
        ("codec", "tfweb-codec", "tfweb-store"),
        ("engine", "tfweb-engine", "tfweb-limits"),
        ("proto", "tfweb-proto", "tfweb-engine"),
        ("store", "tfweb-store", "tfweb"),
        ("new", "tfweb-new", "tfweb-engine"),
    ] {
        let (path, source) = (format!("{folder}/Cargo.toml"), format!("{folder}/src/lib.rs"));
        check(&[(&path, &manifest(name, used)), (&source, "")], &[&format!("crates: {path} depends on {used}")]);
    }
    check(&[("store/Cargo.toml", &manifest("tfweb-store", "tfweb-limits")), ("store/src/lib.rs", "")], &[]);
    check(&[("limits/src/lib.rs", "use tfweb_engine::{Error, Tensor};")], &["crates: limits/src/lib.rs uses tfweb_engine::Tensor"]);
}
