//! Errors as gRPC statuses.

use tfweb_engine::Error;
use tonic::Status;

use crate::status;

/// The most bytes of an error's text, because it travels in a header. TensorFlow Serving has the same limit.
const TEXT_BYTES_MAX: usize = 1024;
const TEXT_CUT: &str = "...TRUNCATED";

/// Converts an error into a gRPC status.
pub(super) fn refusal(error: &Error) -> Status {
    let mut text = error.message.clone();
    if text.len() > TEXT_BYTES_MAX {
        let end = (0..=TEXT_BYTES_MAX).rev().find(|&end| text.is_char_boundary(end)).unwrap_or_default();
        text.truncate(end);
        text += TEXT_CUT;
    }
    Status::new(status::grpc(error.code), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut() {
        let text = |length: usize| refusal(&Error::invalid("é".repeat(length))).message().to_owned();
        assert_eq!(text(512), "é".repeat(512));
        assert_eq!(text(513), "é".repeat(512) + "...TRUNCATED");
    }
}
