//! The memory that an idle server needs beside libtensorflow, in a process of its own. Real TensorFlow.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::process::Process;

/// The most that tfweb with its model may hold beside libtensorflow.
const IDLE_KIB_MAX: u64 = 40 << 10;

/// Opens the library as tfweb does, and nothing else; prints the KiB of anonymous memory that this took.
const OPEN_ALONE: &str = "
import ctypes, sys
def anonymous():
    return next(int(line.split()[1]) for line in open('/proc/self/status') if line.startswith('RssAnon'))
before = anonymous()
ctypes.CDLL(sys.argv[1])
print(anonymous() - before)
";

/// KiB of a process that lie in memory: all but libtensorflow's own pages, and but the executable's, which in a debug build are
/// several times those of a release (5 MiB).
fn resident_kib(pid: u32) -> u64 {
    let maps = fs::read_to_string(format!("/proc/{pid}/smaps")).expect("the maps of a child");
    let (mut file, mut sum) = ("", 0);
    for line in maps.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let kib = |at: usize| words[at].parse::<u64>().expect("a number of kB");
        match words[0] {
            "Rss:" if !file.contains("libtensorflow") && file != env!("CARGO_BIN_EXE_tfweb") => sum += kib(1),
            // The library's own pages that were written to.
            "Anonymous:" if file.contains("libtensorflow") => sum += kib(1),
            first if first.contains('-') && !first.ends_with(':') => file = words.get(5).copied().unwrap_or(""),
            _ => {}
        }
    }
    sum
}

#[test]
fn an_idle_server_holds_under_40_mb_beside_libtensorflow() {
    let process = Process::serve("--model examples/digits");
    let library: PathBuf = tfweb_engine::tensorflow::load_library(None).expect("libtensorflow");
    let python = Command::new(".venv/bin/python").args(["-c", OPEN_ALONE]).arg(&library).output();
    let opened = python.expect("the Python that has TensorFlow");
    let alone: u64 = String::from_utf8_lossy(&opened.stdout).trim().parse().unwrap_or_else(|_| panic!("{opened:?}"));
    let resident = resident_kib(process.id());
    let beside = resident.saturating_sub(alone);
    eprintln!("{resident} KiB resident, {alone} of libtensorflow's own: {beside} KiB beside it");
    assert!(beside < IDLE_KIB_MAX, "{beside} KiB beside libtensorflow");
}
