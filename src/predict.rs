//! The use case: run a signature on one request's inputs. Every wire protocol calls this one function; what differs between
//! them, decoding and encoding, happens before and after it on the door's own thread.

use std::time::Instant;

use tfweb_actors::Prediction;
use tfweb_engine::{Code, Error, Signature, Tensor};

use crate::catalog::Servable;

/// Runs a signature; `inputs` are in the signature's order.
///
/// # Errors
/// `Unimplemented` for dtypes that are not served; `Unavailable` where the queue is full; `DeadlineExceeded`; the session's own.
///
/// # Cancel safety
/// Dropped, the request is left out of every batch not yet formed.
pub async fn predict(servable: &Servable, inputs: Vec<Tensor>, deadline: Instant) -> Result<Prediction, Error> {
    check_served(servable.handle.signature())?;
    servable.handle.predict(inputs, deadline).await
}

fn check_served(signature: &Signature) -> Result<(), Error> {
    match signature.unserved() {
        None => Ok(()),
        Some(spec) => Err(Error::new(
            Code::Unimplemented,
            format!(
                "signature {:?} is not served: {:?} is of dtype {}, which is not supported",
                signature.name, spec.name, spec.dtype
            ),
        )),
    }
}
