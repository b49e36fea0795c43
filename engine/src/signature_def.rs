//! Signatures as a SavedModel declares them: which tensors each input and output is. A ragged or a sparse tensor becomes its parts,
//! and each part is a tensor. Pure; the session looks up the tensors in the graph.

use std::collections::BTreeMap;

use prost::{Message, Oneof};

use crate::dtype::DType;
use crate::feed::FeedShape;
use crate::shape::PartialShape;
use crate::signature::TensorSpec;

/// An input or output as it is declared.
#[derive(Debug)]
pub(crate) struct Declared {
    /// Its name, dtype and shape, as far as they are declared. `tensor` is empty unless it is one tensor.
    pub(crate) spec: TensorSpec,
    /// The tensors in it.
    pub(crate) form: Form,
}

/// The tensors in an input or output.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One tensor of the graph.
    Tensor,
    /// Several tensors of the graph. `kind` says what they are together: `ragged tensor of string`.
    Parts { kind: String, parts: Vec<TensorSpec> },
    /// Something else. The text continues a sentence that begins with its name.
    Unknown(String),
}

/// Reads inputs or outputs, sorted by name.
pub(crate) fn declared(infos: &BTreeMap<String, TensorInfo>) -> Vec<Declared> {
    let mut all: Vec<Declared> = infos.iter().map(|(name, info)| info.declared(name)).collect();
    for declared in &mut all {
        if let Form::Parts { kind, parts } = &declared.form {
            if let Some(part) = parts.iter().find(|part| infos.contains_key(&part.name)) {
                let text =
                    format!("is a {kind}, which is not served: {:?} is declared too, the name of one of its parts", part.name);
                declared.form = Form::Unknown(text);
            }
        }
    }
    all
}

// The fields that are read, numbered as in meta_graph.proto, struct.proto and tensor_shape.proto of tensorflow/core. prost skips all
// others.

/// A signature in a SavedModel's file.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SignatureDef {
    #[prost(btree_map = "string, message", tag = "1")]
    pub(crate) inputs: BTreeMap<String, TensorInfo>,
    #[prost(btree_map = "string, message", tag = "2")]
    pub(crate) outputs: BTreeMap<String, TensorInfo>,
    #[prost(string, tag = "3")]
    pub(crate) method_name: String,
}

