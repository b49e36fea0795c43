//! Signatures: the inputs and outputs of a method of a model.

use std::fmt;

use crate::dtype::DType;
use crate::error::{Code, Error};
use crate::feed::{self, FeedShape};
use crate::shape::PartialShape;

/// Why a signature without outputs is not served.
const NO_OUTPUTS: &str = "has no outputs, so it cannot run";

/// One input or output of a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// The name callers use.
    pub name: String,
    /// The name of the tensor in the graph, such as `x:0`.
    pub tensor: String,
    /// The element type.
    pub dtype: DType,
    /// The shape that the signature declares.
    pub shape: PartialShape,
    /// The shapes that may be fed, whatever the signature declares. Meaningless for an output.
    pub feed: FeedShape,
}

/// Whether something is an input or an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// An input.
    Input,
    /// An output.
    Output,
}

/// A ragged or sparse input or output. Its parts are inputs or outputs of the signature by themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Composite {
    /// Which of the two it is.
    pub side: Side,
    /// The name that the SavedModel declares.
    pub name: String,
    /// Its kind in words: `ragged tensor of string`.
    pub kind: String,
    /// The names of its parts: `words.values`, `words.row_splits`.
    pub parts: Vec<String>,
}

/// An input or output that the SavedModel declares and that is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unserved {
    /// Which of the two it is.
    pub side: Side,
    /// The declaration of the SavedModel. It may be no single tensor: then `tensor` is empty.
    pub spec: TensorSpec,
    /// Why it is not served. It continues a sentence that begins with the name.
    pub reason: String,
}

/// One method of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signature {
    /// The signature's key in the SavedModel, such as `serving_default`.
    pub name: String,
    /// TensorFlow's method name, such as `tensorflow/serving/predict`.
    pub method: String,
    /// The inputs that are served, sorted by name. Requests hold their tensors in this order.
    pub inputs: Vec<TensorSpec>,
    /// The outputs that are served, sorted by name. A run computes these, and answers hold their tensors in this order.
    pub outputs: Vec<TensorSpec>,
    /// The inputs and outputs that are declared as one and are served as several.
    pub composites: Vec<Composite>,
    /// The inputs and outputs that are not served.
    pub unserved: Vec<Unserved>,
}

impl Signature {
    /// Whether several requests can share a run: the first dimension of every input and output counts rows. That of a part of a
    /// ragged or sparse tensor counts something else.
    #[must_use]
    pub fn is_batchable(&self) -> bool {
        let has_rows = |spec: &TensorSpec| spec.shape.has_rows();
        let tensors = || self.inputs.iter().chain(&self.outputs);
        !self.inputs.is_empty() && self.composites.is_empty() && tensors().all(has_rows) && !self.may_take_parts()
    }

    /// Checks that every input is served, and every output of `wanted`. `None` stands for all outputs. At least one output must be
    /// served, whatever is wanted: TensorFlow refuses to run nothing.
    ///
    /// # Errors
    /// `Unimplemented`, which says what the first one is that is not served.
    pub fn check_served(&self, wanted: Option<&dyn Fn(&str) -> bool>) -> Result<(), Error> {
        let is_needed = |unserved: &&Unserved| match unserved.side {
            Side::Input => true,
            Side::Output => wanted.is_none_or(|wanted| wanted(&unserved.spec.name)),
        };
        let runs_nothing = self.outputs.is_empty();
        let first = self.unserved.iter().find(is_needed).or(self.unserved.first().filter(|_| runs_nothing));
        match (first, runs_nothing) {
            (Some(unserved), _) => Err(Error::new(Code::Unimplemented, unserved.to_string())),
            (None, true) => Err(Error::new(Code::Unimplemented, format!("signature {:?} {NO_OUTPUTS}", self.name))),
            (None, false) => Ok(()),
        }
    }

