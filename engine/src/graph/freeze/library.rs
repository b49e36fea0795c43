//! Which functions of the library run.

use std::collections::BTreeMap;

use super::attributes::{add_functions, Attribute};
use super::messages::{Function, Gradient, GraphDef, Node};

/// The attribute of functions of which TensorFlow takes the one that is made for the device. They have the same text in it.
const ALTERNATIVES: &str = "api_implements";

/// Finds the functions that `nodes` run, directly or by way of others, their gradients, and what TensorFlow may run instead of
/// them. `copies` are functions that the graph has not.
pub(super) fn reached<'a>(
    graph: &'a GraphDef,
    copies: &'a BTreeMap<String, Function>,
    nodes: impl Iterator<Item = &'a Node>,
) -> Result<BTreeMap<&'a str, &'a Function>, String> {
    let (mut found, mut waiting) = (BTreeMap::new(), Vec::new());
    for node in nodes {
        add_called(node, &mut waiting)?;
    }
    while let Some(name) = waiting.pop() {
        let function = graph.functions.get_key_value(&name).or_else(|| copies.get_key_value(&name));
        // The name of an operation is no function's.
        let Some((name, function)) = function else { continue };
        if found.insert(name.as_str(), function).is_some() {
            continue;
        }
        for node in &function.nodes {
            add_called(node, &mut waiting)?;
        }
        let gradients = graph.gradients.iter().filter(|gradient| gradient.functions.first() == Some(name));
        waiting.extend(gradients.flat_map(|gradient| gradient.functions.iter().cloned()));
        let alternative = Attribute::read(function.attributes.get(ALTERNATIVES)).text;
        if !alternative.is_empty() {
            let same = |other: &&Function| Attribute::read(other.attributes.get(ALTERNATIVES)).text == alternative;
            waiting.extend(graph.functions.values().filter(same).map(|other| other.name.clone()));
        }
    }
    Ok(found)
}

/// The gradients whose functions are all in `functions`.
pub(super) fn gradients<'a>(graph: &'a GraphDef, functions: &BTreeMap<&str, &Function>) -> Vec<&'a Gradient> {
    let is_whole = |gradient: &&Gradient| gradient.functions.iter().all(|name| functions.contains_key(name.as_str()));
    graph.gradients.iter().filter(is_whole).collect()
}

/// Adds the names of the functions that a node may call. Older graphs call a function by a node of its name.
fn add_called(node: &Node, names: &mut Vec<String>) -> Result<(), String> {
    names.push(node.op.clone());
    node.attributes.values().try_for_each(|value| add_functions(value, names))
}
