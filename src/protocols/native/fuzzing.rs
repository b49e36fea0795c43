//! Reads a body as tfweb's own API does, without a listener and a model, for the fuzz targets (`fuzz/`).

use bytes::Bytes;
use tfweb_engine::{Error, Signature, Tensor};

use super::body;

/// The inputs in a body.
///
/// # Errors
/// Those of a client that sends the body.
pub fn inputs(content_type: &str, body: &Bytes, signature: &Signature, batch_transpose: bool) -> Result<Vec<Tensor>, Error> {
    body::decode(content_type, body, signature, batch_transpose).map(|decoded| decoded.inputs)
}