    /// Why the signature as a whole is not served, if it is not. It continues a sentence that begins with its name.
    #[must_use]
    pub fn fault(&self) -> Option<&'static str> {
        self.described(Side::Output).next().is_none().then_some(NO_OUTPUTS)
    }

    /// An input or output that is not served, although `before` served it or could do without it.
    #[must_use]
    pub fn loses(&self, before: &Self) -> Option<&Unserved> {
        let runs = before.check_served(Some(&|_| false)).is_ok();
        let served_by = |unserved: &&Unserved| match unserved.side {
            Side::Input => runs,
            Side::Output => runs && before.serves_output(&unserved.spec.name),
        };
        self.unserved.iter().find(served_by)
    }

    fn serves_output(&self, name: &str) -> bool {
        let is_whole = |whole: &Composite| whole.side == Side::Output && whole.name == name;
        self.outputs.iter().any(|spec| spec.name == name) || self.composites.iter().any(is_whole)
    }

    /// The tensors that are declared on a side: those that are served, and then the others.
    pub fn described(&self, side: Side) -> impl Iterator<Item = &TensorSpec> {
        let served = match side {
            Side::Input => &self.inputs,
            Side::Output => &self.outputs,
        };
        served.iter().chain(self.unserved.iter().filter(move |unserved| unserved.side == side).map(|unserved| &unserved.spec))
    }

    /// The ragged or sparse tensor of which an input or output is a part.
    #[must_use]
    pub fn whole(&self, side: Side, part: &str) -> Option<&Composite> {
        self.composites.iter().find(|whole| whole.side == side && whole.parts.iter().any(|name| name == part))
    }

    /// Checks that tensors of these dimensions, one for each input in order, may be fed together.
    ///
    /// # Errors
    /// `InvalidArgument`, which names the first input that may not be fed.
    pub fn check_feeds<'a>(&'a self, dims: impl Iterator<Item = &'a [usize]>) -> Result<(), Error> {
        feed::check_feeds(self.inputs.iter().zip(dims).map(|(spec, dims)| (spec.name.as_str(), &spec.feed, dims)))
    }

    /// The position of the input called `name`.
    #[must_use]
    pub fn input_index(&self, name: &str) -> Option<usize> {
        self.inputs.iter().position(|spec| spec.name == name)
    }

    /// Whether two inputs may be the parts of one ragged or sparse tensor. TensorFlow 2 declares the parts of an input `x` as inputs
    /// `x`, `x_1`, `x_2`, behind other inputs of a list `x_3`, `x_4`, and nothing else tells that they are parts. Row splits and dense
    /// shapes are lists of integers.
    pub(crate) fn may_take_parts(&self) -> bool {
        let is_integer_list = |spec: &TensorSpec| {
            matches!(spec.dtype, DType::Int64 | DType::Int32) && spec.shape.dims().is_some_and(|dims| dims.len() == 1)
        };
        let is_later_part = |spec: &&TensorSpec| {
            let (first, number) = spec.name.rsplit_once('_').unwrap_or_default();
            number.parse::<u32>().is_ok() && is_integer_list(spec) && self.input_index(first).is_some()
        };
        self.inputs.iter().any(|spec| is_later_part(&spec))
    }
}

