//! `RunOptions` (tensorflow/core/protobuf/config.proto): where the operations of a run execute, and when TensorFlow ends it.
//!
//! TensorFlow cancels a run whose time is over before it begins the next operation. It lets the operation that executes come to
//! its end. It does so only for runs in its pool: the calling thread of a run executes the operations itself, and looks at no
//! clock. A run of half_plus_two takes 8 µs in the calling thread and 48 µs in the pool, with a time or without. So small graphs
//! run in the calling thread until a run has gone on for long after its time ([`outlasts`]).

use std::time::Duration;

/// How long a run in the calling thread may go on after its time before the signature's runs go to the pool. A busy machine delays
/// a short run as long.
const OUTLASTING_MIN: Duration = Duration::from_millis(250);

/// The tag of `int64 timeout_in_ms = 2`.
const TIMEOUT_IN_MS: u8 = 0x10;
/// `int32 inter_op_thread_pool = 3`, of -1: "run in caller thread".
const RUN_IN_CALLER: [u8; 11] = [0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];

/// Whether a run that took `elapsed` would have been ended for long in the pool.
pub(super) fn outlasts(elapsed: Duration, time: Duration) -> bool {
    elapsed.saturating_sub(OUTLASTING_MIN) > time
}

/// Writes the options of a run that may take `time`.
pub(super) fn run_options(in_caller: bool, time: Duration) -> Vec<u8> {
    if in_caller {
        return RUN_IN_CALLER.to_vec();
    }
    // Whole milliseconds, and not less than there is: a run must not end before its requests do. 0 would be no limit.
    let Ok(mut rest) = i64::try_from(time.as_nanos().div_ceil(1_000_000).max(1)) else {
        return Vec::new();
    };
    let mut options = vec![TIMEOUT_IN_MS];
    while rest >= 0x80 {
        options.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    options.push(rest as u8);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_a_number_of_whole_milliseconds() {
        let options = |nanos| run_options(false, Duration::from_nanos(nanos));
        assert_eq!(options(0), [0x10, 1], "0 would be no limit");
        assert_eq!(options(127_000_000), [0x10, 127]);
        assert_eq!(options(127_000_001), [0x10, 0x80, 0x01], "rounded up");
        assert_eq!(options(30_000_000_000), [0x10, 0xb0, 0xea, 0x01]);
        assert_eq!(run_options(false, Duration::MAX), [], "no limit");
        assert_eq!(run_options(true, Duration::from_millis(1)), RUN_IN_CALLER);
    }

    #[test]
    fn a_run_outlasts_its_time_by_more_than_a_quarter_of_a_second() {
        let millis = Duration::from_millis;
        assert!(!outlasts(millis(250), millis(0)) && !outlasts(millis(1240), millis(1000)) && !outlasts(millis(9), Duration::MAX));
        assert!(outlasts(millis(251), millis(0)) && outlasts(millis(1251), millis(1000)));
    }
}
