//! Inputs from stores and disks: archives, URIs, the file of models, warm-up requests.

use std::fs;

use bytes::Bytes;
use tfweb::models::{config_file, warmup};
use tfweb_engine::fake::{Behaviour, FakeSession};
use tfweb_store::{fuzzing, ModelUri, Packing};

pub(crate) fn zip(input: &[u8]) {
    unpack(Packing::Zip, input);
}

pub(crate) fn tar(input: &[u8]) {
    unpack(Packing::TarGz, input);
}

fn unpack(packing: Packing, input: &[u8]) {
    let directory = tempfile::tempdir().expect("a directory");
    let (archive, outer) = (directory.path().join("archive"), directory.path().join("outer"));
    let into = outer.join("into");
    fs::write(&archive, input).expect("the archive");
    fs::create_dir_all(&into).expect("a directory");
    let _ = fuzzing::unpack_small(packing, &archive, &into);
    // Nothing is written beside the directory.
    let beside = |path| fs::read_dir(path).expect("a directory").count();
    assert_eq!((beside(directory.path()), beside(&outer)), (2, 1));
}

pub(crate) fn model_uri(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(uri) = ModelUri::parse(text) {
        let _ = uri.to_string();
    }
}

pub(crate) fn model_config_file(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(specs) = config_file::parse_text(text) {
        assert!(specs.iter().all(|spec| !spec.name.is_empty()));
    }
}

pub(crate) fn warmup_records(input: &[u8]) {
    let _ = warmup::replay_records(&FakeSession::new(Behaviour::HalfPlusTwo), Bytes::copy_from_slice(input));
}
