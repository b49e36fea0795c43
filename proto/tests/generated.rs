//! Holds that `src/generated` is what `*.proto` says. `make proto` runs this test with `TFWEB_PROTO_WRITE=1`, which writes it.

use std::collections::BTreeMap;
use std::path::Path;
use std::{env, fs};

/// File names and their contents.
type Files = BTreeMap<String, Vec<u8>>;

#[test]
fn generated_code_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let directory = root.join("src/generated");
    let made = generate(root);
    if env::var_os("TFWEB_PROTO_WRITE").is_some() {
        fs::remove_dir_all(&directory).and_then(|()| fs::create_dir(&directory)).unwrap();
        for (name, content) in &made {
            fs::write(directory.join(name), content).unwrap();
        }
    }
    let committed = read(&directory);
    assert_eq!(names(&committed), names(&made), "files of src/generated; run `make proto`");
    for (name, content) in &made {
        assert!(&committed[name] == content, "src/generated/{name} differs from what proto/*.proto gives; run `make proto`");
    }
}

/// Compiles every `.proto` of the crate's directory, without protoc.
fn generate(root: &Path) -> Files {
    let mut protos: Vec<String> = names(&read(root)).iter().filter(|name| name.ends_with(".proto")).cloned().collect();
    protos.sort();
    let descriptors = protox::compile(&protos, [root]).unwrap();
    let out = tempfile::tempdir().unwrap();
    tonic_prost_build::configure()
        .out_dir(out.path())
        .build_client(false)
        .build_transport(false)
        // Tensors are shown to TensorFlow where they lie in the message.
        .bytes(".")
        // The order of a map's entries is the same every time.
        .btree_map(".")
        .include_file("wire.rs")
        .compile_fds(descriptors.clone())
        .unwrap();
    let mut made = read(out.path());
    made.insert("descriptors.bin".into(), prost::Message::encode_to_vec(&descriptors));
    made
}

fn read(directory: &Path) -> Files {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap).filter(|entry| entry.file_type().unwrap().is_file());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

fn names(files: &Files) -> Vec<String> {
    files.keys().cloned().collect()
}
