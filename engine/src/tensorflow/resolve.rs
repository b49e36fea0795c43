//! Looks up the tensors of a declared signature in its graph. A tensor that cannot be fed or fetched becomes the signature's `unserved`,
//! so that it hurts neither other signatures nor other outputs.

use std::collections::BTreeMap;
use std::mem;

use tensorflow::{Graph, MetaGraphDef, Operation};

use super::dtypes::dtype_of;
use crate::meta_graph::Signatures;
use crate::shape::PartialShape;
use crate::signature::{Composite, Side, Signature, TensorSpec, Unserved};
use crate::signature_def::{declared, Declared, Form, SignatureDef, TensorInfo};

/// An output of an operation.
pub(super) type Place = (Operation, i32);

/// Where the tensor of an output comes from.
pub(super) enum Fetch {
    /// A run computes it.
    Output(Operation, i32),
    /// It is the input of this number. TensorFlow refuses to fetch a tensor that is fed.
    Input(usize),
}

/// A signature with the places of its inputs and outputs, in their order.
pub(super) struct Resolved {
    pub(super) signature: Signature,
    pub(super) feeds: Vec<Place>,
    pub(super) fetches: Vec<Fetch>,
}

impl Resolved {
    /// Takes those outputs out of what is served for which `reason` has a reason. It gets the name of the operation that computes the
    /// output.
    pub(super) fn withdraw(&mut self, reason: impl Fn(&str) -> Option<String>) {
        let outputs = mem::take(&mut self.signature.outputs).into_iter().zip(mem::take(&mut self.fetches));
        for (spec, fetch) in outputs {
            let reason = match fetch {
                Fetch::Output(..) => reason(spec.tensor.split(':').next().unwrap_or_default()),
                Fetch::Input(_) => None,
            };
            if let Some(reason) = reason {
                self.signature.unserved.push(Unserved { side: Side::Output, spec, reason });
            } else {
                self.signature.outputs.push(spec);
                self.fetches.push(fetch);
            }
        }
    }
}

/// Looks up the inputs and outputs of a signature.
pub(super) fn resolve(graph: &Graph, name: String, def: &SignatureDef) -> Resolved {
    let mut signature = Signature { name, method: def.method_name.clone(), ..Signature::default() };
    let (inputs, feeds): (Vec<TensorSpec>, Vec<Place>) =
        resolve_side(graph, Side::Input, &def.inputs, &mut signature).into_iter().unzip();
    let (outputs, fetches): (Vec<TensorSpec>, Vec<Place>) =
        resolve_side(graph, Side::Output, &def.outputs, &mut signature).into_iter().unzip();
    let fetch = |(spec, (operation, index)): (&TensorSpec, Place)| match inputs.iter().position(|input| input.tensor == spec.tensor)
    {
        Some(input) => Fetch::Input(input),
        None => Fetch::Output(operation, index),
    };
    let fetches = outputs.iter().zip(fetches).map(fetch).collect();
    Resolved { signature: Signature { inputs, outputs, ..signature }, feeds, fetches }
}

/// Finds the tensors that are served, sorted by name. Notes composites and all others in `signature`.
fn resolve_side(
    graph: &Graph,
    side: Side,
    infos: &BTreeMap<String, TensorInfo>,
    signature: &mut Signature,
) -> Vec<(TensorSpec, Place)> {
    let mut tensors = Vec::new();
    for Declared { spec, form } in declared(infos) {
        let found = match form {
            Form::Tensor => find(graph, spec.clone()).map(|tensor| tensors.push(tensor)),
            Form::Parts { kind, parts } => {
                let names = parts.iter().map(|part| part.name.clone()).collect();
                let found: Result<Vec<_>, String> = parts.into_iter().map(|part| find(graph, part)).collect();
                match found {
                    Ok(found) => {
                        signature.composites.push(Composite { side, name: spec.name.clone(), kind, parts: names });
                        tensors.extend(found);
                        Ok(())
                    }
                    Err(reason) => Err(format!("is a {kind}, which is not served: a part of it {reason}")),
                }
            }
            Form::Unknown(reason) => Err(reason),
        };
        if let Err(reason) = found {
            signature.unserved.push(Unserved { side, spec, reason });
        }
    }
    tensors.sort_by(|(left, _), (right, _)| left.name.cmp(&right.name));
    match side {
        Side::Input => fed_once(tensors, signature),
        Side::Output => tensors,
    }
}

