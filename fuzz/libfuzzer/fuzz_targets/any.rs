//! Fuzzes the target that the variable FUZZ_TARGET names. One program for all, since each would be linked anew with all of tfweb.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tfweb_fuzz::{Target, TARGETS};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    Target::named(&name).unwrap_or_else(|| panic!("FUZZ_TARGET: expected one of {names:?}, got {name:?}"))
});

fuzz_target!(|input: &[u8]| TARGET.check(input));
