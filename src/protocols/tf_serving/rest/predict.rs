//! Reads the body of a predict, in TensorFlow Serving's order of checks. It looks into the catalog, and is pure otherwise.

use std::sync::Arc;

use tfweb_engine::{Error, Signature, Tensor};

use super::document::{self, Document};
use super::inputs::{self, Form};
use super::signature::{find, place};
use super::{explain, raw};
use crate::models::{Catalog, Version, DEFAULT_SIGNATURE};
use crate::protocols::tf_serving::find::Wanted;

/// The most memory that decoding takes for each byte of a body: the elements of lists of `1,`, and of text `""`, in vectors that have
/// grown and move. `a_body_becomes_no_more_than_is_counted` measures it.
pub(super) const DECODED_FACTOR: usize = 13;

/// A predict whose version and signature are known.
pub(super) struct Predict {
    pub(super) version: Arc<Version>,
    /// The place of the signature among the version's.
    pub(super) servable: usize,
    /// The inputs and outputs, or why the values were refused.
    pub(super) asked: Result<Asked, Error>,
}

/// The inputs of a run, and the outputs of its answer.
pub(super) struct Asked {
    pub(super) inputs: Vec<Tensor>,
    pub(super) form: Form,
    /// The positions of the wanted outputs, in the order of the answer.
    pub(super) picked: Vec<usize>,
}

/// Reads a body for a version of the model `name`.
///
/// # Errors
/// Where the body is no JSON object, or names an unknown version or signature.
pub(super) fn read(body: &[u8], catalog: &Catalog, name: &str, wanted: &Wanted) -> Result<Predict, Error> {
    let mut quoted = String::new();
    let document = document::read(body, &mut quoted)?;
    let named = document.signature()?;
    let named = named.as_deref().unwrap_or(DEFAULT_SIGNATURE);
    let version = find(catalog, name, wanted)?;
    let servable = place(&version, named).ok_or_else(|| {
        Error::invalid(format!("Serving signature name: \"{}\" not found in signature def", raw::shown_text(named)))
    })?;
    let asked = asked(&document, version.servables[servable].handle.signature());
    Ok(Predict { version, servable, asked })
}

/// Reads the inputs of a body for a signature.
///
/// # Errors
/// `InvalidArgument`.
pub(super) fn inputs(body: &[u8], signature: &Signature) -> Result<Vec<Tensor>, Error> {
    asked(&document::read(body, &mut String::new())?, signature).map(|asked| asked.inputs)
}

fn asked(document: &Document<'_>, signature: &Signature) -> Result<Asked, Error> {
    // A filter that is refused is so after the inputs, as TensorFlow Serving does it.
    let filter = document.filter();
    let names = filter.as_ref().ok().and_then(Option::as_deref);
    signature.check_served(Some(&|name| names.is_none_or(|names| names.iter().any(|wanted| wanted == name))))?;
    let (inputs, form) = inputs::decode(document, signature)?.ok_or_else(|| explain::inputs(document, signature))?;
    let picked = inputs::outputs(signature, filter?.as_deref())?;
    match signature.composites.first() {
        Some(whole) if form == Form::Row => Err(Error::invalid(format!(
            "{:?} is a {}, which has no rows: expected 'inputs', found 'instances'",
            whole.name, whole.kind
        ))),
        Some(_) | None => Ok(Asked { inputs, form, picked }),
    }
}

#[cfg(test)]
mod tests {
    use tfweb_engine::{DType, FeedShape, PartialShape, TensorSpec};

    use super::*;
    use crate::transport::http::peak;

    fn is_read(dtype: DType, body: &[u8]) -> bool {
        let shape = PartialShape::UNKNOWN;
        let spec = TensorSpec { name: "x".into(), tensor: "x:0".into(), dtype, shape, feed: FeedShape::ANY };
        let signature = Signature { inputs: vec![spec.clone()], outputs: vec![spec], ..Signature::default() };
        let mut quoted = String::new();
        document::read(body, &mut quoted).and_then(|document| asked(&document, &signature)).is_ok()
    }

    #[test]
    fn a_body_becomes_no_more_than_is_counted() {
        if !peak::is_alone("protocols::tf_serving::rest::predict::tests::a_body_becomes_no_more_than_is_counted") {
            return;
        }
        let elements = ["1", "NaN", "Inf", "[]", "{}", "\"\"", "\"a\"", r#"{"b64":""}"#, r#"{"x":1}"#];
        let mut bodies = Vec::new();
        for element in elements {
            bodies.extend(["instances", "inputs"].map(|key| format!(r#"{{"{key}":{}}}"#, peak::list(element))));
        }
        bodies.push(format!(r#"{{"inputs":[1],"output_filter":{}}}"#, peak::list("\"\"")));
        peak::check(DECODED_FACTOR, bodies, |body| [DType::Float64, DType::String].map(|dtype| is_read(dtype, body)));
    }
}
