//! `ConfigProto` (tensorflow/core/protobuf/config.proto): what a session takes of the machine.
//!
//! TensorFlow has two pools of threads for the whole process. One executes the operations of runs ("inter-op"). The other shares the
//! work within an operation ("intra-op"). The first session of the process sizes both. By itself TensorFlow counts the cores of the
//! host, also where a container may use only some of them.

use std::env;
use std::sync::OnceLock;
use std::thread::available_parallelism;

use prost::encoding::encode_varint;

/// `gpu_options { allow_growth: true }`: the session does not take the whole memory of a GPU.
const GPU_OPTIONS: [u8; 4] = [0x32, 0x02, 0x20, 0x01];
/// The tag of `int32 intra_op_parallelism_threads = 2`.
const INTRA_OP_THREADS: u8 = 0x10;
/// The tag of `int32 inter_op_parallelism_threads = 5`.
const INTER_OP_THREADS: u8 = 0x28;

/// The threads within operations, if the user has chosen them.
static CHOSEN: OnceLock<usize> = OnceLock::new();

/// Chooses how many threads share the work within an operation. It counts before the first session of the process, and once.
/// Otherwise there are as many as cores that the process may use, or as `TF_NUM_INTRAOP_THREADS` says.
pub fn set_intra_op_threads(threads: usize) {
    let _ = CHOSEN.set(threads);
}

/// The configuration of each session.
pub(super) fn session_config() -> Vec<u8> {
    let intra_op_threads = CHOSEN.get().copied().or_else(|| cores_unless("TF_NUM_INTRAOP_THREADS"));
    encode(intra_op_threads, cores_unless("TF_NUM_INTEROP_THREADS"))
}

/// The cores that the process may use, by its affinity and its quota. `None` if the user tells TensorFlow itself a number, which
/// counts only for a session that says nothing.
fn cores_unless(variable: &str) -> Option<usize> {
    env::var_os(variable).is_none().then(|| available_parallelism().map_or(1, usize::from))
}

fn encode(intra_op_threads: Option<usize>, inter_op_threads: Option<usize>) -> Vec<u8> {
    let mut config = GPU_OPTIONS.to_vec();
    for (tag, threads) in [(INTRA_OP_THREADS, intra_op_threads), (INTER_OP_THREADS, inter_op_threads)] {
        if let Some(threads) = threads {
            config.push(tag);
            encode_varint(threads as u64, &mut config);
        }
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pools_have_the_threads_that_are_chosen() {
        assert_eq!(encode(Some(1), Some(200)), [0x32, 0x02, 0x20, 0x01, 0x10, 1, 0x28, 0xc8, 0x01]);
        assert_eq!(encode(None, Some(2)), [0x32, 0x02, 0x20, 0x01, 0x28, 2]);
        assert_eq!(encode(None, None), GPU_OPTIONS, "TensorFlow's own number");
    }

    #[test]
    fn the_pools_follow_the_cores_that_the_process_may_use() {
        let cores = available_parallelism().unwrap().get();
        assert_eq!(cores_unless("NO_SUCH_VARIABLE"), Some(cores));
        assert_eq!(cores_unless("PATH"), None);
    }
}