impl fmt::Display for Unserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::Input => "input",
            Side::Output => "output",
        };
        write!(f, "{side} {:?} {}", self.spec.name, self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Demands;

    fn spec(shape: PartialShape) -> TensorSpec {
        TensorSpec { name: "x".into(), tensor: "x:0".into(), dtype: DType::Float32, shape, feed: FeedShape::ANY }
    }

    /// A signature of inputs with these names, and the output `y`.
    fn signature(inputs: &[&str]) -> Signature {
        let input = |name: &&str| TensorSpec { name: (*name).into(), ..spec(PartialShape::new([None, Some(2)])) };
        let outputs = vec![TensorSpec { name: "y".into(), ..spec(PartialShape::UNKNOWN) }];
        Signature { name: "s".into(), inputs: inputs.iter().map(input).collect(), outputs, ..Signature::default() }
    }

    #[test]
    fn inputs_are_found_by_name() {
        let signature = signature(&["a", "b", "c"]);
        assert_eq!(["a", "b", "c", "y"].map(|name| signature.input_index(name)), [Some(0), Some(1), Some(2), None]);
    }

    #[test]
    fn what_is_declared_on_a_side_is_described_there() {
        let mut signature = signature(&["a", "b"]);
        for (side, name) in [(Side::Input, "c"), (Side::Output, "z")] {
            let spec = TensorSpec { name: name.into(), ..spec(PartialShape::UNKNOWN) };
            signature.unserved.push(Unserved { side, spec, reason: "is not served".into() });
        }
        let described = |side| signature.described(side).map(|spec| spec.name.as_str()).collect::<Vec<_>>();
        assert_eq!(described(Side::Input), ["a", "b", "c"]);
        assert_eq!(described(Side::Output), ["y", "z"]);
    }

    #[test]
    fn only_what_is_asked_for_has_to_be_served() {
        let unserved = |side, name: &str, reason: &str| {
            let spec = TensorSpec { name: name.into(), ..spec(PartialShape::UNKNOWN) };
            Unserved { side, spec, reason: reason.into() }
        };
        let mut signature = signature(&["a"]);
        let check = |signature: &Signature, wanted: &str| signature.check_served(Some(&|name| name == wanted));
        assert_eq!(signature.check_served(None), Ok(()));
        signature.unserved.push(unserved(Side::Output, "z", "is quint8, which is not served"));
        let error = Error::new(Code::Unimplemented, "output \"z\" is quint8, which is not served");
        assert_eq!(signature.check_served(None), Err(error.clone()));
        assert_eq!(check(&signature, "z"), Err(error));
        assert_eq!(check(&signature, "y"), Ok(()));
        signature.unserved.push(unserved(Side::Input, "b", "is variant, which is not served"));
        assert!(check(&signature, "y").unwrap_err().message.starts_with("input \"b\" is variant"), "a run needs all inputs");
    }

    #[test]
    fn a_signature_that_would_run_nothing_is_not_served() {
        let mut signature = signature(&["a"]);
        let z = Unserved { side: Side::Output, spec: spec(PartialShape::UNKNOWN), reason: "is variant".into() };
        signature.unserved.push(Unserved { spec: TensorSpec { name: "z".into(), ..z.spec.clone() }, ..z.clone() });
        let check = |signature: &Signature| signature.check_served(Some(&|_| false)).map_err(|error| error.message);
        assert_eq!((check(&signature), signature.fault()), (Ok(()), None));
        signature.outputs.clear();
        assert_eq!((check(&signature), signature.fault()), (Err("output \"z\" is variant".into()), None));
        signature.unserved.clear();
        assert_eq!(check(&signature), Err("signature \"s\" has no outputs, so it cannot run".into()));
        assert_eq!(signature.fault(), Some("has no outputs, so it cannot run"));
    }

    #[test]
    fn what_was_served_before_is_lost() {
        let with = |side, name: &str| {
            let spec = TensorSpec { name: name.into(), ..spec(PartialShape::UNKNOWN) };
            let unserved = vec![Unserved { side, spec, reason: "is variant".into() }];
            Signature { unserved, ..signature(&["a"]) }
        };
        let lost = |new: &Signature, old: &Signature| new.loses(old).map(|unserved| unserved.spec.name.clone());
        let (whole, y, z, b) = (signature(&["a"]), with(Side::Output, "y"), with(Side::Output, "z"), with(Side::Input, "b"));
        assert_eq!(lost(&whole, &z), None);
        assert_eq!(lost(&z, &whole), None, "nobody had it");
        assert_eq!(lost(&y, &whole), Some("y".into()));
        assert_eq!(lost(&b, &whole), Some("b".into()), "a run needs all inputs");
        assert_eq!(lost(&y, &b), None, "it did not run");
        let parts = vec!["y.values".to_owned()];
        let ragged = Composite { side: Side::Output, name: "z".into(), kind: String::new(), parts };
        assert_eq!(lost(&z, &Signature { composites: vec![ragged], ..whole }), Some("z".into()));
    }

    #[test]
    fn what_may_be_a_part_is_never_a_row() {
        let rows = |name: &str, dtype| TensorSpec { name: name.into(), dtype, ..spec(PartialShape::new([None])) };
        let of = |inputs: &[(&str, DType)]| {
            let inputs = inputs.iter().map(|(name, dtype)| rows(name, *dtype)).collect();
            Signature { inputs, outputs: vec![rows("y", DType::Float32)], ..Signature::default() }
        };
        let (float, int) = (DType::Float32, DType::Int64);
        assert!(!of(&[("x", float), ("x_1", int)]).is_batchable(), "a ragged tensor, as TensorFlow 2 declares it");
        assert!(!of(&[("x", float), ("x_1", int), ("x_2", int)]).is_batchable(), "and one of two ragged dimensions");
        assert!(!of(&[("x", int), ("x_1", float), ("x_2", int)]).is_batchable(), "a sparse tensor");
        assert!(!of(&[("x", float), ("x_1", float), ("x_2", float), ("x_3", int)]).is_batchable(), "a ragged tensor behind others");
        assert!(of(&[("x", float), ("x_1", float)]).is_batchable());
        assert!(of(&[("x", float), ("x_y", int)]).is_batchable());
        assert!(of(&[("x", float), ("z_1", int)]).is_batchable());
        let mut composite = of(&[("x.values", float), ("x.row_splits", int)]);
        assert!(composite.is_batchable());
        let parts = composite.inputs.iter().map(|spec| spec.name.clone()).collect();
        composite.composites = vec![Composite { side: Side::Input, name: "x".into(), kind: String::new(), parts }];
        assert!(!composite.is_batchable());
        assert_eq!(composite.whole(Side::Input, "x.values").unwrap().name, "x");
        assert_eq!(composite.whole(Side::Output, "x.values"), None);
        assert_eq!(composite.whole(Side::Input, "y"), None);
    }

    #[test]
    fn feeds_are_checked_by_the_shape_of_their_input() {
        let mut signature = signature(&["a", "b"]);
        signature.inputs[1].feed = FeedShape::new(signature.inputs[1].shape.clone(), Demands::UNKNOWN, false);
        let check = |dims: [&[usize]; 2]| signature.check_feeds(dims.into_iter());
        assert_eq!(check([&[3], &[3, 2]]), Ok(()));
        assert!(check([&[3], &[3, 1]]).unwrap_err().message.contains("input \"b\": expected shape [-1, 2]"));
    }

    #[test]
    fn batchable_needs_rows_everywhere() {
        let rows = || spec(PartialShape::new([None, Some(2)]));
        let batchable = |inputs, outputs| Signature { inputs, outputs, ..Signature::default() }.is_batchable();
        assert!(batchable(vec![rows(), rows()], vec![rows()]));
        assert!(!batchable(vec![rows()], vec![spec(PartialShape::new([]))]), "scalar output");
        assert!(!batchable(vec![rows()], vec![spec(PartialShape::UNKNOWN)]), "unknown rank");
        assert!(!batchable(vec![spec(PartialShape::new([Some(4)]))], vec![rows()]), "fixed rows");
        assert!(!batchable(vec![], vec![rows()]), "nothing to count rows by");
    }
}
