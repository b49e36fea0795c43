//! Runs small graphs of numbers, for tests. It panics where TensorFlow would refuse a graph: at a number in place of a handle, a
//! wrong dtype, or the wrong name of an output.

use std::collections::{BTreeSet, HashMap};

use super::text::{dtype, Attribute, Function, Graph, Node};

/// The most turns of a loop.
const TURNS_MAX: usize = 20;

/// A tensor while a graph runs.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Number(f64),
    /// The handle of the variable with this shared name.
    Handle(String),
}

/// A graph with its variables.
pub(super) struct Machine<'a> {
    functions: HashMap<&'a str, &'a Function>,
    nodes: HashMap<&'a str, &'a Node>,
    pub(super) variables: HashMap<String, f64>,
    /// The shared names of the variables that were assigned.
    pub(super) assigned: BTreeSet<String>,
    feed: f64,
}

/// The nodes and arguments of the graph or function that runs, and what was computed.
struct Frame<'a> {
    nodes: HashMap<&'a str, &'a Node>,
    is_function: bool,
    values: HashMap<String, Vec<Value>>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(graph: &'a Graph, variables: HashMap<String, f64>, feed: f64) -> Self {
        let library = graph.library.iter().flat_map(|library| &library.functions);
        let functions = library.map(|function| (function.signature.as_ref().unwrap().name.as_str(), function)).collect();
        let nodes = graph.nodes.iter().map(|node| (node.name.as_str(), node)).collect();
        Self { functions, nodes, variables, assigned: BTreeSet::new(), feed }
    }

    /// The value of an output of the main graph.
    pub(super) fn fetch(&mut self, tensor: &str) -> Value {
        let mut frame = Frame { nodes: self.nodes.clone(), is_function: false, values: HashMap::new() };
        self.tensor(&mut frame, tensor)
    }

    fn tensor(&mut self, frame: &mut Frame<'a>, tensor: &str) -> Value {
        let parts: Vec<&str> = tensor.split(':').collect();
        if let (true, [node, port, _]) = (frame.is_function, parts.as_slice()) {
            assert_eq!(*port, port_of(&frame.nodes[node].op), "{tensor}");
        }
        let index: usize = parts.last().filter(|_| parts.len() > 1).map_or(0, |index| index.parse().unwrap());
        self.outputs(frame, parts[0])[index].clone()
    }

    fn outputs(&mut self, frame: &mut Frame<'a>, name: &str) -> Vec<Value> {
        if let Some(values) = frame.values.get(name) {
            return values.clone();
        }
        let node = frame.nodes[name];
        let (controls, tensors): (Vec<_>, Vec<_>) = node.inputs.iter().partition(|input| input.starts_with('^'));
        controls.into_iter().for_each(|control| drop(self.outputs(frame, &control[1..])));
        let inputs: Vec<Value> = tensors.into_iter().map(|tensor| self.tensor(frame, tensor)).collect();
        let values = self.compute(node, inputs);
        frame.values.insert(name.to_owned(), values.clone());
        values
    }

    fn compute(&mut self, node: &'a Node, inputs: Vec<Value>) -> Vec<Value> {
        let number = |index: usize| match &inputs[index] {
            Value::Number(number) => *number,
            Value::Handle(_) => panic!("{node:?} takes a handle"),
        };
        let handle = || match &inputs[0] {
            Value::Handle(handle) => handle.clone(),
            Value::Number(_) => panic!("{node:?} takes a number"),
        };
        let numbers = |number| vec![Value::Number(number)];
        match node.op.as_str() {
            "Placeholder" => numbers(self.feed),
            "Const" => numbers(constant(&node.attributes)),
            "VarHandleOp" => {
                let name = node.attributes["shared_name"].text.clone().unwrap();
                vec![Value::Handle(String::from_utf8(name).unwrap())]
            }
            "ReadVariableOp" => numbers(self.variables[&handle()]),
            "AssignAddVariableOp" => {
                *self.variables.get_mut(&handle()).unwrap() += number(1);
                self.assigned.insert(handle());
                Vec::new()
            }
            "Identity" => {
                check_dtypes(node, &[node.attributes["T"].dtype.unwrap()], &inputs);
                inputs
            }
            "Add" => numbers((number(0) + number(1)) % 997.0),
            "Mul" => numbers((number(0) * number(1) + 1.0) % 997.0),
            "Less" => numbers(f64::from(u8::from(number(0) < number(1)))),
            "PartitionedCall" => self.call(node, &["f"], 0, "Tin", inputs),
            "If" => {
                let branch = if number(0) as i64 % 2 == 0 { "else_branch" } else { "then_branch" };
                self.call(node, &[branch], 0, "Tin", inputs[1..].to_vec())
            }
            "Case" => {
                let index = number(0).abs() as usize;
                self.call(node, &["branches"], index, "Tin", inputs[1..].to_vec())
            }
            "While" => {
                let mut state = inputs;
                for _ in 0..TURNS_MAX {
                    if self.call(node, &["cond"], 0, "T", state.clone()) == [Value::Number(0.0)] {
                        return state;
                    }
                    state = self.call(node, &["body"], 0, "T", state);
                }
                panic!("{node:?} does not end")
            }
            other => panic!("{other}"),
        }
    }

    fn call(&mut self, node: &Node, attributes: &[&str], index: usize, dtypes: &str, inputs: Vec<Value>) -> Vec<Value> {
        let attribute = &node.attributes[attributes[0]];
        let functions: Vec<_> = attribute.function.iter().chain(attribute.list.iter().flat_map(|list| &list.functions)).collect();
        let function = self.functions[functions[index % functions.len()].name.as_str()];
        check_dtypes(node, &node.attributes[dtypes].list.as_ref().unwrap().dtypes, &inputs);
        let signature = function.signature.as_ref().unwrap();
        let arguments: Vec<i32> = signature.arguments.iter().map(|argument| argument.dtype).collect();
        check_dtypes(node, &arguments, &inputs);
        let values = signature.arguments.iter().zip(inputs).map(|(argument, value)| (argument.name.clone(), vec![value])).collect();
        let nodes = function.nodes.iter().map(|node| (node.name.as_str(), node)).collect();
        let mut frame = Frame { nodes, is_function: true, values };
        function.nodes.iter().for_each(|node| drop(self.outputs(&mut frame, &node.name)));
        let outputs: Vec<Value> =
            signature.outputs.iter().map(|output| self.tensor(&mut frame, &function.returns[&output.name])).collect();
        let dtypes: Vec<i32> = signature.outputs.iter().map(|output| output.dtype).collect();
        check_dtypes(node, &dtypes, &outputs);
        outputs
    }
}

fn check_dtypes(node: &Node, dtypes: &[i32], values: &[Value]) {
    assert_eq!(dtypes.len(), values.len(), "{node:?}");
    for (found, value) in dtypes.iter().zip(values) {
        assert_eq!(Some(*found) == dtype("resource"), matches!(value, Value::Handle(_)), "{node:?}: {value:?}");
    }
}

/// The number of a constant: of a test in the attribute `n`, of a frozen variable in its bytes.
fn constant(attributes: &std::collections::BTreeMap<String, Attribute>) -> f64 {
    match attributes.get("n").and_then(|value| value.integer) {
        Some(integer) => integer as f64,
        None => {
            let content = &attributes["value"].tensor.as_ref().unwrap().content;
            f32::from_le_bytes(content.as_slice().try_into().unwrap()).into()
        }
    }
}

fn port_of(op: &str) -> &'static str {
    match op {
        "ReadVariableOp" => "value",
        "Add" | "Mul" | "Less" => "z",
        _ => "output",
    }
}
