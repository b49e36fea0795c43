//! Stores that list without end.

use std::time::Duration;

use tfweb_engine::Code;

use crate::hostile_store::{HostileStore, Lists};
use crate::process::resident_kib;
use crate::store::{run, Local};
use crate::store_servers::{files, model};
use crate::support::is_alone;

const MODEL: &str = "s3://bucket/m";

/// A store that has half_plus_two.
fn store() -> HostileStore {
    let store = HostileStore::start();
    for (path, content) in files(&model()) {
        store.put(&format!("m/{path}"), content);
    }
    store
}

#[test]
fn a_listing_without_end_ends() {
    if !is_alone("damage::a_listing_without_end_ends") {
        return;
    }
    let store = store();
    let resident = || resident_kib(std::process::id());
    for (lists, expected) in [
        (Lists::EndlessPage, "cannot list: Unexpected: an answer of the store has more than 16777216 bytes"),
        (Lists::SamePage, "more than 100000 files; is it the place of one model?"),
        (Lists::EmptyPages, "cannot list: Unexpected: the answers to one listing have more than 134217728 bytes"),
    ] {
        store.lists(lists);
        let (before, local) = (resident(), Local::new());
        let error = run(local.open(MODEL, &store.env()).list()).unwrap_err();
        assert!(error.message.contains(expected), "{error}");
        assert!(matches!(error.code, Code::Unavailable | Code::InvalidArgument), "{error:?}");
        let grown = resident().saturating_sub(before);
        assert!(grown < 256 << 10, "{expected}: {grown} KiB more");
    }
}

#[test]
fn a_listing_that_takes_too_long_ends() {
    let (store, local) = (store(), Local::new());
    store.lists(Lists::Never);
    let origin = local.open(MODEL, &store.env());
    let error = run(async {
        let mut listing = std::pin::pin!(origin.list());
        while store.reads().is_empty() {
            let still = tokio::time::timeout(Duration::from_millis(1), &mut listing).await;
            assert!(still.is_err(), "it waits");
        }
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(301)).await;
        listing.await.unwrap_err()
    });
    assert!(error.code == Code::Unavailable && error.message.ends_with("cannot list: it took more than 300 s"), "{error}");
}
