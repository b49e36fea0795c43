//! Decodes `instances` (rows) and `inputs` (columns) into the tensors of a signature's inputs, straight from the text. A body
//! whose values do not fit is read a second time by [`super::explain`], which finds the words for the refusal.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use tfweb_engine::{Error, Signature, Tensor};

use super::document::Document;
use super::elements::Input;
use super::raw::{self, Kind};
use tfweb_codec::json::context::Context;

/// The form of a request and of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A list of rows.
    Row,
    /// Whole tensors.
    Column,
}

/// Decodes the inputs of a document into one tensor per input of `signature`; `None` where the values do not fit, for which
/// [`super::explain`] has the words.
///
/// # Errors
/// `InvalidArgument` for a document whose form alone is wrong.
pub(super) fn decode(document: &Document<'_>, signature: &Signature) -> Result<Option<(Vec<Tensor>, Form)>, Error> {
    if signature.inputs.is_empty() {
        return Err(Error::invalid(format!("Failed to get input map for signature: {}", signature.name)));
    }
    match (document.instances, document.inputs) {
        (Some(_), Some(_)) => {
            Err(document.refusal("Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "))
        }
        (None, None) => Err(Error::invalid("Missing 'inputs' or 'instances' key")),
        (None, Some(inputs)) => Ok(columns(inputs, signature, document.tokens).map(|tensors| (tensors, Form::Column))),
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
            Ok(rows(instances, named, signature, document.tokens).map(|tensors| (tensors, Form::Row)))
        }
    }
}

fn rows(instances: &RawValue, named: bool, signature: &Signature, tokens: bool) -> Option<Vec<Tensor>> {
    let mut rows = Reading::new(instances, signature, tokens)?;
    rows.start = 1;
    let mut json = serde_json::Deserializer::from_str(instances.get());
    json.deserialize_seq(Rows { reading: &mut rows, named }).ok().map(|count| rows.finish(Some(count)))
}

fn columns(inputs: &RawValue, signature: &Signature, tokens: bool) -> Option<Vec<Tensor>> {
    let mut reading = Reading::new(inputs, signature, tokens)?;
    let mut json = serde_json::Deserializer::from_str(inputs.get());
    let read = if raw::is_object(inputs) {
        json.deserialize_map(Named { reading: &mut reading, earlier: 0, others_ignored: true })
    } else if signature.inputs.len() == 1 {
        let Reading { inputs, context, .. } = &mut reading;
        inputs[0].read(&mut json, context, 0)
    } else {
        return None;
    };
    read.ok().map(|()| reading.finish(None))
}

/// The inputs of one request while they are being read.
struct Reading<'s> {
    signature: &'s Signature,
    inputs: Vec<Input>,
    context: Context,
    /// The dimension at which values' lists start: 1 for rows.
    start: usize,
}

impl<'s> Reading<'s> {
    fn new(text: &RawValue, signature: &'s Signature, tokens: bool) -> Option<Self> {
        let inputs = signature.inputs.iter().map(|spec| Input::new(spec.dtype, tokens)).collect::<Option<_>>()?;
        Some(Self { signature, inputs, context: Context::new(text.get().len()), start: 0 })
    }

    fn finish(self, rows: Option<usize>) -> Vec<Tensor> {
        self.inputs.into_iter().map(|input| input.into_tensor(rows)).collect()
    }
}

/// Reads a list of rows; gives how many there are.
struct Rows<'a, 's> {
    reading: &'a mut Reading<'s>,
    named: bool,
}

impl<'de> Visitor<'de> for Rows<'_, '_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rows")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<usize, A::Error> {
        let Self { reading, named } = self;
        let mut count = 0;
        if named {
            while list.next_element_seed(Named { reading, earlier: count, others_ignored: false })?.is_some() {
                count += 1;
            }
        } else {
            let Reading { inputs, context, start, .. } = reading;
            while list.next_element_seed(OneValue { input: &mut inputs[0], context, start: *start })?.is_some() {
                count += 1;
            }
        }
        Ok(count)
    }
}

/// Reads an object with a value for each input; `earlier` such objects came before it.
struct Named<'a, 's> {
    reading: &'a mut Reading<'s>,
    earlier: usize,
    others_ignored: bool,
}

impl<'de> DeserializeSeed<'de> for Named<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Named<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a value for each input")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let Self { reading: Reading { signature, inputs, context, start }, earlier, others_ignored } = self;
        let mut next = 0;
        while let Some(index) = object.next_key_seed(InputName { signature, next })? {
            // Of a key that is given twice in columns, the first counts.
            let Some(index) = index.filter(|index| !(others_ignored && inputs[*index].values_read > earlier)) else {
                if !others_ignored {
                    return Err(A::Error::custom(""));
                }
                object.next_value::<IgnoredAny>()?;
                continue;
            };
            object.next_value_seed(OneValue { input: &mut inputs[index], context, start: *start })?;
            next = index + 1;
        }
        if inputs.iter().all(|input| input.values_read == earlier + 1) {
            Ok(())
        } else {
            Err(A::Error::custom(""))
        }
    }
}

/// Finds the input that a key names; `None` where there is no such.
struct InputName<'s> {
    signature: &'s Signature,
    /// The input most likely to come: bodies mostly keep an order of their own.
    next: usize,
}

impl<'de> DeserializeSeed<'de> for InputName<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for InputName<'_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of an input")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        let is_next = self.signature.inputs.get(self.next).is_some_and(|spec| spec.name == name);
        Ok(if is_next { Some(self.next) } else { self.signature.input_index(name) })
    }
}

/// Reads the value of one input.
struct OneValue<'a> {
    input: &'a mut Input,
    context: &'a mut Context,
    start: usize,
}

impl<'de> DeserializeSeed<'de> for OneValue<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        self.input.read(json, self.context, self.start)
    }
}

/// Picks the outputs that a request asks for, by their positions in the signature; all where it names none.
///
/// # Errors
/// `InvalidArgument` for one that there is not, or that is named twice.
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
