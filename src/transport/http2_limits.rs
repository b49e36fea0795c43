//! The limits of HTTP/2 that the HTTP port and the gRPC port share.

/// The bytes that a client may send ahead, for one request and for one connection. With less, a large tensor would wait for
/// window updates.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 4 << 20;
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// The most bytes of a frame at the gRPC port. Large tensors cost by the frame: with HTTP/2's default of 16 KiB they take twice as
/// long. A connection holds one frame that has come in part, and nobody counts it.
pub(crate) const FRAME_BYTES_MAX: u32 = 64 << 10;
/// The most requests side by side on one connection. A client holds back further ones.
pub(crate) const STREAMS_MAX: u32 = 256;
