//! The messages of a GraphDef that a rewrite changes. Fields that no rewrite changes are kept as they came, also unknown ones.
//! Numbered as in graph.proto, node_def.proto, function.proto and op_def.proto of tensorflow/core/framework.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::wire::{entry, fields, Field, Rope};

/// A graph and its library of functions.
#[derive(Debug, Default)]
pub(super) struct GraphDef {
    pub(super) nodes: Vec<Node>,
    pub(super) functions: BTreeMap<String, Function>,
    pub(super) gradients: Vec<Gradient>,
    library_rest: Vec<u8>,
    rest: Vec<u8>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) op: String,
    /// `node` or `node:output`, and within functions `node:output:index`. `^node` only orders the nodes; these stand last.
    pub(super) inputs: Vec<String>,
    /// Serialized AttrValues by their names.
    pub(super) attributes: BTreeMap<String, Bytes>,
    /// The full types of the outputs, by TensorFlow's type inference.
    pub(super) full_type: Vec<u8>,
    rest: Vec<u8>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) arguments: Vec<Argument>,
    pub(super) outputs: Vec<Argument>,
    pub(super) nodes: Vec<Node>,
    /// The tensor of the body that each output is.
    pub(super) returns: BTreeMap<String, String>,
    pub(super) attributes: BTreeMap<String, Bytes>,
    /// The attributes of arguments by their indices.
    pub(super) argument_attributes: BTreeMap<u32, Bytes>,
    /// For arguments that are handles: arguments with the same number are the same resource.
    pub(super) unique_ids: BTreeMap<u32, Bytes>,
    signature_rest: Vec<u8>,
    rest: Vec<u8>,
}

/// An argument or an output of a function.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Argument {
    pub(super) name: String,
    /// The number of its dtype, if it is one tensor whose dtype no attribute decides.
    pub(super) dtype: Option<u32>,
    whole: Bytes,
}

/// An entry of the library which says that one function is the gradient of another, or of an operation.
#[derive(Debug)]
pub(super) struct Gradient {
    /// The number of the library's field.
    number: u32,
    pub(super) functions: Vec<String>,
    whole: Bytes,
}

impl GraphDef {
    pub(super) fn parse(message: Bytes) -> Result<Self, String> {
        let mut graph = Self::default();
        for field in fields(message) {
            let field = field?;
            match field.number {
                1 => graph.nodes.push(Node::parse(field.bytes()?)?),
                2 => graph.add_library(field.bytes()?)?,
                _ => graph.rest.extend_from_slice(&field.whole),
            }
        }
        Ok(graph)
    }

    /// The serialized graph with other nodes and functions.
    pub(super) fn with(&self, nodes: Vec<Rope>, functions: Vec<Rope>, gradients: &[&Gradient]) -> Rope {
        let mut library = Rope::default();
        functions.into_iter().for_each(|function| library.nested(1, function));
        gradients.iter().for_each(|gradient| library.shared(gradient.number, &gradient.whole));
        library.raw(&self.library_rest);
        let mut graph = Rope::default();
        nodes.into_iter().for_each(|node| graph.nested(1, node));
        graph.nested(2, library);
        graph.raw(&self.rest);
        graph
    }

    fn add_library(&mut self, message: Bytes) -> Result<(), String> {
        for field in fields(message) {
            let field = field?;
            match field.number {
                1 => {
                    let function = Function::parse(field.bytes()?)?;
                    if let Some(twice) = self.functions.insert(function.name.clone(), function) {
                        return Err(format!("the function `{}` is there twice", twice.name));
                    }
                }
                // GradientDef names two functions; RegisteredGradient a function and the type of an operation.
                number @ (2 | 3) => {
                    let whole = field.bytes()?;
                    let names = fields(whole.clone()).map(|field| field.and_then(|field| Ok((field.number, field.text()?))));
                    let names: Vec<(u32, String)> = names.collect::<Result<_, String>>()?;
                    let functions = names.into_iter().filter(|(part, _)| *part == 1 || (*part == 2 && number == 2));
                    self.gradients.push(Gradient { number, functions: functions.map(|(_, name)| name).collect(), whole });
                }
                _ => self.library_rest.extend_from_slice(&field.whole),
            }
        }
        Ok(())
    }
}

impl Node {
    fn parse(message: Bytes) -> Result<Self, String> {
        let mut node = Self::default();
        for field in fields(message) {
            let field = field?;
            match field.number {
                1 => node.name = field.text()?,
                2 => node.op = field.text()?,
                3 => node.inputs.push(field.text()?),
                5 => node.attributes.extend([entry(field.bytes()?)?]),
                7 => node.full_type.extend_from_slice(&field.whole),
                _ => node.rest.extend_from_slice(&field.whole),
            }
        }
        Ok(node)
    }

