//! Decides which variables may be frozen, and freezes them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;

use super::body::{ancestors, by_name, Body, Tensor};
use super::constants::{constant, same, without_missing, Value};
use super::library::{gradients, reached};
use super::messages::{GraphDef, Node};
use super::rewrite::Rewrite;
use super::trace::Running;
use super::variables::{find, Kept, Variable};
use super::wire::Rope;

/// How large a frozen graph may be.
#[derive(Clone, Copy)]
struct Limits {
    /// The most bytes of values that become constants. Variables beyond that, the largest first, stay variables.
    value_bytes: usize,
    /// The most bytes of the GraphDef.
    graph_bytes: usize,
    /// The most nodes of copies of functions.
    copied_nodes: usize,
}

/// A message of protobuf has less than 2 GiB. A model of a thousand layers copies some ten thousand nodes.
const LIMITS: Limits = Limits { value_bytes: 1 << 30, graph_bytes: i32::MAX as usize, copied_nodes: 1 << 20 };

/// The ends of a run: of a signature, or of the operations that set up a session. Tensors are named `node:0` or `node`, operations
/// by their node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Roots {
    pub(crate) feeds: Vec<String>,
    pub(crate) fetches: Vec<String>,
}

/// Which variables of a graph may be frozen. A variable may be if all that may run only reads it: one operation of one signature
/// that may assign it keeps it a variable for all of them.
///
/// A new session has a state of its own. So a signature that uses a variable of [`Plan::kept`], or a table that others change, must
/// run on the same session as those others.
#[derive(Debug)]
pub(crate) struct Plan {
    graph: GraphDef,
    /// The bytes of the graph as it came.
    bytes: usize,
    signatures: Vec<Roots>,
    variables: Vec<Variable>,
    kept: Vec<Kept>,
}

/// A graph in which variables are constants.
#[derive(Debug)]
pub(crate) struct Frozen {
    /// The serialized GraphDef.
    pub(crate) graph: Vec<u8>,
    /// The names of the variables that are constants now. The others of the signatures' variables are variables still, and a new
    /// session has no values of them.
    pub(crate) variables: Vec<String>,
}

impl Plan {
    /// Reads a serialized GraphDef. `signatures` is all that may ever run. `stateless` are the operations that TensorFlow's
    /// registry calls stateless and that take no reference.
    ///
    /// # Errors
    /// Says in one line why the graph cannot be judged.
    pub(crate) fn new(graph: Bytes, signatures: Vec<Roots>, stateless: &HashSet<String>) -> Result<Self, String> {
        let bytes = graph.len();
        let graph = GraphDef::parse(graph)?;
        let (variables, kept) = {
            let named = by_name(&graph.nodes)?;
            let running = ancestors(&named, signatures.iter().flat_map(Roots::tensors))?;
            let main: Vec<&Node> = graph.nodes.iter().filter(|node| running.contains(node.name.as_str())).collect();
            let copies = BTreeMap::new();
            let functions = reached(&graph, &copies, main.iter().copied())?;
            let parsed = |of: fn(&Roots) -> &Vec<String>| signatures.iter().flat_map(of).map(|name| Tensor::parse(name)).collect();
            let running = Running::new(main, functions, parsed(|roots| &roots.feeds), parsed(|roots| &roots.fetches));
            find(&running, stateless)?
        };
        Ok(Self { graph, bytes, signatures, variables, kept })
    }

    /// The variables that may be frozen, in the order of the graph.
    pub(crate) fn variables(&self) -> &[Variable] {
        &self.variables
    }

    /// The variables that must stay variables, in the order of the graph.
    pub(crate) fn kept(&self) -> &[Kept] {
        &self.kept
    }

    /// The nodes that run for signature number `signature`. A handle among them is a variable that the signature may use.
    ///
    /// # Errors
    /// If the graph has not what the signature names.
    pub(crate) fn nodes_of(&self, signature: usize) -> Result<HashSet<&str>, String> {
        ancestors(&by_name(&self.graph.nodes)?, self.signatures[signature].tensors())
    }

    /// A number of the plan's content: plans with other numbers differ. The values of the variables do not count.
    pub(crate) fn key(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (&self.graph.nodes, &self.signatures, &self.variables, &self.kept).hash(&mut hasher);
        for (name, function) in &self.graph.functions {
            (name, &function.arguments, &function.nodes, &function.returns).hash(&mut hasher);
        }
        hasher.finish()
    }

