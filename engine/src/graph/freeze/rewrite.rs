//! Writes the nodes that take frozen variables, and copies of the functions that get them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::RangeFrom;

use bytes::Bytes;

use super::attributes::{of_dtype, of_dtypes, with_functions, with_unknown_shapes, Attribute};
use super::body::{Body, Outputs, Tensor};
use super::messages::{Function, GraphDef, Node};
use super::uses::{use_of, Call, Reader, Use};

/// Attributes about handles, and about shapes of outputs that were handles.
const OF_HANDLES: &[&str] = &["_handle_dtypes", "_handle_shapes", "_output_shapes", "_read_only_resource_inputs"];

/// Attributes of functions that are not true of their copies: the shapes of their arguments, and that other functions may take
/// their place.
const OF_ORIGINALS: &[&str] = &["_input_shapes", "api_implements", "api_preferred_device"];

/// Rewrites a graph, and keeps the copies of its functions.
pub(super) struct Rewrite<'a> {
    graph: &'a GraphDef,
    names: HashMap<FrozenCall, String>,
    waiting: Vec<(FrozenCall, String)>,
    copies: BTreeMap<String, Function>,
    /// How many nodes copies may have yet.
    nodes_left: usize,
    numbers: RangeFrom<usize>,
}

/// A function with its arguments that are frozen variables.
#[derive(Clone, PartialEq, Eq, Hash)]
struct FrozenCall {
    function: String,
    /// The dtypes of the frozen arguments by their indices.
    arguments: BTreeMap<usize, u32>,
    /// Whether it is the body of a loop, which gives the arguments back.
    is_body: bool,
}

/// The tensors of a graph or function that are frozen variables.
#[derive(Default)]
struct Values<'a> {
    /// By node: which of its outputs, and the dtype.
    dtypes: HashMap<&'a str, Vec<(Outputs<'a>, u32)>>,
    /// The nodes that read a variable.
    readers: HashSet<&'a str>,
}

impl<'a> Rewrite<'a> {
    pub(super) fn new(graph: &'a GraphDef, copied_nodes_max: usize) -> Self {
        Self {
            graph,
            names: HashMap::new(),
            waiting: Vec::new(),
            copies: BTreeMap::new(),
            nodes_left: copied_nodes_max,
            numbers: 0..,
        }
    }

    /// The nodes of the main graph. `frozen` are the nodes that are frozen variables, with their dtypes: the caller replaces them.
    pub(super) fn main(&mut self, body: &Body<'a>, frozen: &[(&'a str, u32)]) -> Result<Vec<Node>, String> {
        let values = Values::spread(body, frozen)?;
        body.nodes.iter().map(|node| self.node(node, &values)).collect()
    }

    /// The copies of functions that the nodes call, and those that these call.
    pub(super) fn functions(mut self) -> Result<BTreeMap<String, Function>, String> {
        while let Some((call, name)) = self.waiting.pop() {
            let copied = self.copy(&call, name)?;
            self.copies.insert(copied.name.clone(), copied);
        }
        Ok(self.copies)
    }

    fn copy(&mut self, call: &FrozenCall, name: String) -> Result<Function, String> {
        let original = &self.graph.functions[&call.function];
        let left = self.nodes_left.checked_sub(1 + original.nodes.len());
        self.nodes_left = left.ok_or("copies of functions would take too many nodes")?;
        let body = Body::new(original.nodes.iter().collect());
        let frozen: Vec<(&str, u32)> =
            call.arguments.iter().map(|(index, dtype)| (original.arguments[*index].name.as_str(), *dtype)).collect();
        let values = Values::spread(&body, &frozen)?;
        let mut function = original.clone();
        function.name = name;
        function.nodes = body.nodes.iter().map(|node| self.node(node, &values)).collect::<Result<_, String>>()?;
        function.returns.values_mut().for_each(|tensor| *tensor = values.renamed(tensor));
        for (&index, &dtype) in &call.arguments {
            function.arguments[index] = original.arguments[index].with_dtype(dtype);
            if call.is_body {
                function.outputs[index] = original.outputs[index].with_dtype(dtype);
            }
            let number = u32::try_from(index).expect("a message has fewer fields; this is a bug");
            function.argument_attributes.remove(&number);
            function.unique_ids.remove(&number);
        }
        function.attributes.retain(|name, _| !OF_ORIGINALS.contains(&name.as_str()));
        Ok(function)
    }

    fn node(&mut self, node: &Node, values: &Values<'_>) -> Result<Node, String> {
        let mut written = node.clone();
        written.inputs.iter_mut().for_each(|input| *input = values.renamed(input));
        let taken: Vec<(usize, u32)> = values.taken(node).collect();
        let Some(&(input, dtype)) = taken.first() else { return Ok(written) };
        match use_of(node, input, dtype)? {
            Use::Read(reader) => read(&mut written, reader, dtype),
            Use::Pass => {
                written.attributes.insert("T".into(), of_dtype(dtype));
                written.full_type.clear();
            }
            Use::Call(call) => self.call(&mut written, &call, &taken)?,
            Use::Unknown => return Err(format!("`{}` ({}) takes a frozen variable; this is a bug", node.name, node.op)),
        }
        written.attributes.retain(|name, _| !OF_HANDLES.contains(&name.as_str()));
        Ok(written)
    }

    /// Makes a node call copies of its functions. `taken` are the inputs that are frozen variables.
    fn call(&mut self, node: &mut Node, call: &Call, taken: &[(usize, u32)]) -> Result<(), String> {
        let op = call.op;
        let arguments: BTreeMap<usize, u32> = taken.iter().map(|(input, dtype)| (input - op.first, *dtype)).collect();
        let last = call.functions.len() - 1;
        let names = call.functions.iter().enumerate().map(|(index, function)| {
            let is_body = op.is_loop && index == last;
            self.name_of(FrozenCall { function: function.clone(), arguments: arguments.clone(), is_body })
        });
        let mut names: std::vec::IntoIter<String> = names.collect::<Vec<_>>().into_iter();
        for attribute in op.functions {
            change(node, attribute, |value| with_functions(value, &mut names))?;
        }
        let mut dtypes = Attribute::read(node.attributes.get(op.dtypes)).dtypes().to_vec();
        arguments.iter().for_each(|(index, dtype)| dtypes[*index] = *dtype);
        node.attributes.insert(op.dtypes.into(), of_dtypes(dtypes));
        if op.is_loop {
            let indices: Vec<usize> = arguments.keys().copied().collect();
            change(node, "output_shapes", |value| with_unknown_shapes(value, &indices))?;
            node.full_type.clear();
        }
        Ok(())
    }

    /// The name of the copy for a call. One that is new waits to be written.
    fn name_of(&mut self, call: FrozenCall) -> String {
        if let Some(name) = self.names.get(&call) {
            return name.clone();
        }
        let mut names = self.numbers.by_ref().map(|number| format!("{}_frozen_{number}", call.function));
        let name = names.find(|name| !self.graph.functions.contains_key(name)).expect("numbers do not end; this is a bug");
        self.names.insert(call.clone(), name.clone());
        self.waiting.push((call, name.clone()));
        name
    }
}

