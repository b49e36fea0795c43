//! What the protocols make of a client's bytes, without a listener and a model: for the fuzz targets (`fuzz/`).

use bytes::Bytes;
use tfweb_engine::{Error, Signature, Tensor};

use super::native::body;
use super::tf_serving::rest::{examples, predict};

/// The inputs in a body of the native protocol.
///
/// # Errors
/// Those of a client that sends the body.
pub async fn native_body(
    content_type: &str,
    body: &Bytes,
    signature: &Signature,
    batch_transpose: bool,
) -> Result<Vec<Tensor>, Error> {
    body::decode(content_type, body, signature, batch_transpose).await.map(|decoded| decoded.inputs)
}

/// The inputs in a body of TensorFlow Serving's `:predict`.
///
/// # Errors
/// Those of a client that sends the body.
pub fn tf_serving_predict(body: &[u8], signature: &Signature) -> Result<Vec<Tensor>, Error> {
    predict::inputs(body, signature)
}

/// The serialized examples in a body of TensorFlow Serving's `:classify` and `:regress`.
///
/// # Errors
/// Those of a client that sends the body.
pub fn tf_serving_examples(body: &[u8]) -> Result<Vec<Bytes>, Error> {
    examples::serialized(body)
}
