//! Compiles `proto/` without protoc: Rust for what is spoken on the wire, descriptors for reflection and for what is read as text.

use std::path::PathBuf;
use std::{env, fs};

use prost::Message;

const PROTOS: [&str; 6] = [
    "model.proto",
    "model_server_config.proto",
    "model_service.proto",
    "prediction_log.proto",
    "prediction_service.proto",
    "saved_model.proto",
];

fn main() {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(PROTOS, ["proto"]).unwrap_or_else(|error| panic!("proto/: {error}"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec()).expect("cargo's directory takes files");
    tonic_prost_build::configure()
        .build_client(false)
        .build_transport(false)
        // Tensors are shown to TensorFlow where they lie in the message.
        .bytes(".")
        // In an order that is the same every time.
        .btree_map(".")
        .include_file("wire.rs")
        .compile_fds(descriptors)
        .unwrap_or_else(|error| panic!("proto/: {error}"));
}
