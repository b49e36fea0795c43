//! Fuzz targets: functions that read what clients, origins and stores send, each with a limit for its memory.
//!
//! `cargo test -p tfweb-fuzz` runs each of them on damaged inputs from `fuzz/corpus`, for a moment and always the same ones.
//! `make fuzz` runs them for long, and finds its inputs by itself (`fuzz/libfuzzer`).

#![forbid(unsafe_code)]

mod bodies;
mod memory;
mod messages;
mod origins;
mod stores;

use std::sync::{Mutex, PoisonError};

use memory::measure;

/// The memory that a target may take for any input, in bytes: errors, tables, buffers of a fixed size.
const BASE_BYTES: usize = 256 << 10;

/// A function that reads untrusted bytes.
#[derive(Debug)]
pub struct Target {
    /// Its name, which is also the name of its directory in `fuzz/corpus`.
    pub name: &'static str,
    /// The most bytes of memory for each byte of the input, above a fixed amount.
    pub bytes_per_byte: usize,
    /// Pieces of the format, which mutations put in.
    pub pieces: &'static [&'static str],
    read: fn(&[u8]),
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "native_json", bytes_per_byte: 48, pieces: JSON, read: bodies::native_json },
    // A part's head has at most 64 KiB, but each of its `;a="b"` becomes a value with two texts.
    Target { name: "native_form", bytes_per_byte: 64, pieces: FORM, read: bodies::native_form },
    Target { name: "tf_serving_predict", bytes_per_byte: 48, pieces: JSON, read: bodies::tf_serving_predict },
    Target { name: "tf_serving_examples", bytes_per_byte: 96, pieces: JSON, read: bodies::tf_serving_examples },
    Target { name: "tensor_proto", bytes_per_byte: 64, pieces: &[], read: messages::tensor_proto },
    Target { name: "messages", bytes_per_byte: 256, pieces: &[], read: messages::messages },
    Target { name: "model_config_file", bytes_per_byte: 512, pieces: CONFIG, read: stores::model_config_file },
    Target { name: "warmup_records", bytes_per_byte: 256, pieces: &[], read: stores::warmup_records },
    Target { name: "model_uri", bytes_per_byte: 64, pieces: URL, read: stores::model_uri },
    Target {
        name: "zip",
        bytes_per_byte: 300,
        pieces: &["PK\u{3}\u{4}", "PK\u{1}\u{2}", "PK\u{5}\u{6}", "../"],
        read: stores::zip,
    },
    Target { name: "tar", bytes_per_byte: 300, pieces: &["ustar", "../", "\0\0\0\0\0\0\0\0"], read: stores::tar },
    Target { name: "inflate", bytes_per_byte: 64, pieces: &[], read: origins::inflate },
    Target { name: "url", bytes_per_byte: 64, pieces: URL, read: origins::url },
    Target { name: "answer", bytes_per_byte: 32, pieces: ANSWER, read: origins::answer },
];

const JSON: &[&str] = &[
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "\"",
    "\\",
    "\\ud800",
    "\\u0000",
    "null",
    "true",
    "-",
    "1e400",
    "NaN",
    "\"b64\"",
    "\"x\":",
    "\"inputs\":",
    "\"instances\":",
    "\"url\"",
    "\"examples\":",
    "\"context\":",
    "[[[[[[[[",
    "99999999999999999999",
];
const FORM: &[&str] = &[
    "--b",
    "\r\n",
    "--b--\r\n",
    "Content-Disposition: form-data; name=\"x\"\r\n\r\n",
    "filename*=UTF-8''",
    "Content-Length: 5\r\n",
];
const CONFIG: &[&str] = &[
    "model_config_list",
    "{",
    "}",
    "config:",
    "name: \"m\"",
    "base_path:",
    "\"",
    "\\377",
    "model_version_policy",
    "specific",
    "versions: ",
    "version_labels",
    "key:",
    "value:",
    "[type.googleapis.com/x]",
    "#",
    "<",
    ">",
    "18446744073709551616",
];
const URL: &[&str] =
    &["http://", "https://", "s3://", "gs://", "data:", "@", ":", "/", "?", "#", "%00", "..", "[::1]", "\u{ff0e}", "0x7f.1"];
const ANSWER: &[&str] = &[
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 103 Early Hints\r\n\r\n",
    "HTTP/1.0 ",
    "\r\n",
    "\n\n",
    "Content-Length: ",
    "Transfer-Encoding: chunked\r\n",
    "0\r\n\r\n",
    "ffffffffffffffff\r\n",
    "Location: ",
    "Content-Encoding: gzip\r\n",
    ";",
    " ",
];

impl Target {
    /// The target with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.name == name)
    }

    /// Reads an input, and compares the memory that this took with the limit.
    ///
    /// # Panics
    /// If it took more, or if reading panics. No other thread of the process may take memory meanwhile.
    pub fn check(&self, input: &[u8]) {
        // The process makes tables of messages once. They are no part of an input's memory.
        static FIRST: Mutex<Vec<&str>> = Mutex::new(Vec::new());
        let mut known = FIRST.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains(&self.name) {
            known.push(self.name);
            (self.read)(input);
        }
        drop(known);
        let ((), peak) = measure(|| (self.read)(input));
        let max = BASE_BYTES + self.bytes_per_byte * input.len();
        assert!(peak <= max, "{}: {} bytes of input took {peak} bytes of memory, limit {max}", self.name, input.len());
    }
}
