//! The nodes of a graph and of its functions, and which node takes the outputs of which.

use std::collections::{HashMap, HashSet};

use super::proto::{AttrValue, FunctionDef, NodeDef};

/// The nodes of a graph, or of a function.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) nodes: Vec<Node>,
    by_name: HashMap<String, usize>,
    /// For the name of a node or argument: the nodes that take its outputs, and the number of the input at which each takes them.
    pub(super) consumers: HashMap<String, Vec<(usize, usize)>>,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) op: String,
    pub(super) inputs: Vec<String>,
    /// The nodes that run before this one and give it no tensor.
    controls: Vec<String>,
    /// The function that this node calls, if it is a call.
    pub(super) function: Option<String>,
    /// All functions that this node may run, such as the body of a loop.
    pub(super) functions: Vec<String>,
    /// The name under which other nodes find what this node holds. Often empty.
    pub(super) shared_name: String,
}

#[derive(Debug)]
pub(super) struct Function {
    pub(super) arguments: Vec<String>,
    pub(super) body: Body,
}

impl Body {
    pub(super) fn new(nodes: Vec<NodeDef>) -> Self {
        let nodes: Vec<Node> = nodes.into_iter().map(Node::new).collect();
        let by_name = nodes.iter().enumerate().map(|(index, node)| (node.name.clone(), index)).collect();
        let mut consumers: HashMap<String, Vec<(usize, usize)>> = HashMap::new();
        for (index, node) in nodes.iter().enumerate() {
            for (input, name) in node.inputs.iter().enumerate() {
                consumers.entry(name.clone()).or_default().push((index, input));
            }
        }
        Self { nodes, by_name, consumers }
    }

    /// The nodes that are computed when `fetches` are fetched and `feed` is fed.
    pub(super) fn computed_for<'a>(&'a self, feed: &str, fetches: &[&'a str]) -> HashSet<&'a str> {
        let mut computed = HashSet::new();
        let mut waiting = fetches.to_vec();
        while let Some(name) = waiting.pop() {
            if name != feed && computed.insert(name) {
                let node = self.by_name.get(name).map(|&index| &self.nodes[index]);
                waiting.extend(node.into_iter().flat_map(|node| node.inputs.iter().chain(&node.controls)).map(String::as_str));
            }
        }
        computed
    }
}

impl Node {
    fn new(node: NodeDef) -> Self {
        // Inputs with `^` carry no tensor. They stand last, so the others keep their numbers.
        let (controls, inputs): (Vec<_>, Vec<_>) = node.inputs.iter().partition(|input| input.starts_with('^'));
        let inputs = inputs.into_iter().map(|input| input.split(':').next().unwrap_or_default().to_owned()).collect();
        let controls = controls.into_iter().map(|control| control[1..].to_owned()).collect();
        let function = node.attributes.get("f").and_then(|value| value.function.as_ref()).map(|function| function.name.clone());
        let shared_name = node.attributes.get("shared_name").map(|value| String::from_utf8_lossy(&value.text).into_owned());
        // TensorFlow's older graphs call a function by a node of its name.
        let mut functions = vec![node.op.clone()];
        add_functions(node.attributes, &mut functions);
        Self { name: node.name, op: node.op, inputs, controls, function, functions, shared_name: shared_name.unwrap_or_default() }
    }
}

/// Adds the names of all functions in `attributes`. Messages nest 100 deep at most: prost reads no deeper.
fn add_functions(attributes: HashMap<String, AttrValue>, functions: &mut Vec<String>) {
    for AttrValue { list, function, .. } in attributes.into_values() {
        for function in function.into_iter().chain(list.unwrap_or_default().functions) {
            functions.push(function.name);
            add_functions(function.attributes, functions);
        }
    }
}

impl Function {
    pub(super) fn named(function: FunctionDef) -> (String, Self) {
        let FunctionDef { signature, nodes } = function;
        let signature = signature.unwrap_or_default();
        let arguments = signature.arguments.into_iter().map(|argument| argument.name).collect();
        (signature.name, Self { arguments, body: Body::new(nodes) })
    }
}