    /// The inputs that are tensors.
    pub(super) fn tensors(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().map(String::as_str).take_while(|input| !input.starts_with('^'))
    }

    /// The serialized node, with the attribute `more` besides its own.
    pub(super) fn write(&self, more: Option<(&str, Rope)>) -> Rope {
        let mut rope = Rope::default();
        rope.bytes(1, self.name.as_bytes());
        rope.bytes(2, self.op.as_bytes());
        self.inputs.iter().for_each(|input| rope.bytes(3, input.as_bytes()));
        self.attributes.iter().for_each(|(name, value)| rope.entry(5, name, value.clone().into()));
        if let Some((name, value)) = more {
            rope.entry(5, name, value);
        }
        rope.raw(&self.full_type);
        rope.raw(&self.rest);
        rope
    }
}

impl Function {
    fn parse(message: Bytes) -> Result<Self, String> {
        let mut function = Self::default();
        for field in fields(message) {
            let field = field?;
            match field.number {
                1 => function.add_signature(field.bytes()?)?,
                3 => function.nodes.push(Node::parse(field.bytes()?)?),
                4 => {
                    let (output, tensor) = entry(field.bytes()?)?;
                    let tensor = String::from_utf8(tensor.to_vec()).map_err(|_| format!("output `{output}`: expected text"))?;
                    function.returns.insert(output, tensor);
                }
                5 => function.attributes.extend([entry(field.bytes()?)?]),
                7 => function.argument_attributes.extend([numbered(&field)?]),
                8 => function.unique_ids.extend([numbered(&field)?]),
                _ => function.rest.extend_from_slice(&field.whole),
            }
        }
        Ok(function)
    }

    fn add_signature(&mut self, message: Bytes) -> Result<(), String> {
        for field in fields(message) {
            let field = field?;
            match field.number {
                1 => self.name = field.text()?,
                2 => self.arguments.push(Argument::parse(field.bytes()?)?),
                3 => self.outputs.push(Argument::parse(field.bytes()?)?),
                _ => self.signature_rest.extend_from_slice(&field.whole),
            }
        }
        Ok(())
    }

    pub(super) fn write(&self) -> Rope {
        let mut signature = Rope::default();
        signature.bytes(1, self.name.as_bytes());
        self.arguments.iter().for_each(|argument| signature.shared(2, &argument.whole));
        self.outputs.iter().for_each(|output| signature.shared(3, &output.whole));
        signature.raw(&self.signature_rest);
        let mut rope = Rope::default();
        rope.nested(1, signature);
        self.nodes.iter().for_each(|node| rope.nested(3, node.write(None)));
        self.returns.iter().for_each(|(output, tensor)| rope.entry(4, output, Bytes::from(tensor.clone()).into()));
        self.attributes.iter().for_each(|(name, value)| rope.entry(5, name, value.clone().into()));
        self.argument_attributes.values().chain(self.unique_ids.values()).for_each(|field| rope.piece(field));
        rope.raw(&self.rest);
        rope
    }
}

impl Argument {
    fn parse(whole: Bytes) -> Result<Self, String> {
        let (mut name, mut dtype, mut is_plain) = (String::new(), 0, true);
        for field in fields(whole.clone()) {
            let field = field?;
            match field.number {
                1 => name = field.text()?,
                3 => dtype = field.integer()?,
                // type_attr, number_attr, type_list_attr, is_ref.
                4 | 5 | 6 | 16 => is_plain = false,
                _ => {}
            }
        }
        Ok(Self { name, dtype: (is_plain && dtype != 0).then_some(dtype), whole })
    }

    /// The argument with another dtype, and without the description of the handle that it was.
    pub(super) fn with_dtype(&self, dtype: u32) -> Self {
        let mut rope = Rope::default();
        rope.bytes(1, self.name.as_bytes());
        rope.integer(3, dtype.into());
        let whole = rope.join(usize::MAX).expect("there is no limit; this is a bug").into();
        Self { name: self.name.clone(), dtype: Some(dtype), whole }
    }
}

/// Reads the key of an entry of a map, which is a number. Gives it with the whole field.
fn numbered(field: &Field) -> Result<(u32, Bytes), String> {
    let mut key = 0;
    for part in fields(field.bytes()?) {
        let part = part?;
        if part.number == 1 {
            key = part.integer()?;
        }
    }
    Ok((key, field.whole.clone()))
}
