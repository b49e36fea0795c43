//! Follows the rows of a run through the graph, to find whether each row of the outputs depends on that row of the inputs alone.

use std::collections::HashMap;

use super::demands::Graph;
use super::facts::Sizes;
use super::nodes::{Body, Function, Node};
use super::row_rules::kind_of;
use super::values::{Kind, Value};
use crate::rows::Rows;

/// The most nodes that are looked at for one signature. A function is looked at for each call, and calls may nest.
const NODES_MAX: usize = 1 << 18;
/// The deepest nest of calls that is followed.
const CALLS_MAX: usize = 32;

/// A tensor of the graph: the name of its operation, and the number of the output.
pub(crate) type Place = (String, usize);

/// The outputs of the nodes that were looked at so far. One value stands for all outputs of a node.
type Values<'a> = HashMap<&'a str, Vec<Value>>;

/// Follows rows through the graph.
struct Walk<'g> {
    functions: &'g HashMap<String, Function>,
    nodes_left: usize,
}

impl Graph {
    /// Whether the rows of `feeds`, each with the shape that the signature declares, stay apart on their way to `fetches`. `None` where
    /// the graph does not tell.
    pub(crate) fn rows(&self, feeds: &[(Place, Sizes)], fetches: &[Place]) -> Option<Rows> {
        let mut values = Values::new();
        for ((name, output), sizes) in feeds {
            let outputs = values.entry(name.as_str()).or_default();
            // Never one value, which would stand for all outputs.
            outputs.resize(outputs.len().max(output + 2), Value::UNKNOWN);
            outputs[*output] = Value { kind: Kind::Rows, shape: Some(sizes.clone()), integers: None };
        }
        let fetches: Vec<(&str, String)> = fetches.iter().map(|(name, output)| (name.as_str(), output.to_string())).collect();
        let fetches: Vec<(&str, &str)> = fetches.iter().map(|(name, place)| (*name, place.as_str())).collect();
        let mut walk = Walk { functions: &self.functions, nodes_left: NODES_MAX };
        let kinds: Vec<Kind> = walk.results(&self.main, values, &fetches, 0).into_iter().map(|value| value.kind).collect();
        let mixed = kinds.iter().find_map(Kind::mixed);
        match mixed {
            Some(operation) => Some(Rows::Dependent(format!("its operation {operation} works on all rows together"))),
            None => kinds.iter().all(|kind| *kind == Kind::Rows).then_some(Rows::Independent),
        }
    }
}

