//! Finds what a model's initialiser sets up, and which fetches need it. A model whose initialiser cannot run serves the other ones.
//!
//! The rule is closed: a fetch needs nothing of the initialiser if every operation that it reaches is known to hold nothing, or holds a
//! variable that the initialiser does not reach. A table would answer its default value for everything, and nobody would notice. So
//! each table counts, and each operation that nobody here has heard of.

use std::collections::HashSet;

use super::demands::Graph;
use super::effects::{holds_nothing, VARIABLES};
use super::nodes::Node;

/// Tells which fetches of a graph need its initialiser.
pub(crate) struct Initialised<'g> {
    graph: &'g Graph,
    /// The names of the variables that the initialiser may assign.
    variables: HashSet<&'g str>,
    stateless: &'g HashSet<String>,
}

impl<'g> Initialised<'g> {
    /// Finds the variables that the nodes `initialisers` reach. `stateless` are the operations that TensorFlow knows to have no state.
    pub(crate) fn new(graph: &'g Graph, initialisers: &[&str], stateless: &'g HashSet<String>) -> Self {
        let variables = graph.running(initialisers).into_iter().filter(|node| is_variable(node)).map(name).collect();
        Self { graph, variables, stateless }
    }

    /// The type of an operation by which a fetch of the node `fetch` may need the initialiser. `None` if it surely needs nothing of
    /// it.
    pub(crate) fn needed_by(&self, fetch: &str) -> Option<&'g str> {
        let is_call = |node: &Node| self.graph.functions.contains_key(&node.op);
        let needs = |node: &&Node| {
            if is_variable(node) {
                self.variables.contains(name(node))
            } else {
                !is_call(node) && !holds_nothing(&node.op, self.stateless)
            }
        };
        self.graph.running(&[fetch]).into_iter().find(needs).map(|node| node.op.as_str())
    }
}

fn is_variable(node: &Node) -> bool {
    VARIABLES.contains(&node.op.as_str())
}

/// The name by which TensorFlow finds a variable. Nodes of the same name hold the same variable. Containers divide the names
/// further; without them, one name may only stand for too many variables.
fn name(node: &Node) -> &str {
    if node.shared_name.is_empty() && node.op != "VarHandleOp" {
        &node.name
    } else {
        &node.shared_name
    }
}

#[cfg(test)]
#[path = "initialised_tests.rs"]
mod tests;
