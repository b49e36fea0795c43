//! Graphs as text, for tests. A line for each node, `name = Op(input, input) attribute=value`, first those of the main graph. A
//! function is a line `fn name(argument: dtype) -> (output: dtype)`, its nodes, and lines `return output = tensor`.
//!
//! Values of attributes: `float` a dtype, `[float,int32]` dtypes, `@f` a function, `@[f,g]` functions, `"s"` a text, `["s","t"]`
//! texts, `3` an integer, `shapes:su` a list of a scalar's shape and an unknown one. A constant's value is printed as its dtype, its
//! shape and its bytes.
//!
//! The messages are prost's own, so that the reader and the writer of the code are tested too.

use std::collections::BTreeMap;
use std::fmt::Write;

use prost::Message;

const DTYPES: &[(&str, i32)] = &[
    ("float", 1),
    ("double", 2),
    ("int32", 3),
    ("string", 7),
    ("int64", 9),
    ("bool", 10),
    ("resource", 20),
    ("variant", 21),
    ("float_ref", 101),
];

#[derive(Clone, PartialEq, Message)]
pub(super) struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub(super) nodes: Vec<Node>,
    #[prost(message, optional, tag = "2")]
    pub(super) library: Option<Library>,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) versions: Vec<u8>,
    /// A field that TensorFlow does not have yet.
    #[prost(bytes = "vec", tag = "99")]
    pub(super) unknown: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Node {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) op: String,
    #[prost(string, repeated, tag = "3")]
    pub(super) inputs: Vec<String>,
    #[prost(string, tag = "4")]
    pub(super) device: String,
    #[prost(btree_map = "string, message", tag = "5")]
    pub(super) attributes: BTreeMap<String, Attribute>,
    #[prost(bytes = "vec", tag = "7")]
    pub(super) full_type: Vec<u8>,
    #[prost(bytes = "vec", tag = "99")]
    pub(super) unknown: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Attribute {
    #[prost(message, optional, tag = "1")]
    pub(super) list: Option<List>,
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(super) text: Option<Vec<u8>>,
    #[prost(int64, optional, tag = "3")]
    pub(super) integer: Option<i64>,
    #[prost(int32, optional, tag = "6")]
    pub(super) dtype: Option<i32>,
    #[prost(message, optional, tag = "8")]
    pub(super) tensor: Option<Tensor>,
    #[prost(message, optional, tag = "10")]
    pub(super) function: Option<Named>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct List {
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(super) texts: Vec<Vec<u8>>,
    #[prost(int32, repeated, tag = "6")]
    pub(super) dtypes: Vec<i32>,
    #[prost(message, repeated, tag = "7")]
    pub(super) shapes: Vec<Shape>,
    #[prost(message, repeated, tag = "9")]
    pub(super) functions: Vec<Named>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Tensor {
    #[prost(int32, tag = "1")]
    pub(super) dtype: i32,
    #[prost(message, optional, tag = "2")]
    pub(super) shape: Option<Shape>,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) content: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Shape {
    #[prost(message, repeated, tag = "2")]
    pub(super) dims: Vec<Dim>,
    #[prost(bool, tag = "3")]
    pub(super) unknown_rank: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Dim {
    #[prost(int64, tag = "1")]
    pub(super) size: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Named {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(btree_map = "string, message", tag = "2")]
    pub(super) attributes: BTreeMap<String, Attribute>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Library {
    #[prost(message, repeated, tag = "1")]
    pub(super) functions: Vec<Function>,
    #[prost(message, repeated, tag = "2")]
    pub(super) gradients: Vec<Gradient>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Gradient {
    #[prost(string, tag = "1")]
    pub(super) function: String,
    #[prost(string, tag = "2")]
    pub(super) gradient: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Function {
    #[prost(message, optional, tag = "1")]
    pub(super) signature: Option<Signature>,
    #[prost(message, repeated, tag = "3")]
    pub(super) nodes: Vec<Node>,
    #[prost(btree_map = "string, string", tag = "4")]
    pub(super) returns: BTreeMap<String, String>,
    #[prost(btree_map = "string, message", tag = "5")]
    pub(super) attributes: BTreeMap<String, Attribute>,
    #[prost(btree_map = "string, string", tag = "6")]
    pub(super) control_returns: BTreeMap<String, String>,
    #[prost(btree_map = "uint32, message", tag = "7")]
    pub(super) argument_attributes: BTreeMap<u32, Named>,
    #[prost(btree_map = "uint32, uint32", tag = "8")]
    pub(super) unique_ids: BTreeMap<u32, u32>,
    #[prost(bytes = "vec", tag = "99")]
    pub(super) unknown: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Signature {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) arguments: Vec<Argument>,
    #[prost(message, repeated, tag = "3")]
    pub(super) outputs: Vec<Argument>,
    #[prost(bool, tag = "17")]
    pub(super) is_stateful: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Argument {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(int32, tag = "3")]
    pub(super) dtype: i32,
    #[prost(string, tag = "4")]
    pub(super) type_attribute: String,
    #[prost(bytes = "vec", tag = "7")]
    pub(super) handle_data: Vec<u8>,
}

/// Reads a graph from text.
pub(super) fn read(text: &str) -> Graph {
    let (mut graph, mut library) = (Graph::default(), Library::default());
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match (line.strip_prefix("fn "), line.strip_prefix("return "), library.functions.last_mut()) {
            (Some(head), _, _) => library.functions.push(read_function(head)),
            (_, Some(returned), Some(function)) => {
                let (output, tensor) = returned.split_once(" = ").unwrap();
                function.returns.insert(output.into(), tensor.into());
            }
            (_, _, Some(function)) => function.nodes.push(read_node(line)),
            (_, _, None) => graph.nodes.push(read_node(line)),
        }
    }
    graph.library = Some(library);
    graph
}

/// Writes a graph as text that can be read.
pub(super) fn write(graph: &Graph) -> String {
    let mut text = String::new();
    graph.nodes.iter().for_each(|node| write_node(node, &mut text));
    for function in &graph.library.as_ref().unwrap().functions {
        let signature = function.signature.as_ref().unwrap();
        let (arguments, outputs) = (write_arguments(&signature.arguments), write_arguments(&signature.outputs));
        writeln!(text, "fn {}({arguments}) -> ({outputs})", signature.name).unwrap();
        function.nodes.iter().for_each(|node| write_node(node, &mut text));
        function.returns.iter().for_each(|(output, tensor)| writeln!(text, "return {output} = {tensor}").unwrap());
    }
    text
}

pub(super) fn dtype(name: &str) -> Option<i32> {
    DTYPES.iter().find(|(known, _)| *known == name).map(|(_, dtype)| *dtype)
}

fn dtype_name(dtype: i32) -> &'static str {
    DTYPES.iter().find(|(_, known)| *known == dtype).unwrap().0
}

fn read_function(head: &str) -> Function {
    let (name, rest) = head.split_once('(').unwrap();
    let (arguments, outputs) = rest.trim_end_matches(')').split_once(") -> (").unwrap();
    let signature = Signature {
        name: name.into(),
        arguments: read_arguments(arguments),
        outputs: read_arguments(outputs),
        ..Signature::default()
    };
    Function { signature: Some(signature), ..Function::default() }
}

fn read_arguments(text: &str) -> Vec<Argument> {
    let arguments = text.split(", ").filter(|argument| !argument.is_empty()).map(|argument| argument.split_once(": ").unwrap());
    arguments.map(|(name, of)| Argument { name: name.into(), dtype: dtype(of).unwrap(), ..Argument::default() }).collect()
}

fn write_arguments(arguments: &[Argument]) -> String {
    let texts: Vec<String> =
        arguments.iter().map(|argument| format!("{}: {}", argument.name, dtype_name(argument.dtype))).collect();
    texts.join(", ")
}

fn read_node(line: &str) -> Node {
    let (name, call) = line.split_once(" = ").unwrap();
    let (op, rest) = call.split_once('(').unwrap();
    let (inputs, attributes) = rest.split_once(')').unwrap();
    let inputs = inputs.split(", ").filter(|input| !input.is_empty()).map(str::to_owned).collect();
    let attributes = attributes.split_whitespace().map(|attribute| {
        let (name, value) = attribute.split_once('=').unwrap();
        (name.to_owned(), read_attribute(value))
    });
    Node { name: name.into(), op: op.into(), inputs, attributes: attributes.collect(), ..Node::default() }
}

fn write_node(node: &Node, text: &mut String) {
    write!(text, "{} = {}({})", node.name, node.op, node.inputs.join(", ")).unwrap();
    node.attributes.iter().for_each(|(name, value)| write!(text, " {name}={}", write_attribute(value)).unwrap());
    text.push('\n');
}

fn read_attribute(text: &str) -> Attribute {
    let within = |text: &str| -> Vec<String> {
        let text = text.trim_start_matches('[').trim_end_matches(']');
        text.split(',').filter(|part| !part.is_empty()).map(|part| part.trim_matches('"').to_owned()).collect()
    };
    let named = |name: &str| Named { name: name.into(), ..Named::default() };
    let list = |list| Attribute { list: Some(list), ..Attribute::default() };
    if let Some(functions) = text.strip_prefix("@[") {
        list(List { functions: within(functions).iter().map(|name| named(name)).collect(), ..List::default() })
    } else if let Some(function) = text.strip_prefix('@') {
        Attribute { function: Some(named(function)), ..Attribute::default() }
    } else if let Some(shapes) = text.strip_prefix("shapes:") {
        let shapes = shapes.chars().map(|shape| Shape { unknown_rank: shape == 'u', ..Shape::default() });
        list(List { shapes: shapes.collect(), ..List::default() })
    } else if text.starts_with("[\"") {
        list(List { texts: within(text).into_iter().map(String::into_bytes).collect(), ..List::default() })
    } else if text.starts_with('[') {
        list(List { dtypes: within(text).iter().map(|name| dtype(name).unwrap()).collect(), ..List::default() })
    } else if text.starts_with('"') {
        Attribute { text: Some(text.trim_matches('"').into()), ..Attribute::default() }
    } else if let Ok(integer) = text.parse() {
        Attribute { integer: Some(integer), ..Attribute::default() }
    } else {
        Attribute { dtype: Some(dtype(text).unwrap()), ..Attribute::default() }
    }
}

fn write_attribute(value: &Attribute) -> String {
    let text = |text: &Vec<u8>| format!("\"{}\"", String::from_utf8_lossy(text));
    match value {
        Attribute { function: Some(function), .. } => format!("@{}", function.name),
        Attribute { text: Some(found), .. } => text(found),
        Attribute { integer: Some(integer), .. } => integer.to_string(),
        Attribute { dtype: Some(dtype), .. } => dtype_name(*dtype).to_owned(),
        Attribute { tensor: Some(tensor), .. } => {
            let dims: Vec<i64> = tensor.shape.iter().flat_map(|shape| &shape.dims).map(|dim| dim.size).collect();
            format!("{}{dims:?}{:?}", dtype_name(tensor.dtype), tensor.content).replace(' ', "")
        }
        Attribute { list: Some(list), .. } if !list.functions.is_empty() => {
            format!("@[{}]", list.functions.iter().map(|function| function.name.as_str()).collect::<Vec<_>>().join(","))
        }
        Attribute { list: Some(list), .. } if !list.shapes.is_empty() => {
            format!("shapes:{}", list.shapes.iter().map(|shape| if shape.unknown_rank { 'u' } else { 's' }).collect::<String>())
        }
        Attribute { list: Some(list), .. } if !list.texts.is_empty() => {
            format!("[{}]", list.texts.iter().map(text).collect::<Vec<_>>().join(","))
        }
        Attribute { list: Some(list), .. } => {
            format!("[{}]", list.dtypes.iter().map(|dtype| dtype_name(*dtype)).collect::<Vec<_>>().join(","))
        }
        Attribute { .. } => String::new(),
    }
}