/// An input or output in a SavedModel's file.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorInfo {
    #[prost(oneof = "Encoding", tags = "1, 4, 5")]
    pub(crate) encoding: Option<Encoding>,
    #[prost(uint32, tag = "2")]
    pub(crate) dtype: u32,
    #[prost(message, optional, tag = "3")]
    pub(crate) shape: Option<ShapeProto>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(crate) enum Encoding {
    #[prost(string, tag = "1")]
    Name(String),
    #[prost(message, tag = "4")]
    CooSparse(CooSparse),
    #[prost(message, tag = "5")]
    Composite(Composite),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct CooSparse {
    #[prost(string, tag = "1")]
    values: String,
    #[prost(string, tag = "2")]
    indices: String,
    #[prost(string, tag = "3")]
    dense_shape: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Composite {
    #[prost(message, optional, tag = "1")]
    type_spec: Option<TypeSpec>,
    #[prost(message, repeated, tag = "2")]
    components: Vec<TensorInfo>,
}

#[derive(Clone, PartialEq, Message)]
struct TypeSpec {
    #[prost(int32, tag = "1")]
    class: i32,
    #[prost(message, optional, tag = "2")]
    state: Option<State>,
    #[prost(string, tag = "3")]
    class_name: String,
}

/// A `StructuredValue`.
#[derive(Clone, PartialEq, Message)]
struct State {
    #[prost(sint64, optional, tag = "12")]
    number: Option<i64>,
    #[prost(message, optional, tag = "52")]
    tuple: Option<States>,
}

#[derive(Clone, PartialEq, Message)]
struct States {
    #[prost(message, repeated, tag = "1")]
    values: Vec<State>,
}

impl TypeSpec {
    const SPARSE: i32 = 1;
    const RAGGED: i32 = 3;

    /// The number of ragged dimensions, if it is declared. The state of a `tf.RaggedTensorSpec` is shape, dtype, ragged rank, dtype of
    /// the row splits.
    fn ragged_rank(&self) -> Option<i64> {
        self.state.as_ref()?.tuple.as_ref()?.values.get(2)?.number
    }
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ShapeProto {
    #[prost(message, repeated, tag = "2")]
    dims: Vec<Dim>,
    #[prost(bool, tag = "3")]
    unknown_rank: bool,
}

#[derive(Clone, PartialEq, Message)]
struct Dim {
    #[prost(int64, tag = "1")]
    size: i64,
}

impl TensorInfo {
    /// Makes the declaration of one tensor.
    pub(crate) fn tensor(tensor: String, dtype: DType, shape: &PartialShape) -> Self {
        let dim = |dim: &Option<usize>| Dim { size: dim.map_or(-1, |dim| i64::try_from(dim).unwrap_or(i64::MAX)) };
        let dims = shape.dims().unwrap_or_default().iter().map(dim).collect();
        let shape = Some(ShapeProto { dims, unknown_rank: shape.dims().is_none() });
        Self { encoding: Some(Encoding::Name(tensor)), dtype: dtype.number(), shape }
    }

    fn declared(&self, name: &str) -> Declared {
        match &self.encoding {
            Some(Encoding::Name(tensor)) if !tensor.is_empty() => {
                Declared { spec: TensorSpec { tensor: tensor.clone(), ..self.spec(name) }, form: Form::Tensor }
            }
            Some(Encoding::CooSparse(sparse)) => Declared { spec: self.spec(name), form: self.sparse(name, sparse) },
            Some(Encoding::Composite(composite)) => composite.declared(name),
            Some(Encoding::Name(_)) | None => {
                let form = Form::Unknown("names no tensor of the graph, so it is not served".to_owned());
                Declared { spec: self.spec(name), form }
            }
        }
    }

    fn spec(&self, name: &str) -> TensorSpec {
        TensorSpec {
            name: name.to_owned(),
            tensor: String::new(),
            dtype: DType::from_number(self.dtype),
            shape: self.shape.as_ref().map_or(PartialShape::UNKNOWN, ShapeProto::shape),
            feed: FeedShape::ANY,
        }
    }

    /// The three tensors of a sparse one, which declares the dtype of its values and the shape of the dense tensor.
    fn sparse(&self, name: &str, sparse: &CooSparse) -> Form {
        let whole = self.spec(name);
        let rank = whole.shape.dims().map(<[_]>::len);
        let part = |suffix, tensor: &String, dtype, shape: PartialShape| {
            let name = format!("{name}.{suffix}");
            TensorSpec { name, tensor: tensor.clone(), dtype, shape, feed: FeedShape::ANY }
        };
        let parts = vec![
            part(SPARSE_PARTS[0], &sparse.indices, DType::Int64, PartialShape::new([None, rank])),
            part(SPARSE_PARTS[1], &sparse.values, whole.dtype, PartialShape::new([None])),
            part(SPARSE_PARTS[2], &sparse.dense_shape, DType::Int64, PartialShape::new([rank])),
        ];
        Form::Parts { kind: format!("sparse tensor of {}", whole.dtype), parts }
    }
}

/// The parts of a `tf.SparseTensor`, in TensorFlow's order and by its names.
const SPARSE_PARTS: [&str; 3] = ["indices", "values", "dense_shape"];

impl Composite {
    fn declared(&self, name: &str) -> Declared {
        let class = self.type_spec.as_ref().map_or(0, |spec| spec.class);
        let (kind, suffixes, values) = match (class, self.components.len()) {
            (TypeSpec::SPARSE, 3) => ("sparse", SPARSE_PARTS.map(str::to_owned).to_vec(), 1),
            (TypeSpec::RAGGED, count @ 1..) => ("ragged", ragged_parts(count), 0),
            _ => return self.unknown(name),
        };
        let parts = self.components.iter().zip(suffixes).map(|(info, suffix)| info.declared(&format!("{name}.{suffix}")));
        let dtype = DType::from_number(self.components[values].dtype);
        let kind = format!("{kind} tensor of {dtype}");
        let is_tensor = |part: &Declared| part.form == Form::Tensor;
        let (tensors, others): (Vec<Declared>, Vec<Declared>) = parts.partition(is_tensor);
        let form = match (self.lack(), others.first()) {
            (None, None) => Form::Parts { kind, parts: tensors.into_iter().map(|part| part.spec).collect() },
            (None, Some(part)) => Form::Unknown(format!("is a {kind}, which is not served: {:?} is no tensor", part.spec.name)),
            (Some(lack), _) => Form::Unknown(format!("is a {kind}, which is not served: {lack}")),
        };
        Declared { spec: TensorSpec { dtype, ..TensorInfo::default().spec(name) }, form }
    }

    /// Says which parts a ragged tensor lacks. Its values without their row splits would look like whole rows.
    fn lack(&self) -> Option<String> {
        let spec = self.type_spec.as_ref().filter(|spec| spec.class == TypeSpec::RAGGED)?;
        let found = self.components.len().saturating_sub(1);
        let expected = spec.ragged_rank().unwrap_or(found as i64).max(1);
        (expected != found as i64).then(|| format!("expected {expected} tensors of row splits, found {found}"))
    }

    fn unknown(&self, name: &str) -> Declared {
        let class = self.type_spec.as_ref().map_or("", |spec| &spec.class_name);
        let text = format!("is a composite tensor ({class} of {} tensors), which is not served", self.components.len());
        Declared { spec: TensorInfo::default().spec(name), form: Form::Unknown(text) }
    }
}

/// The names of the parts of a `tf.RaggedTensor`: its values, and the row splits of each of its ragged dimensions, the outermost
/// first.
fn ragged_parts(count: usize) -> Vec<String> {
    let splits = match count {
        2 => vec!["row_splits".to_owned()],
        _ => (1..count).map(|dimension| format!("row_splits_{}", dimension - 1)).collect(),
    };
    [vec!["values".to_owned()], splits].concat()
}

impl ShapeProto {
    fn shape(&self) -> PartialShape {
        if self.unknown_rank {
            return PartialShape::UNKNOWN;
        }
        PartialShape::new(self.dims.iter().map(|dim| usize::try_from(dim.size).ok()).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(tensor: &str, dtype: DType) -> TensorInfo {
        TensorInfo::tensor(tensor.into(), dtype, &PartialShape::new([None]))
    }

    fn composite(class: i32, components: Vec<TensorInfo>) -> TensorInfo {
        let type_spec = Some(TypeSpec { class, class_name: "Spec".into(), ..TypeSpec::default() });
        TensorInfo { encoding: Some(Encoding::Composite(Composite { type_spec, components })), ..TensorInfo::default() }
    }

    /// Declares `w` beside others. Gives its kind and its parts, each as `name tensor`, or why it is not served.
    fn read(w: TensorInfo, others: &[&str]) -> Result<(String, Vec<String>), String> {
        let others = others.iter().map(|name| ((*name).to_owned(), named("o:0", DType::Float32)));
        let infos = others.chain([("w".to_owned(), w)]).collect();
        let w = declared(&infos).into_iter().find(|declared| declared.spec.name == "w").unwrap();
        match w.form {
            Form::Tensor => Ok((String::new(), vec![w.spec.tensor])),
            Form::Parts { kind, parts } => Ok((kind, parts.iter().map(|part| format!("{} {}", part.name, part.tensor)).collect())),
            Form::Unknown(reason) => Err(reason),
        }
    }

    #[test]
    fn shapes_are_those_that_are_declared() {
        let sizes = [None, Some(0), Some(3)];
        for shape in [PartialShape::UNKNOWN, PartialShape::new([]), PartialShape::new(sizes)] {
            let infos = BTreeMap::from([("x".to_owned(), TensorInfo::tensor("x:0".into(), DType::Int64, &shape))]);
            let specs: Vec<TensorSpec> = declared(&infos).into_iter().map(|declared| declared.spec).collect();
            assert_eq!(
                specs,
                [TensorSpec { name: "x".into(), tensor: "x:0".into(), dtype: DType::Int64, shape, feed: FeedShape::ANY }]
            );
        }
        // A sparse tensor declares the shape of the dense one.
        let sparse = |shape: &PartialShape| {
            let info = TensorInfo {
                encoding: Some(Encoding::CooSparse(CooSparse::default())),
                ..TensorInfo::tensor(String::new(), DType::Float32, shape)
            };
            match info.declared("x").form {
                Form::Parts { parts, .. } => parts.iter().map(|part| part.shape.to_string()).collect::<Vec<_>>(),
                form @ (Form::Tensor | Form::Unknown(_)) => panic!("{form:?}"),
            }
        };
        assert_eq!(sparse(&PartialShape::new(sizes)), ["[-1, 3]", "[-1]", "[3]"]);
        assert_eq!(sparse(&PartialShape::UNKNOWN), ["[-1, -1]", "[-1]", "[-1]"]);
        // A composite tensor declares neither dtype nor shape of its own. Its values have the dtype.
        let ragged = composite(TypeSpec::RAGGED, vec![named("v:0", DType::String), named("s:0", DType::Int64)]).declared("x").spec;
        assert_eq!((ragged.dtype, ragged.shape, ragged.tensor), (DType::String, PartialShape::UNKNOWN, String::new()));
    }

    #[test]
    fn parts_have_tensorflows_names() {
        let ragged = |splits: usize| {
            let splits = (0..splits).map(|split| named(&format!("s:{split}"), DType::Int64));
            composite(TypeSpec::RAGGED, [named("v:0", DType::String)].into_iter().chain(splits).collect())
        };
        let of_string = "ragged tensor of string".to_owned();
        assert_eq!(read(ragged(1), &[]), Ok((of_string.clone(), vec!["w.values v:0".into(), "w.row_splits s:0".into()])));
        let parts = ["w.values v:0", "w.row_splits_0 s:0", "w.row_splits_1 s:1"].map(str::to_owned).to_vec();
        assert_eq!(read(ragged(2), &[]), Ok((of_string, parts)));
        let parts = ["w.indices i:0", "w.values v:0", "w.dense_shape d:0"].map(str::to_owned).to_vec();
        let sparse = CooSparse { values: "v:0".into(), indices: "i:0".into(), dense_shape: "d:0".into() };
        let encoding = Some(Encoding::CooSparse(sparse));
        let of_float = "sparse tensor of float32".to_owned();
        let coo = TensorInfo { encoding, ..named("", DType::Float32) };
        assert_eq!(read(coo, &[]), Ok((of_float.clone(), parts.clone())));
        let components = vec![named("i:0", DType::Int64), named("v:0", DType::Float32), named("d:0", DType::Int64)];
        assert_eq!(read(composite(TypeSpec::SPARSE, components), &[]), Ok((of_float, parts)));
    }

    #[test]
    fn a_ragged_tensor_without_all_its_row_splits_is_not_served() {
        let read = |rank: Option<i64>, splits: usize| {
            let number = |number| State { number, tuple: None };
            let tuple = Some(States { values: vec![number(None), number(None), number(rank), number(None)] });
            let state = rank.map(|_| State { number: None, tuple });
            let type_spec = Some(TypeSpec { class: TypeSpec::RAGGED, state, ..TypeSpec::default() });
            let components = vec![named("v:0", DType::String); splits + 1];
            let encoding = Some(Encoding::Composite(Composite { type_spec, components }));
            read(TensorInfo { encoding, ..TensorInfo::default() }, &[]).map(|(_, parts)| parts.len())
        };
        let lacks = |expected: usize, found: usize| {
            let text = "is a ragged tensor of string, which is not served";
            Err(format!("{text}: expected {expected} tensors of row splits, found {found}"))
        };
        assert_eq!((read(None, 1), read(None, 2), read(Some(1), 1), read(Some(2), 2)), (Ok(2), Ok(3), Ok(2), Ok(3)));
        assert_eq!((read(None, 0), read(Some(1), 0), read(Some(0), 0)), (lacks(1, 0), lacks(1, 0), lacks(1, 0)));
        assert_eq!((read(Some(2), 1), read(Some(1), 2)), (lacks(2, 1), lacks(1, 2)));
    }

    #[test]
    fn what_has_no_parts_says_what_it_is() {
        let part = || named("v:0", DType::Float32);
        let refused = |w, others: &[&str], expect: &str| {
            let reason = read(w, others).unwrap_err();
            assert!(reason.contains(expect), "{reason}");
        };
        refused(composite(2, vec![part(), part()]), &[], "is a composite tensor (Spec of 2 tensors), which is not served");
        refused(composite(TypeSpec::RAGGED, vec![]), &[], "Spec of 0 tensors");
        refused(composite(TypeSpec::SPARSE, vec![part()]), &[], "Spec of 1 tensors");
        refused(composite(TypeSpec::RAGGED, vec![part(), composite(2, vec![])]), &[], "\"w.row_splits\" is no tensor");
        refused(composite(TypeSpec::RAGGED, vec![part(), part()]), &["w.values"], "\"w.values\" is declared too");
        refused(TensorInfo::default(), &[], "names no tensor of the graph");
        refused(named("", DType::Float32), &[], "names no tensor of the graph");
        assert_eq!(read(part(), &["w.values"]), Ok((String::new(), vec!["v:0".into()])));
    }
}
