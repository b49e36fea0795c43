//! Decodes a JSON body of tfweb's own API into the tensors of a signature's inputs.
//!
//! The first character tells the form of the body: an object is columns (or, with `--batch_transpose`, one example), an array is
//! one example for each element. Values go straight from the text into the tensors' own memory; no memory is reserved for a number
//! that the caller states. Pure: the bytes of a `url` wrapper are not fetched here.

use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use tfweb_engine::{quoted, Error, Signature, Tensor};

use super::found::Found;
use super::inputs::{Inputs, OtherKeys, PendingUrl};
use super::native::NativeRules;
use super::scope::visit_scalars;

/// The content of a JSON body.
#[derive(Debug)]
pub struct Decoded {
    /// One tensor per input, in the signature's order, outer dimension included.
    pub inputs: Vec<Tensor>,
    /// Elements of `inputs` that are still to be fetched, sorted by input and element.
    pub urls: Vec<PendingUrl>,
    /// The form of the body, which is the form of the answer.
    pub form: Form,
}

/// The form of a body and of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One object of whole tensors.
    Columns,
    /// One object of values without the outer dimension.
    Example,
    /// An array of that many such objects.
    Examples(usize),
}

/// Decodes a JSON body into one tensor per input of `signature`. With `batch_transpose`, an object for a batchable
/// signature is one example.
///
/// # Errors
/// `InvalidArgument` where the body is not JSON (naming line and column) or does not fit the signature (naming example,
/// input and place). `Unimplemented` for dtypes that are not served.
pub fn decode(body: &[u8], signature: &Signature, batch_transpose: bool) -> Result<Decoded, Error> {
    let mut inputs = Inputs::new(signature, NativeRules, body.len())?;
    let batchable = signature.is_batchable();
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = json.deserialize_any(Body { inputs: &mut inputs, signature, batchable, batch_transpose });
    let form = match read.and_then(|form| json.end().map(|()| form)) {
        Ok(form) => form,
        Err(error) => return Err(inputs.into_error(&error, body)),
    };
    let rows = match form {
        Form::Columns => None,
        Form::Example => Some(1),
        Form::Examples(rows) => Some(rows),
    };
    let (inputs, urls) = inputs.finish(rows);
    if batchable {
        check_rows(&inputs, signature)?;
    }
    Ok(Decoded { inputs, urls, form })
}

/// Checks that every input has the same number of rows.
fn check_rows(inputs: &[Tensor], signature: &Signature) -> Result<(), Error> {
    let rows = |index: usize| inputs[index].rows().unwrap_or_default();
    let Some(other) = (1..inputs.len()).find(|&index| rows(index) != rows(0)) else {
        return Ok(());
    };
    let named = |index: usize| format!("input {} has {} rows", quoted(&signature.inputs[index].name), rows(index));
    Err(Error::invalid(format!("{} but {}; every input needs as many", named(0), named(other))))
}

/// Reads a whole body.
struct Body<'a, 's> {
    inputs: &'a mut Inputs<'s, NativeRules>,
    signature: &'s Signature,
    batchable: bool,
    batch_transpose: bool,
}

impl Body<'_, '_> {
    fn scalar<E: de::Error>(self, found: Found<'_>) -> Result<Form, E> {
        Err(self.inputs.refuse_form("an object or an array", found))
    }
}

impl<'de> Visitor<'de> for Body<'_, '_> {
    type Value = Form;

    visit_scalars!();

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Form, A::Error> {
        let is_example = self.batch_transpose && self.batchable;
        if is_example {
            self.inputs.expect_rows();
        }
        self.inputs.named(0, OtherKeys::Refuse).visit_map(object)?;
        Ok(if is_example { Form::Example } else { Form::Columns })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Form, A::Error> {
        let Self { inputs, signature, batchable, .. } = self;
        if !batchable {
            return Err(inputs.refuse(format!(
                "expected an object, got an array; examples need a signature whose every input and output has -1 as its first \
                 dimension, which {} is not",
                quoted(&signature.name)
            )));
        }
        inputs.expect_rows();
        let mut rows = 0;
        loop {
            match list.next_element_seed(inputs.named(rows, OtherKeys::Refuse)) {
                Ok(Some(())) => rows += 1,
                Ok(None) => return Ok(Form::Examples(rows)),
                Err(error) => {
                    inputs.stopped_in_example(rows);
                    return Err(error);
                }
            }
        }
    }
}