    /// Writes the graph of the signatures with these numbers, in which the variables with `values` are constants. Variables without
    /// a value stay variables, and so do the largest if all together are too large.
    ///
    /// # Errors
    /// Says in one line which value does not fit its variable, or why there is no such graph.
    pub(crate) fn freeze(&self, signatures: &[usize], values: Vec<Value>) -> Result<Frozen, String> {
        self.freeze_within(signatures, values, LIMITS)
    }

    fn freeze_within(&self, signatures: &[usize], values: Vec<Value>, limits: Limits) -> Result<Frozen, String> {
        let named = by_name(&self.graph.nodes)?;
        let running = ancestors(&named, signatures.iter().flat_map(|signature| self.signatures[*signature].tensors()))?;
        let body = Body::new(self.graph.nodes.iter().filter(|node| running.contains(node.name.as_str())).collect());
        let room = limits.graph_bytes.saturating_sub(self.bytes).min(limits.value_bytes);
        let values = smallest(self.checked(values, &running)?, room);
        let mut first: HashMap<&str, (&Variable, &str)> = HashMap::new();
        for (variable, _) in &values {
            let mut handles = variable.handles.iter().map(String::as_str).filter(|handle| running.contains(handle)).peekable();
            let chosen = *handles.peek().expect("only variables of the signatures are left; this is a bug");
            first.extend(handles.map(|handle| (handle, (*variable, chosen))));
        }
        // Nodes that take a variable of TensorFlow 1 take its value, and stay as they are.
        let handles = first.iter().filter(|(_, (variable, _))| !variable.is_reference);
        let frozen: Vec<(&str, u32)> = handles.map(|(handle, (variable, _))| (*handle, variable.dtype.number())).collect();
        let mut rewrite = Rewrite::new(&self.graph, limits.copied_nodes);
        let mut nodes = rewrite.main(&body, &frozen)?;
        let copies = rewrite.functions()?;
        nodes.iter_mut().for_each(|node| without_missing(node, &running));
        let functions = reached(&self.graph, &copies, nodes.iter())?;
        let by_variable: HashMap<&str, &Value> = values.iter().map(|(variable, value)| (variable.name.as_str(), value)).collect();
        let nodes: Vec<Rope> = nodes
            .iter()
            .map(|node| match first.get(node.name.as_str()) {
                None => node.write(None),
                Some((variable, first)) if node.name == *first => constant(node, by_variable[variable.name.as_str()]),
                Some((variable, first)) => same(node, first, variable.dtype),
            })
            .collect();
        let gradients = gradients(&self.graph, &functions);
        let graph = self.graph.with(nodes, functions.values().map(|function| function.write()).collect(), &gradients);
        let variables = values.iter().map(|(variable, _)| variable.name.clone()).collect();
        Ok(Frozen { graph: graph.join(limits.graph_bytes)?, variables })
    }

    /// The values with their variables, as far as one of the nodes `running` is their handle.
    fn checked(&self, values: Vec<Value>, running: &HashSet<&str>) -> Result<Vec<(&Variable, Value)>, String> {
        let named: HashMap<&str, &Variable> = self.variables.iter().map(|variable| (variable.name.as_str(), variable)).collect();
        let mut seen = HashSet::new();
        let mut checked = Vec::with_capacity(values.len());
        for value in values {
            let variable = named.get(value.variable.as_str()).filter(|_| seen.insert(value.variable.clone()));
            let variable = *variable.ok_or_else(|| format!("`{}`: expected a variable of the plan, once", value.variable))?;
            value.check(variable.dtype)?;
            if variable.handles.iter().any(|handle| running.contains(handle.as_str())) {
                checked.push((variable, value));
            }
        }
        Ok(checked)
    }
}

impl Roots {
    fn tensors(&self) -> impl Iterator<Item = &str> {
        self.feeds.iter().chain(&self.fetches).map(String::as_str)
    }
}

/// Leaves out the largest values until the others have at most `bytes_max` bytes together.
fn smallest(mut values: Vec<(&Variable, Value)>, bytes_max: usize) -> Vec<(&Variable, Value)> {
    values.sort_by_key(|(_, value)| value.bytes.len());
    let mut total = 0_usize;
    let fitting = values.iter().take_while(|(_, value)| {
        total = total.saturating_add(value.bytes.len());
        total <= bytes_max
    });
    let count = fitting.count();
    values.truncate(count);
    values
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "freeze_tests.rs"]
mod freeze_tests;

#[cfg(test)]
#[path = "limits_tests.rs"]
mod limits_tests;