impl<'a> Values<'a> {
    /// Finds all tensors of `body` that are one of the variables `frozen`: those of nodes or arguments of these names.
    fn spread<'b: 'a>(body: &'a Body<'b>, frozen: &[(&'a str, u32)]) -> Result<Self, String> {
        let mut values = Self::default();
        let mut waiting: Vec<(Outputs<'a>, u32)> = frozen.iter().map(|(name, dtype)| (Outputs::all(name), *dtype)).collect();
        while let Some((outputs, dtype)) = waiting.pop() {
            let known = values.dtypes.entry(outputs.node).or_default();
            if known.iter().any(|(other, _)| *other == outputs) {
                continue;
            }
            known.push((outputs, dtype));
            for consumer in body.consumers(outputs) {
                let node = body.nodes[consumer.node];
                match use_of(node, consumer.input, dtype)? {
                    Use::Read(_) => {
                        values.readers.insert(&node.name);
                    }
                    Use::Pass => waiting.push((Outputs::all(&node.name), dtype)),
                    Use::Call(call) if call.op.is_loop => {
                        waiting.push((Outputs { node: &node.name, output: Some(call.argument) }, dtype));
                    }
                    Use::Call(_) | Use::Unknown => {}
                }
            }
        }
        Ok(values)
    }

    /// The inputs of `node` that are frozen variables, with their dtypes.
    fn taken<'b>(&'b self, node: &'b Node) -> impl Iterator<Item = (usize, u32)> + 'b {
        node.tensors().map(Tensor::parse).enumerate().filter_map(|(input, tensor)| {
            let known = self.dtypes.get(tensor.node)?;
            known.iter().find(|(outputs, _)| outputs.has(tensor)).map(|(_, dtype)| (input, *dtype))
        })
    }

    /// A tensor's name after the rewrite. In functions it has the name of the output, which is another where a variable was read.
    fn renamed(&self, tensor: &str) -> String {
        match tensor.split_once(':') {
            Some((node, rest)) if self.readers.contains(node) => match rest.split_once(':') {
                Some(("value", index)) => format!("{node}:output:{index}"),
                _ => tensor.to_owned(),
            },
            _ => tensor.to_owned(),
        }
    }
}

/// Makes a node that reads a variable take its value.
fn read(node: &mut Node, reader: &Reader, dtype: u32) {
    node.op = reader.of_value.into();
    node.full_type.clear();
    // Attributes with an underscore belong to no operation.
    node.attributes.retain(|name, _| name.starts_with('_') || reader.kept.contains(&name.as_str()));
    node.attributes.insert(reader.dtype_of_value.into(), of_dtype(dtype));
}

/// Changes an attribute, if the node has it.
fn change(node: &mut Node, name: &str, change: impl FnOnce(&Bytes) -> Result<Bytes, String>) -> Result<(), String> {
    if let Some(value) = node.attributes.get_mut(name) {
        *value = change(value)?;
    }
    Ok(())
}
