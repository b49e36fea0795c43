//! Decodes a JSON body into the tensors of a signature's inputs.
//!
//! The form of the body is its first character: an object is columns (or, with `--batch_transpose`, one example), an
//! array is one example per element. Values go straight from the text into the tensors' own memory; nothing is reserved
//! by a number the caller states. Pure: a `url` input is not fetched here.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use tfweb_engine::{quoted, Code, DType, Error, Signature, Tensor, TensorSpec};

use super::context::{Context, Found, Problem};
use super::elements::Input;
use super::inputs::PendingUrl;
use super::values::visit_scalars;

/// What a JSON body asked for.
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
    let mut request = Request::new(body, signature, batch_transpose)?;
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = json.deserialize_any(Body(&mut request)).and_then(|form| json.end().map(|()| form));
    match read {
        Ok(form) => request.finish(form),
        Err(error) => Err(request.context.into_error(&error, signature)),
    }
}

/// One body while it is being read.
struct Request<'s> {
    signature: &'s Signature,
    batchable: bool,
    batch_transpose: bool,
    inputs: Vec<Input<'s>>,
    context: Context,
}

impl<'s> Request<'s> {
    fn new(body: &[u8], signature: &'s Signature, batch_transpose: bool) -> Result<Self, Error> {
        let inputs: Result<_, Error> = signature.inputs.iter().map(|spec| Input::new(spec).ok_or_else(|| unserved(spec))).collect();
        Ok(Self {
            signature,
            batchable: signature.is_batchable(),
            batch_transpose,
            inputs: inputs?,
            context: Context::new(body.len()),
        })
    }

    /// Reads one object that holds a value for each input; `earlier` such objects came before it.
    fn read_inputs<'de, A: MapAccess<'de>>(&mut self, mut object: A, earlier: usize) -> Result<(), A::Error> {
        let start = usize::from(self.context.without_rows);
        let mut next = 0;
        while let Some(index) = object.next_key_seed(InputName { signature: self.signature, next, context: &mut self.context })? {
            let (input, context) = (&mut self.inputs[index], &mut self.context);
            if input.values_read > earlier {
                let name = quoted(&self.signature.inputs[index].name);
                return Err(context.refuse(Problem::Other(Code::InvalidArgument, format!("input {name} is given twice"))));
            }
            if let Err(error) = object.next_value_seed(InputValue { input, context, start }) {
                self.context.input = Some(index);
                return Err(error);
            }
            next = index + 1;
        }
        self.all_given(earlier)
    }

    fn all_given<E: de::Error>(&mut self, earlier: usize) -> Result<(), E> {
        let missing = || self.inputs.iter().zip(&self.signature.inputs).filter(|(input, _)| input.values_read == earlier);
        let count = missing().count();
        if count == 0 {
            return Ok(());
        }
        let plural = if count == 1 { "" } else { "s" };
        let names = names(missing().map(|(_, spec)| spec));
        let text = format!("missing input{plural} {names} of signature {}", quoted(&self.signature.name));
        Err(self.context.refuse(Problem::Other(Code::InvalidArgument, text)))
    }

    fn finish(mut self, form: Form) -> Result<Decoded, Error> {
        let of_input = |(input, read): (usize, &mut Input<'_>)| {
            read.take_urls().into_iter().map(move |(element, url)| PendingUrl { input, element, url })
        };
        let urls = self.inputs.iter_mut().enumerate().flat_map(of_input).collect();
        let rows = match form {
            Form::Columns => None,
            Form::Example => Some(1),
            Form::Examples(rows) => Some(rows),
        };
        let inputs: Vec<Tensor> = self.inputs.into_iter().map(|input| input.into_tensor(rows)).collect();
        if self.batchable {
            rows_agree(&inputs, self.signature)?;
        }
        Ok(Decoded { inputs, urls, form })
    }
}

fn unserved(spec: &TensorSpec) -> Error {
    let name = quoted(&spec.name);
    let text = if let DType::Other(number) = spec.dtype {
        format!("input {name} has TensorFlow's dtype number {number}, which is not served")
    } else {
        format!("input {name} is {}, which is not served", spec.dtype)
    };
    Error::new(Code::Unimplemented, text)
}

