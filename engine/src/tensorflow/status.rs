//! Makes errors of TensorFlow's statuses.

use tensorflow::{Code as TfCode, Status};

use crate::error::{Code, Error};

/// Makes the error for the caller: `InvalidArgument` if TensorFlow blames the values, `DataLoss` if it finds bytes damaged,
/// `NotFound` if it does not find what they name, and mostly `Internal` otherwise.
pub(super) fn error_of(status: &Status) -> Error {
    #[allow(clippy::wildcard_enum_match_arm, reason = "any other code of TensorFlow is no fault of the caller")]
    let code = match status.code() {
        TfCode::InvalidArgument | TfCode::OutOfRange => Code::InvalidArgument,
        TfCode::DataLoss => Code::DataLoss,
        TfCode::NotFound => Code::NotFound,
        TfCode::DeadlineExceeded => Code::DeadlineExceeded,
        TfCode::Unimplemented => Code::Unimplemented,
        // This is not Unavailable: a load balancer would take the request as not begun, and send it to the next replica.
        TfCode::ResourceExhausted => Code::ResourceExhausted,
        _ => Code::Internal,
    };
    let text = status.to_string();
    let message = text.strip_prefix(&format!("{}: ", status.code())).unwrap_or(&text);
    Error::new(code, message)
}
