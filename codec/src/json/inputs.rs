//! The inputs of a signature while a body is read: which input a key names, which are still missing, and which value was refused.
//!
//! Every dialect reads its inputs through [`Inputs`]; the form of a body around them is the dialect's own.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use tfweb_engine::{quoted, Code, DType, Error, Signature, Tensor, TensorSpec};

use super::context::{Context, Problem};
use super::found::Found;
use super::input::Input;
use super::rules::ReadRules;
use super::scope::visit_scalars;

/// How many inputs an error lists at most.
const NAMES_MAX: usize = 32;

/// A string element whose bytes a URL leads to. It is empty until they are fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingUrl {
    /// The input, by its position in the signature.
    pub input: usize,
    /// The element, counted through the whole tensor.
    pub element: usize,
    /// The URL as the caller wrote it.
    pub url: String,
}

/// The treatment of keys that name no input, and of keys that name an input a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherKeys {
    /// The body is refused.
    Refuse,
    /// They are skipped, so that of two equal keys the first counts.
    Skip,
}

/// The inputs of a signature while a body is read, by the rules `R` of its dialect.
pub struct Inputs<'s, R> {
    signature: &'s Signature,
    inputs: Vec<Input<'s, R>>,
    context: Context,
}

impl<'s, R: ReadRules> Inputs<'s, R> {
    /// Starts on a body of `body_bytes` bytes.
    ///
    /// # Errors
    /// `Unimplemented` naming an input whose dtype the dialect has no form for.
    pub fn new(signature: &'s Signature, rules: R, body_bytes: usize) -> Result<Self, Error> {
        let input = |spec| Input::new(spec, rules).ok_or_else(|| unserved(spec));
        let inputs = signature.inputs.iter().map(input).collect::<Result<_, Error>>()?;
        Ok(Self { signature, inputs, context: Context::new(body_bytes) })
    }

    /// Reads every value from here on as one row: an example's own value, without the outer dimension.
    pub fn expect_rows(&mut self) {
        self.context.without_rows = true;
    }

    /// A reader of an object that holds a value for each input. `earlier` such objects came before it.
    pub fn named(&mut self, earlier: usize, other_keys: OtherKeys) -> Named<'_, 's, R> {
        Named { inputs: self, earlier, other_keys }
    }

    /// A reader of the next value of the first input, for bodies that name none.
    ///
    /// # Panics
    /// If the signature has no inputs.
    pub fn first(&mut self) -> OneValue<'_, 's, R> {
        self.value_of(0)
    }

    /// Notes the example in which reading stopped.
    pub fn stopped_in_example(&mut self, example: usize) {
        self.context.example = Some(example);
    }

    /// Refuses a value outside of the inputs where another form is expected, and gives the error that ends the reading.
    pub fn refuse_form<E: de::Error>(&mut self, expected: &str, found: Found<'_>) -> E {
        self.context.refuse(Problem::expected(expected, found.to_string()))
    }

    /// Refuses the body for the reason in `text`, and gives the error that ends the reading.
    pub fn refuse<E: de::Error>(&mut self, text: String) -> E {
        self.context.refuse(Problem::Other(Code::InvalidArgument, text))
    }

    /// The error to answer with, after serde stopped with `error` while it read `body`.
    #[must_use]
    pub fn into_error(self, error: &serde_json::Error, body: &[u8]) -> Error {
        self.context.into_error(error, body, self.signature)
    }

    /// Makes one tensor for each input, in the signature's order; `rows` where each value was a row. Also gives the elements that
    /// are still to be fetched, sorted by input and element.
    #[must_use]
    pub fn finish(mut self, rows: Option<usize>) -> (Vec<Tensor>, Vec<PendingUrl>) {
        let of_input = |(input, read): (usize, &mut Input<'_, R>)| {
            read.take_urls().into_iter().map(move |(element, url)| PendingUrl { input, element, url })
        };
        let urls = if R::URLS { self.inputs.iter_mut().enumerate().flat_map(of_input).collect() } else { Vec::new() };
        (self.inputs.into_iter().map(|input| input.into_tensor(rows)).collect(), urls)
    }