fn rows_agree(inputs: &[Tensor], signature: &Signature) -> Result<(), Error> {
    let rows = |index: usize| inputs[index].rows().unwrap_or_default();
    let Some(other) = (1..inputs.len()).find(|&index| rows(index) != rows(0)) else {
        return Ok(());
    };
    let named = |index: usize| format!("input {} has {} rows", quoted(&signature.inputs[index].name), rows(index));
    Err(Error::invalid(format!("{} but {}; every input needs as many", named(0), named(other))))
}

/// How many inputs an error lists at most.
const NAMES_MAX: usize = 32;

fn names<'s>(specs: impl Iterator<Item = &'s TensorSpec>) -> String {
    let mut names: Vec<String> = specs.take(NAMES_MAX + 1).map(|spec| quoted(&spec.name)).collect();
    if names.len() > NAMES_MAX {
        names[NAMES_MAX] = "…".into();
    }
    names.join(", ")
}

/// Reads a whole body.
struct Body<'a, 's>(&'a mut Request<'s>);

impl Body<'_, '_> {
    fn scalar<E: de::Error>(self, found: Found<'_>) -> Result<Form, E> {
        Err(self.0.context.refuse(Problem::expected("an object or an array", found.to_string())))
    }
}

impl<'de> Visitor<'de> for Body<'_, '_> {
    type Value = Form;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or an array")
    }

    visit_scalars!();

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Form, A::Error> {
        let request = self.0;
        request.context.without_rows = request.batch_transpose && request.batchable;
        request.read_inputs(object, 0)?;
        Ok(if request.context.without_rows { Form::Example } else { Form::Columns })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Form, A::Error> {
        let request = self.0;
        if !request.batchable {
            let name = quoted(&request.signature.name);
            let text = format!(
                "expected an object, got an array; examples need a signature whose every input and output has -1 \
                 as its first dimension, which {name} is not"
            );
            return Err(request.context.refuse(Problem::Other(Code::InvalidArgument, text)));
        }
        request.context.without_rows = true;
        let mut rows = 0;
        loop {
            match list.next_element_seed(Example { request, row: rows }) {
                Ok(Some(())) => rows += 1,
                Ok(None) => return Ok(Form::Examples(rows)),
                Err(error) => {
                    request.context.example = Some(rows);
                    return Err(error);
                }
            }
        }
    }
}

/// Reads one element of an array of examples.
struct Example<'a, 's> {
    request: &'a mut Request<'s>,
    row: usize,
}

impl Example<'_, '_> {
    fn scalar<E: de::Error>(self, found: Found<'_>) -> Result<(), E> {
        Err(self.request.context.refuse(Problem::expected("an object", found.to_string())))
    }
}

impl<'de> DeserializeSeed<'de> for Example<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Example<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    visit_scalars!();

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        self.scalar(Found::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<(), A::Error> {
        self.request.read_inputs(object, self.row)
    }
}

/// Finds the input that a key names.
struct InputName<'a, 's> {
    signature: &'s Signature,
    /// The input most likely to come: bodies mostly keep an order of their own.
    next: usize,
    context: &'a mut Context,
}

impl<'de> DeserializeSeed<'de> for InputName<'_, '_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<usize, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for InputName<'_, '_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of an input")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<usize, E> {
        let inputs = &self.signature.inputs;
        if inputs.get(self.next).is_some_and(|spec| spec.name == name) {
            return Ok(self.next);
        }
        self.signature.input_index(name).ok_or_else(|| {
            let known = if inputs.is_empty() { "none".into() } else { names(inputs.iter()) };
            let text =
                format!("unknown input {}; the inputs of signature {} are {known}", quoted(name), quoted(&self.signature.name));
            self.context.refuse(Problem::Other(Code::InvalidArgument, text))
        })
    }
}

/// Reads the value of one input.
struct InputValue<'a, 's> {
    input: &'a mut Input<'s>,
    context: &'a mut Context,
    start: usize,
}

impl<'de> DeserializeSeed<'de> for InputValue<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        self.input.read(json, self.context, self.start)
    }
}
