//! Decodes `instances` (rows) and `inputs` (columns) into the tensors of a signature's inputs, straight from the text. Where
//! the values do not fit, [`super::explain`] reads the body a second time and words the refusal.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;
use tfweb_codec::json::{Inputs, OtherKeys};
use tfweb_engine::{Error, Signature, Tensor};

use super::document::Document;
use super::raw::{self, Kind};
use super::rules::Rules;

/// The form of a request and of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A list of rows.
    Row,
    /// Whole tensors.
    Column,
}

/// Decodes the inputs of a document into one tensor per input of `signature`; `None` where the values do not fit. Then
/// [`super::explain`] words the refusal.
///
/// # Errors
/// `InvalidArgument` for a document whose form alone is wrong.
pub(super) fn decode(document: &Document<'_>, signature: &Signature) -> Result<Option<(Vec<Tensor>, Form)>, Error> {
    if signature.inputs.is_empty() {
        return Err(Error::invalid(format!("Failed to get input map for signature: {}", signature.name)));
    }
    let rules = Rules { tokens: document.tokens };
    match (document.instances, document.inputs) {
        (Some(_), Some(_)) => {
            Err(document.refusal("Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "))
        }
        (None, None) => Err(Error::invalid("Missing 'inputs' or 'instances' key")),
        (None, Some(inputs)) => Ok(columns(inputs, signature, rules).map(|tensors| (tensors, Form::Column))),
        (Some(instances), None) => {
            if raw::kind(instances) != Kind::Array {
                return Err(document.refusal("Excepting 'instances' to be an list/array"));
            }
            let Some(named) = raw::starts_with_object(instances) else {
                return Err(document.refusal("No values in 'instances' array"));
            };
            if !named && signature.inputs.len() > 1 {
                return Err(Error::invalid(
                    "instances is a plain list, but expecting list of objects as multiple input tensors required as per \
                     tensorinfo_map",
                ));
            }
            Ok(rows(instances, named, signature, rules).map(|tensors| (tensors, Form::Row)))
        }
    }
}

fn rows(instances: &RawValue, named: bool, signature: &Signature, rules: Rules) -> Option<Vec<Tensor>> {
    let mut inputs = Inputs::new(signature, rules, instances.get().len()).ok()?;
    inputs.expect_rows();
    let mut json = serde_json::Deserializer::from_str(instances.get());
    let rows = json.deserialize_seq(Rows { inputs: &mut inputs, named }).ok()?;
    Some(inputs.finish(Some(rows)).0)
}

fn columns(values: &RawValue, signature: &Signature, rules: Rules) -> Option<Vec<Tensor>> {
    let mut inputs = Inputs::new(signature, rules, values.get().len()).ok()?;
    let mut json = serde_json::Deserializer::from_str(values.get());
    if raw::is_object(values) {
        inputs.named(0, OtherKeys::Skip).deserialize(&mut json).ok()?;
    } else if signature.inputs.len() == 1 {
        inputs.first().deserialize(&mut json).ok()?;
    } else {
        return None;
    }
    Some(inputs.finish(None).0)
}

/// Reads a list of rows, each an object that names the inputs or a value of the one input; gives the number of rows.
struct Rows<'a, 's> {
    inputs: &'a mut Inputs<'s, Rules>,
    named: bool,
}

impl<'de> Visitor<'de> for Rows<'_, '_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<usize, A::Error> {
        let Self { inputs, named } = self;
        let mut rows = 0;
        if named {
            while list.next_element_seed(inputs.named(rows, OtherKeys::Refuse))?.is_some() {
                rows += 1;
            }
        } else {
            while list.next_element_seed(inputs.first())?.is_some() {
                rows += 1;
            }
        }
        Ok(rows)
    }
}

/// Picks the outputs that a request names, by their positions in the signature. A request that names none gets all.
///
/// # Errors
/// `InvalidArgument` for an unknown output, and for one that is named twice.
pub(super) fn outputs(signature: &Signature, filter: Option<&[Cow<'_, str>]>) -> Result<Vec<usize>, Error> {
    let Some(names) = filter else { return Ok((0..signature.outputs.len()).collect()) };
    let mut picked = Vec::new();
    for name in names {
        let Some(index) = signature.outputs.iter().position(|spec| spec.name == *name) else {
            let known: Vec<&str> = signature.outputs.iter().map(|spec| spec.name.as_str()).collect();
            let name = raw::shown_text(name);
            return Err(Error::invalid(format!(
                "output tensor alias not found in signature: {name} Outputs expected to be in the set {{{}}}.",
                known.join(",")
            )));
        };
        if picked.contains(&index) {
            return Err(Error::invalid(format!("duplicate output tensor alias: {name}")));
        }
        picked.push(index);
    }
    picked.sort_unstable();
    Ok(picked)
}
