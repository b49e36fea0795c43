//! The HTTP status and the gRPC status of each error code. The matches have no wildcard arms, so that a new code does not compile
//! without both.

use actix_web::http::StatusCode;
use tfweb_engine::Code;

/// The HTTP status of a code.
#[must_use]
pub fn http(code: Code) -> StatusCode {
    match code {
        // The run threads leave DataLoss to errors of a request's own bytes; where the model's are damaged, they say Internal.
        Code::InvalidArgument | Code::FailedPrecondition | Code::DataLoss => StatusCode::BAD_REQUEST,
        Code::OutOfRange => StatusCode::PAYLOAD_TOO_LARGE,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Aborted => StatusCode::BAD_GATEWAY,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        // nginx's status for a client that closed the connection. Only logs show it.
        Code::Cancelled => StatusCode::from_u16(499).expect("a status of three digits; this is a bug"),
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The gRPC status of a code.
#[must_use]
pub fn grpc(code: Code) -> tonic::Code {
    match code {
        Code::InvalidArgument => tonic::Code::InvalidArgument,
        Code::OutOfRange => tonic::Code::OutOfRange,
        Code::FailedPrecondition => tonic::Code::FailedPrecondition,
        Code::NotFound => tonic::Code::NotFound,
        Code::Aborted => tonic::Code::Aborted,
        Code::Unavailable => tonic::Code::Unavailable,
        Code::ResourceExhausted => tonic::Code::ResourceExhausted,
        Code::DeadlineExceeded => tonic::Code::DeadlineExceeded,
        Code::Unauthenticated => tonic::Code::Unauthenticated,
        Code::PermissionDenied => tonic::Code::PermissionDenied,
        Code::Unimplemented => tonic::Code::Unimplemented,
        Code::Cancelled => tonic::Code::Cancelled,
        Code::DataLoss => tonic::Code::DataLoss,
        Code::Internal => tonic::Code::Internal,
    }
}

/// The name of a gRPC status in logs.
#[must_use]
pub const fn grpc_name(code: tonic::Code) -> &'static str {
    match code {
        tonic::Code::Ok => "OK",
        tonic::Code::Cancelled => "CANCELLED",
        tonic::Code::Unknown => "UNKNOWN",
        tonic::Code::InvalidArgument => "INVALID_ARGUMENT",
        tonic::Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        tonic::Code::NotFound => "NOT_FOUND",
        tonic::Code::AlreadyExists => "ALREADY_EXISTS",
        tonic::Code::PermissionDenied => "PERMISSION_DENIED",
        tonic::Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        tonic::Code::FailedPrecondition => "FAILED_PRECONDITION",
        tonic::Code::Aborted => "ABORTED",
        tonic::Code::OutOfRange => "OUT_OF_RANGE",
        tonic::Code::Unimplemented => "UNIMPLEMENTED",
        tonic::Code::Internal => "INTERNAL",
        tonic::Code::Unavailable => "UNAVAILABLE",
        tonic::Code::DataLoss => "DATA_LOSS",
        tonic::Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_status() {
        let statuses = Code::ALL.map(|code| http(code).as_u16());
        assert_eq!(statuses, [400, 413, 400, 404, 502, 503, 429, 504, 401, 403, 501, 499, 400, 500]);
        // https://grpc.github.io/grpc/core/md_doc_statuscodes.html
        let statuses = Code::ALL.map(|code| i32::from(grpc(code)));
        assert!(Code::ALL.iter().all(|code| grpc_name(grpc(*code)) == code.name()));
        assert_eq!(statuses, [3, 11, 9, 5, 10, 14, 8, 4, 16, 7, 12, 1, 15, 13]);
    }
}