    fn value_of(&mut self, index: usize) -> OneValue<'_, 's, R> {
        let start = usize::from(self.context.without_rows);
        OneValue { input: &mut self.inputs[index], context: &mut self.context, start }
    }

    fn check_all_given<E: de::Error>(&mut self, earlier: usize) -> Result<(), E> {
        let missing = || self.inputs.iter().zip(&self.signature.inputs).filter(|(input, _)| input.values_read == earlier);
        let count = missing().count();
        if count == 0 {
            return Ok(());
        }
        let plural = if count == 1 { "" } else { "s" };
        let names = names(missing().map(|(_, spec)| spec));
        Err(self.refuse(format!("missing input{plural} {names} of signature {}", quoted(&self.signature.name))))
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

fn names<'s>(specs: impl Iterator<Item = &'s TensorSpec>) -> String {
    let mut names: Vec<String> = specs.take(NAMES_MAX + 1).map(|spec| quoted(&spec.name)).collect();
    if names.len() > NAMES_MAX {
        names[NAMES_MAX] = "…".into();
    }
    names.join(", ")
}

/// Reads an object that holds a value for each input, and refuses every other value.
pub struct Named<'a, 's, R> {
    inputs: &'a mut Inputs<'s, R>,
    earlier: usize,
    other_keys: OtherKeys,
}

impl<R: ReadRules> Named<'_, '_, R> {
    fn scalar<E: de::Error>(self, found: Found<'_>) -> Result<(), E> {
        Err(self.inputs.refuse_form("an object", found))
    }
}

impl<'de, R: ReadRules> DeserializeSeed<'de> for Named<'_, '_, R> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de, R: ReadRules> Visitor<'de> for Named<'_, '_, R> {
    type Value = ();

    visit_scalars!();

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        self.scalar(Found::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let Self { inputs, earlier, other_keys } = self;
        let signature = inputs.signature;
        let mut next = 0;
        while let Some(index) = object.next_key_seed(InputName { signature, next, other_keys, context: &mut inputs.context })? {
            let Some(index) = index.filter(|&index| other_keys == OtherKeys::Refuse || inputs.inputs[index].values_read == earlier)
            else {
                object.next_value::<de::IgnoredAny>()?;
                continue;
            };
            if inputs.inputs[index].values_read > earlier {
                return Err(inputs.refuse(format!("input {} is given twice", quoted(&signature.inputs[index].name))));
            }
            if let Err(error) = object.next_value_seed(inputs.value_of(index)) {
                inputs.context.input = Some(index);
                return Err(error);
            }
            next = index + 1;
        }
        inputs.check_all_given(earlier)
    }
}

/// Finds the input that a key names; `None` for another key, where those are skipped.
struct InputName<'a, 's> {
    signature: &'s Signature,
    /// The most likely input: most bodies keep one order in all their objects.
    next: usize,
    other_keys: OtherKeys,
    context: &'a mut Context,
}

impl<'de> DeserializeSeed<'de> for InputName<'_, '_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for InputName<'_, '_> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of an input")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
        let inputs = &self.signature.inputs;
        if inputs.get(self.next).is_some_and(|spec| spec.name == name) {
            return Ok(Some(self.next));
        }
        let found = self.signature.input_index(name);
        if found.is_some() || self.other_keys == OtherKeys::Skip {
            return Ok(found);
        }
        let known = if inputs.is_empty() { "none".into() } else { names(inputs.iter()) };
        let signature = quoted(&self.signature.name);
        let text = format!("unknown input {}; the inputs of signature {signature} are {known}", quoted(name));
        Err(self.context.refuse(Problem::Other(Code::InvalidArgument, text)))
    }
}

/// Reads one value of one input.
pub struct OneValue<'a, 's, R> {
    input: &'a mut Input<'s, R>,
    context: &'a mut Context,
    start: usize,
}

impl<'de, R: ReadRules> DeserializeSeed<'de> for OneValue<'_, '_, R> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        self.input.read(json, self.context, self.start)
    }
}
