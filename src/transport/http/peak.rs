//! Measures how much memory a piece of work takes at most. For tests.

use std::process::Command;

use bytes::Bytes;
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Whether this process runs one test alone. If not, it first runs the test alone in a new process: others would allocate beside it.
pub(crate) fn is_alone(test: &str) -> bool {
    const ALONE: &str = "MEASURED_ALONE";
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let itself = std::env::current_exe().expect("the path of this binary");
    let output = Command::new(itself).args(["--exact", test, "--nocapture"]).env(ALONE, "1").output();
    let output = output.expect("this binary starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    false
}

/// How many bytes `work` holds at most, more than there were before it, and how many its result holds.
pub(crate) fn peak<T>(work: impl FnOnce() -> T) -> (usize, usize) {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let result = work();
    let (peak, after) = (ALLOCATOR.peak_usage(), ALLOCATOR.current_usage());
    drop(result);
    (peak.saturating_sub(before), after.saturating_sub(before))
}

/// Many equal elements in a list. Their number is the worst for a vector that grows: it has just doubled.
pub(crate) fn list(element: &str) -> String {
    let elements = vec![element; (1 << 17) + 1];
    format!("[{}]", elements.join(","))
}

/// Checks that decoding each of these bodies takes at most `factor` times its bytes, and that the worst comes near to that.
pub(crate) fn check<T>(factor: usize, bodies: Vec<String>, decode: impl Fn(&Bytes) -> T) {
    let mut worst: f64 = 0.0;
    for body in bodies {
        let body = Bytes::from(body);
        let (peak, _) = peak(|| decode(&body));
        let found = peak as f64 / body.len() as f64;
        eprintln!("{found:.2} for {}…", String::from_utf8_lossy(&body[..body.len().min(60)]));
        worst = worst.max(found);
    }
    assert!(worst <= factor as f64 && worst > factor as f64 / 2.0, "{worst} is not just below {factor}");
}
