//! Reads a body as TensorFlow Serving's REST API does, without a listener and a model, for the fuzz targets (`fuzz/`).

use bytes::Bytes;
use tfweb_engine::{Error, Signature, Tensor};

use super::{examples, predict};

/// The inputs in a body of `:predict`.
///
/// # Errors
/// Those of a client that sends the body.
pub fn inputs(body: &[u8], signature: &Signature) -> Result<Vec<Tensor>, Error> {
    predict::inputs(body, signature)
}

/// The serialized examples in a body of `:classify` or `:regress`.
///
/// # Errors
/// Those of a client that sends the body.
pub fn examples(body: &[u8]) -> Result<Vec<Bytes>, Error> {
    examples::serialized(body)
}
