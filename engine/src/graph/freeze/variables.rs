//! The variables of a graph, and which of them are only read.

use std::collections::{HashMap, HashSet};

use super::super::effects::VARIABLES;
use super::attributes::{Attribute, RESOURCE};
use super::messages::Node;
use super::trace::Running;
use crate::dtype::DType;
use crate::with_scalar::with_scalar;

/// The operation whose output is the handle of a variable. The output of the others in `VARIABLES` is a variable of TensorFlow 1, which
/// operations take by value or by reference.
const HANDLE: &str = "VarHandleOp";
/// Operations that have several handles at once.
const MANY_HANDLES: &[&str] = &["VarHandlesOp", "_VarHandlesOp"];
/// Operations that write into the memory of the tensor that they take, and so into a variable whose value they take.
const WRITERS: &[&str] = &["InplaceAdd", "InplaceSub", "InplaceUpdate"];
/// The shared name of handles of which each is a variable of its own.
const ANONYMOUS: &str = "cd2c89b7-88b7-44c8-ad83-06c2a9158347";
/// The container of resources that name none.
const DEFAULT_CONTAINER: &str = "localhost";

/// A variable that is only read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Variable {
    /// The node whose output is the variable's handle, or the variable itself in TensorFlow 1. The first of `handles`.
    pub(crate) name: String,
    /// All nodes that stand for the variable, in the order of the graph.
    pub(crate) handles: Vec<String>,
    pub(crate) dtype: DType,
    /// Whether it is a variable of TensorFlow 1, which is read by fetching it. Others are read by `ReadVariableOp`.
    pub(crate) is_reference: bool,
}

/// A variable that stays a variable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kept {
    /// The nodes that stand for the variable, in the order of the graph.
    pub(crate) handles: Vec<String>,
    /// Why it stays.
    pub(crate) why: String,
}

/// Container and shared name: nodes with the same are the same variable.
type Key = (String, String);

/// Finds the variables that the main graph names.
///
/// # Errors
/// Names what may stand for a variable, or change one, in another way.
pub(super) fn find(running: &Running<'_>, stateless: &HashSet<String>) -> Result<(Vec<Variable>, Vec<Kept>), String> {
    let mut order = Vec::new();
    let mut named: HashMap<Key, Vec<&Node>> = HashMap::new();
    for node in &running.main.nodes {
        check_node(node)?;
        if is_variable(node) {
            let key = key(node);
            if !named.contains_key(&key) {
                order.push(key.clone());
            }
            named.entry(key).or_default().push(node);
        }
    }
    let mut hidden = HashSet::new();
    for node in running.function_nodes() {
        check_node(node)?;
        if is_variable(node) {
            hidden.insert(key(node));
        }
    }
    let (mut variables, mut kept) = (Vec::new(), Vec::new());
    for key in order {
        let nodes = &named[&key];
        let handles: Vec<String> = nodes.iter().map(|node| node.name.clone()).collect();
        let is_read = if hidden.contains(&key) { Err("a function names it too".into()) } else { check(nodes, running, stateless) };
        match is_read {
            Ok(dtype) => {
                let is_reference = is_reference(nodes[0]);
                variables.push(Variable { name: handles[0].clone(), handles, dtype, is_reference });
            }
            Err(why) => kept.push(Kept { handles, why }),
        }
    }
    Ok((variables, kept))
}

/// The bytes of an element. `None` if a constant cannot hold elements of the dtype as bytes.
pub(super) fn element_bytes(dtype: DType) -> Option<usize> {
    with_scalar!(dtype, T => Some(size_of::<T>()), else None)
}

/// Checks that the nodes, which are one variable, are only read.
fn check(nodes: &[&Node], running: &Running<'_>, stateless: &HashSet<String>) -> Result<DType, String> {
    let number = dtype(nodes[0]);
    if nodes.iter().any(|node| node.op != nodes[0].op || dtype(node) != number) {
        return Err("its nodes differ in operation or dtype".into());
    }
    if shared_name(nodes[0]) == ANONYMOUS {
        return Err("it has no name".into());
    }
    let dtype = DType::from_number(number);
    if element_bytes(dtype).is_none() || dtype.number() != number {
        return Err(format!("its dtype is {dtype}"));
    }
    for node in nodes {
        if is_reference(node) {
            running.check_reference(&node.name, stateless)?;
        } else {
            running.check_handle(&node.name, number)?;
        }
    }
    Ok(dtype)
}

/// Checks that `node` makes no handle of a variable of which only it knows the name, and writes into no variable without a handle.
fn check_node(node: &Node) -> Result<(), String> {
    let is_constant_handle = node.op == "Const" && Attribute::read(node.attributes.get("dtype")).dtype == RESOURCE;
    if is_constant_handle || MANY_HANDLES.contains(&node.op.as_str()) {
        return Err(format!("`{}` ({}) may be any variable", node.name, node.op));
    }
    if WRITERS.contains(&node.op.as_str()) {
        return Err(format!("`{}` ({}) may write into any variable", node.name, node.op));
    }
    Ok(())
}

fn is_variable(node: &Node) -> bool {
    VARIABLES.contains(&node.op.as_str())
}

fn is_reference(node: &Node) -> bool {
    node.op != HANDLE
}

fn dtype(node: &Node) -> u32 {
    Attribute::read(node.attributes.get("dtype")).dtype
}

fn key(node: &Node) -> Key {
    let container = text(node, "container");
    let container = if container.is_empty() { DEFAULT_CONTAINER.to_owned() } else { container };
    (container, shared_name(node))
}

/// A handle without a shared name has the empty name; a variable of TensorFlow 1 has the name of its node.
fn shared_name(node: &Node) -> String {
    let name = text(node, "shared_name");
    if name.is_empty() && is_reference(node) {
        node.name.clone()
    } else {
        name
    }
}

fn text(node: &Node, attribute: &str) -> String {
    String::from_utf8_lossy(&Attribute::read(node.attributes.get(attribute)).text).into_owned()
}
