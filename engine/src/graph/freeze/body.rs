//! The nodes of a graph or of a function, and which node takes which tensor of which.

use std::collections::{HashMap, HashSet};

use super::messages::Node;

/// Nodes with an index of who takes their tensors.
#[derive(Debug)]
pub(super) struct Body<'a> {
    pub(super) nodes: Vec<&'a Node>,
    /// For the name of a node or an argument: the nodes that take its tensors.
    consumers: HashMap<&'a str, Vec<Consumer>>,
}

/// A place where a tensor is taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Consumer {
    /// The index of the node.
    pub(super) node: usize,
    /// The index of the node's input.
    pub(super) input: usize,
    /// The index of the tensor among the outputs of its node.
    output: usize,
}

/// A tensor: an output of a node, or an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Tensor<'a> {
    pub(super) node: &'a str,
    pub(super) output: usize,
}

/// Tensors that are the same handle: an output of a node, or all of its outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Outputs<'a> {
    pub(super) node: &'a str,
    /// `None` stands for all outputs.
    pub(super) output: Option<usize>,
}

impl<'a> Tensor<'a> {
    /// Reads `node`, `node:1`, and within functions `argument` or `node:output:1`. Operations whose outputs matter here have one
    /// list of them, or one output, or outputs that are all the same handle. So the name of the output tells nothing more.
    pub(super) fn parse(tensor: &'a str) -> Self {
        let (node, rest) = tensor.split_once(':').unwrap_or((tensor, ""));
        let output = rest.rsplit(':').next().and_then(|index| index.parse().ok());
        Self { node, output: output.unwrap_or(0) }
    }
}

impl<'a> Outputs<'a> {
    pub(super) fn all(node: &'a str) -> Self {
        Self { node, output: None }
    }

    pub(super) fn has(&self, tensor: Tensor<'_>) -> bool {
        self.node == tensor.node && self.output.is_none_or(|output| output == tensor.output)
    }
}

impl<'a> Body<'a> {
    pub(super) fn new(nodes: Vec<&'a Node>) -> Self {
        let mut consumers: HashMap<&str, Vec<Consumer>> = HashMap::new();
        for (index, node) in nodes.iter().enumerate() {
            for (input, tensor) in node.tensors().map(Tensor::parse).enumerate() {
                consumers.entry(tensor.node).or_default().push(Consumer { node: index, input, output: tensor.output });
            }
        }
        Self { nodes, consumers }
    }

    /// The places where the tensors are taken.
    pub(super) fn consumers<'b>(&'b self, outputs: Outputs<'b>) -> impl Iterator<Item = Consumer> + 'b {
        let all = self.consumers.get(outputs.node).into_iter().flatten().copied();
        all.filter(move |consumer| outputs.output.is_none_or(|output| output == consumer.output))
    }
}

/// The nodes of the main graph by their names.
pub(super) fn by_name(nodes: &[Node]) -> Result<HashMap<&str, &Node>, String> {
    let mut named = HashMap::with_capacity(nodes.len());
    for node in nodes {
        if named.insert(node.name.as_str(), node).is_some() {
            return Err(format!("the node `{}` is there twice", node.name));
        }
    }
    Ok(named)
}

/// The names of the nodes `roots` (`node` or `node:0`) of the main graph and of all nodes before them.
pub(super) fn ancestors<'a>(
    named: &HashMap<&'a str, &'a Node>,
    roots: impl Iterator<Item = &'a str>,
) -> Result<HashSet<&'a str>, String> {
    let mut found = HashSet::new();
    let mut waiting: Vec<&str> = roots.collect();
    while let Some(tensor) = waiting.pop() {
        let name = Tensor::parse(tensor.trim_start_matches('^')).node;
        let (name, node) = named.get_key_value(name).ok_or_else(|| format!("the graph has no node `{name}`"))?;
        if found.insert(*name) {
            waiting.extend(node.inputs.iter().map(String::as_str));
        }
    }
    Ok(found)
}
