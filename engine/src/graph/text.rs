//! Graphs written as text, for tests, with a line for each node: `name = Op(input, input)`. The operation of a call is
//! `PartitionedCall:function`, and that of a node with a shared name is `VarHandleOp@name`.

use prost::Message;

use super::demands::Graph;
use super::proto::{ArgDef, AttrValue, FunctionDef, FunctionDefLibrary, GraphDef, NameAttrList, NodeDef, OpDef};

/// Makes a graph of nodes and functions.
pub(super) fn graph(main: &str, functions: &[(&str, &str)]) -> Graph {
    let library = FunctionDefLibrary { functions: functions.iter().map(function).collect() };
    let bytes = GraphDef { nodes: nodes(main), library: Some(library) }.encode_to_vec();
    Graph::parse(&bytes).unwrap()
}

pub(super) fn call_of(name: &str) -> AttrValue {
    AttrValue { function: Some(NameAttrList { name: name.into(), ..NameAttrList::default() }), ..AttrValue::default() }
}

pub(super) fn node(line: &str) -> NodeDef {
    let (name, call) = line.split_once(" = ").unwrap();
    let (op, inputs) = call.trim_end_matches(')').split_once('(').unwrap();
    let (op, shared_name) = op.split_once('@').unwrap_or((op, ""));
    let (op, function) = op.split_once(':').map_or((op, None), |(op, function)| (op, Some(function.to_owned())));
    let function = function.map(|name| ("f".to_owned(), call_of(&name)));
    let shared_name = AttrValue { text: shared_name.into(), ..AttrValue::default() };
    let attributes = function.into_iter().chain([("shared_name".to_owned(), shared_name)]).collect();
    let inputs = inputs.split(", ").filter(|input| !input.is_empty()).map(str::to_owned).collect();
    NodeDef { name: name.into(), op: op.into(), inputs, attributes }
}

/// A function written as `name(argument, argument)` and its nodes.
pub(super) fn function((head, body): &(&str, &str)) -> FunctionDef {
    let (name, arguments) = head.trim_end_matches(')').split_once('(').unwrap();
    let arguments = arguments.split(", ").map(|name| ArgDef { name: name.into(), ..ArgDef::default() }).collect();
    FunctionDef { signature: Some(OpDef { name: name.into(), arguments, ..OpDef::default() }), nodes: nodes(body) }
}

fn nodes(text: &str) -> Vec<NodeDef> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(node).collect()
}