/// Takes out inputs whose tensor an earlier input feeds too: TensorFlow refuses to feed a tensor twice.
fn fed_once(tensors: Vec<(TensorSpec, Place)>, signature: &mut Signature) -> Vec<(TensorSpec, Place)> {
    let mut once: Vec<(TensorSpec, Place)> = Vec::new();
    for (spec, place) in tensors {
        if let Some((first, _)) = once.iter().find(|(first, _)| first.tensor == spec.tensor) {
            let reason = format!("names the tensor {:?}, and so does input {:?}: a run cannot take both", spec.tensor, first.name);
            signature.unserved.push(Unserved { side: Side::Input, spec, reason });
        } else {
            once.push((spec, place));
        }
    }
    once
}

/// Finds a tensor in the graph.
///
/// # Errors
/// The reason why it is not served.
fn find(graph: &Graph, mut spec: TensorSpec) -> Result<(TensorSpec, Place), String> {
    if !spec.dtype.is_served() {
        return Err(format!("is {}, which is not served", spec.dtype));
    }
    let (name, index) = spec.tensor.split_once(':').unwrap_or((&spec.tensor, "0"));
    let no_name = || format!("names {:?}, which is no tensor (expected `operation:number`)", spec.tensor);
    let index: i32 = index.parse().map_err(|_| no_name())?;
    let operation = graph.operation_by_name(name).map_err(|_| no_name())?;
    let operation = operation.ok_or_else(|| format!("names the operation {name:?}, which is not in the graph"))?;
    let outputs = operation.num_outputs();
    let Some(output) = usize::try_from(index).ok().filter(|output| *output < outputs) else {
        return Err(format!("names output {index} of the operation {name:?}, which has {outputs} outputs"));
    };
    let dtype = dtype_of(operation.output_type(output));
    if dtype != spec.dtype {
        return Err(format!("is declared as {}, and its tensor {:?} in the graph is {dtype}", spec.dtype, spec.tensor));
    }
    spec.tensor = format!("{name}:{index}");
    Ok((spec, (operation, index)))
}

/// The signatures as the binding of TensorFlow has read them. It knows no composite tensors.
pub(super) fn from_binding(graph: &MetaGraphDef) -> Signatures {
    let info = |(name, info): (&String, &tensorflow::TensorInfo)| {
        let shape = partial_shape(info.shape().clone());
        let tensor = if info.name().name.is_empty() { String::new() } else { info.name().to_string() };
        (name.clone(), TensorInfo::tensor(tensor, dtype_of(info.dtype()), &shape))
    };
    let signature = |(name, def): (&String, &tensorflow::SignatureDef)| {
        let inputs = def.inputs().iter().map(info).collect();
        let outputs = def.outputs().iter().map(info).collect();
        (name.clone(), SignatureDef { inputs, outputs, method_name: def.method_name().to_owned() })
    };
    graph.signatures().iter().map(signature).collect()
}

/// A shape of the binding.
pub(super) fn partial_shape(shape: tensorflow::Shape) -> PartialShape {
    let dims: Option<Vec<Option<i64>>> = shape.into();
    dims.map_or(PartialShape::UNKNOWN, |dims| {
        PartialShape::new(dims.into_iter().map(|dim| dim.and_then(|dim| usize::try_from(dim).ok())).collect::<Vec<_>>())
    })
}
