//! Compiles `proto/` without protoc: descriptors for what is read as text.

use std::path::PathBuf;
use std::{env, fs};

use prost::Message;

const PROTOS: [&str; 1] = ["model_server_config.proto"];

fn main() {
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(PROTOS, ["proto"]).unwrap_or_else(|error| panic!("proto/: {error}"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec()).expect("cargo's directory takes files");
}