impl<'g> Walk<'g> {
    /// Finds the values at `places` of a body, from those that are known.
    fn results<'a>(&mut self, body: &'a Body, mut values: Values<'a>, places: &[(&'a str, &str)], depth: usize) -> Vec<Value>
    where
        'g: 'a,
    {
        // Without recursion: a graph may be a chain of many thousand nodes.
        let mut waiting: Vec<(&str, bool)> = places.iter().map(|(name, _)| (*name, false)).collect();
        while let Some((name, has_inputs)) = waiting.pop() {
            let Some(node) = body.node(name).filter(|_| !values.contains_key(name) || has_inputs) else { continue };
            if has_inputs {
                let inputs: Vec<Value> =
                    node.inputs.iter().zip(&node.places).map(|(name, place)| at(body, &values, name, place)).collect();
                let outputs = self.outputs(node, &inputs, depth);
                values.insert(name, outputs);
            } else {
                // A loop of TensorFlow 1 comes back to a node that waits for itself.
                values.insert(name, vec![Value::UNKNOWN]);
                waiting.push((name, true));
                waiting.extend(
                    node.inputs.iter().filter(|name| !values.contains_key(name.as_str())).map(|name| (name.as_str(), false)),
                );
            }
        }
        places.iter().map(|(name, place)| at(body, &values, name, place)).collect()
    }

    /// The outputs of a node.
    fn outputs(&mut self, node: &Node, inputs: &[Value], depth: usize) -> Vec<Value> {
        if self.nodes_left == 0 {
            return vec![Value::UNKNOWN];
        }
        self.nodes_left -= 1;
        let called = node.function.as_deref().filter(|_| is_call(&node.op)).unwrap_or(&node.op);
        if let Some(function) = self.functions.get(called) {
            return self.call(function, inputs, depth);
        }
        if node.op == "IdentityN" {
            return inputs.to_vec();
        }
        let facts = &node.facts;
        let is_source = matches!(node.op.as_str(), "Placeholder" | "Arg" | "_Arg");
        if inputs.iter().all(Value::is_same) && !is_source {
            let shape = facts.shape.clone().or_else(|| inputs.first().filter(|_| keeps_shape(&node.op))?.shape.clone());
            let integers = facts.integers.clone().or_else(|| inputs.first().filter(|_| keeps_shape(&node.op))?.integers.clone());
            let same = |shape: Option<Sizes>| Value { kind: Kind::Same, shape, integers: integers.clone() };
            let inferred = facts.shapes.iter().map(|inferred| same(inferred.clone().or_else(|| shape.clone()))).collect::<Vec<_>>();
            return if inferred.is_empty() { vec![same(shape)] } else { inferred };
        }
        let count = facts.shapes.len().max(1);
        let output = |output: usize| {
            let shape = facts.shapes.get(output).cloned().flatten();
            let kind = kind_of(&node.op, facts, inputs, shape.as_deref());
            let shape = shape.or_else(|| inputs.first().filter(|_| keeps_shape(&node.op))?.shape.clone());
            Value { kind, shape, integers: None }
        };
        (0..count).map(output).collect()
    }

    /// The outputs of a call.
    fn call(&mut self, function: &'g Function, inputs: &[Value], depth: usize) -> Vec<Value> {
        if depth == CALLS_MAX {
            return vec![Value::UNKNOWN];
        }
        let arguments = function.arguments.iter().map(String::as_str).zip(inputs.iter().map(|value| vec![value.clone()]));
        let results: Vec<(&str, &str)> = function.results.iter().map(|(name, place)| (name.as_str(), place.as_str())).collect();
        self.results(&function.body, arguments.collect(), &results, depth + 1)
    }
}

fn is_call(op: &str) -> bool {
    matches!(op, "PartitionedCall" | "StatefulPartitionedCall")
}

/// Whether the output has the shape of the first input.
fn keeps_shape(op: &str) -> bool {
    matches!(op, "Identity" | "ReadVariableOp" | "StopGradient" | "Cast" | "EnsureShape")
}

/// The value of an output of a node, or of an argument.
fn at(body: &Body, values: &Values<'_>, name: &str, place: &str) -> Value {
    let Some(outputs) = values.get(name) else { return Value::UNKNOWN };
    let Some(index) = body.node(name).map_or(Some(0), |node| output_index(node, place)) else { return Value::UNKNOWN };
    match (outputs.as_slice(), outputs.get(index)) {
        (_, Some(value)) => value.clone(),
        ([only], None) => Value { shape: None, ..only.clone() },
        _ => Value::UNKNOWN,
    }
}

/// The number of the output at a place, such as `1` or `values:0`. `None` if it is none of those that rules speak of.
fn output_index(node: &Node, place: &str) -> Option<usize> {
    let Some((name, number)) = place.split_once(':') else { return if place.is_empty() { Some(0) } else { place.parse().ok() } };
    let number: usize = number.parse().ok()?;
    match (node.op.as_str(), name) {
        ("FusedBatchNorm" | "FusedBatchNormV2" | "FusedBatchNormV3", "y") | ("TopKV2", "values") => Some(0),
        ("FusedBatchNorm" | "FusedBatchNormV2" | "FusedBatchNormV3", _) => None,
        ("TopKV2", _) | ("Unique" | "UniqueV2" | "UniqueWithCounts", "idx") => Some(1),
        ("ParseExampleV2", "dense_values") => {
            let sparse = usize::try_from(node.facts.number("num_sparse").unwrap_or(0)).ok()?;
            Some(3 * sparse + number)
        }
        ("ParseExampleV2", _) => None,
        _ => Some(number),
    }
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
