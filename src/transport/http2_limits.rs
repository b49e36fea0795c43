//! Limits of HTTP/2 that the HTTP port and the gRPC port share.

/// Bytes on their way of one request, and of one connection: a tensor should not wait for words of encouragement.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 4 << 20;
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// The most bytes that come in one piece. Of large tensors the pieces are what costs: with HTTP/2's 16 KiB twice as much.
pub(crate) const FRAME_BYTES_MAX: u32 = 256 << 10;
/// Requests side by side on one connection; clients hold back those beyond it.
pub(crate) const STREAMS_MAX: u32 = 256;
