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
    /// The function that this node calls, if it is a call.
    pub(super) function: Option<String>,
    /// All functions that this node may run, such as the body of a loop.
    pub(super) functions: Vec<String>,
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
                waiting.extend(node.into_iter().flat_map(|node| &node.inputs).map(String::as_str));
            }
        }
        computed
    }
}

impl Node {
    fn new(node: NodeDef) -> Self {
        // Inputs with `^` only order the nodes. They carry no tensor and stand last, so the others keep their numbers.
        let inputs = node.inputs.iter().filter(|input| !input.starts_with('^'));
        let inputs = inputs.map(|input| input.split(':').next().unwrap_or_default().to_owned()).collect();
        let named = |value: AttrValue| {
            let listed = value.list.unwrap_or_default().functions;
            value.function.into_iter().chain(listed).map(|function| function.name)
        };
        let function = node.attributes.get("f").and_then(|value| value.function.as_ref()).map(|function| function.name.clone());
        let functions = node.attributes.into_values().flat_map(named).collect();
        Self { name: node.name, op: node.op, inputs, function, functions }
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
