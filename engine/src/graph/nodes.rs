//! The nodes of a graph and of its functions, and which node takes the outputs of which.

use std::collections::{HashMap, HashSet};

use super::facts::Facts;
use super::proto::{ArgDef, AttrValue, FunctionDef, NodeDef};

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
    /// For each input: which output of its node it is, as `0`, or within functions as `name:0`. Empty for the first.
    pub(super) places: Vec<String>,
    /// The nodes that run before this one and give it no tensor.
    controls: Vec<String>,
    /// The function that this node calls, if it is a call.
    pub(super) function: Option<String>,
    /// All functions that this node may run, such as the body of a loop.
    pub(super) functions: Vec<String>,
    pub(super) facts: Facts,
    /// The name under which other nodes find what this node holds. Often empty.
    pub(super) shared_name: String,
}

#[derive(Debug)]
pub(super) struct Function {
    pub(super) arguments: Vec<String>,
    /// The nodes whose outputs are those of the function, each with the place of the output, in order.
    pub(super) results: Vec<(String, String)>,
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

    pub(super) fn node(&self, name: &str) -> Option<&Node> {
        self.by_name.get(name).map(|&index| &self.nodes[index])
    }

    /// The nodes that are computed when `fetches` are fetched and `feeds` are fed.
    pub(super) fn computed_for<'a>(&'a self, feeds: &[&str], fetches: &[&'a str]) -> HashSet<&'a str> {
        let mut computed = HashSet::new();
        let mut waiting = fetches.to_vec();
        while let Some(name) = waiting.pop() {
            if !feeds.contains(&name) && computed.insert(name) {
                let node = self.node(name);
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
        let (inputs, places) = inputs.into_iter().map(|input| named(input)).unzip();
        let controls = controls.into_iter().map(|control| control[1..].to_owned()).collect();
        let function = node.attributes.get("f").and_then(|value| value.function.as_ref()).map(|function| function.name.clone());
        let shared_name = node.attributes.get("shared_name").map(|value| String::from_utf8_lossy(&value.text).into_owned());
        // TensorFlow's older graphs call a function by a node of its name.
        let mut functions = vec![node.op.clone()];
        let facts = Facts::of(&node.attributes);
        add_functions(node.attributes, &mut functions);
        let shared_name = shared_name.unwrap_or_default();
        Self { name: node.name, op: node.op, inputs, places, controls, function, functions, facts, shared_name }
    }
}

/// The node and the place of an output.
fn named(output: &str) -> (String, String) {
    let (node, place) = output.split_once(':').unwrap_or((output, ""));
    (node.to_owned(), place.to_owned())
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
        let FunctionDef { signature, nodes, results } = function;
        let signature = signature.unwrap_or_default();
        let arguments = signature.arguments.into_iter().map(|argument| argument.name).collect();
        let result = |output: &ArgDef| named(results.get(&output.name).map_or("", String::as_str));
        let results = signature.outputs.iter().map(result).collect();
        (signature.name, Self { arguments, results, body: Body::new(nodes) })
    }
}
