//! The fields of a GraphDef and of an OpList that are read, numbered as in graph.proto, node_def.proto, function.proto, op_def.proto
//! and attr_value.proto of tensorflow/core/framework. prost skips all others, constants among them.

use std::collections::HashMap;

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(super) struct GraphDef {
    #[prost(message, repeated, tag = "1")]
    pub(super) nodes: Vec<NodeDef>,
    #[prost(message, optional, tag = "2")]
    pub(super) library: Option<FunctionDefLibrary>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NodeDef {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) op: String,
    /// `node` or `node:output`, and within functions `node:output:index`. `^node` only orders the nodes.
    #[prost(string, repeated, tag = "3")]
    pub(super) inputs: Vec<String>,
    #[prost(map = "string, message", tag = "5")]
    pub(super) attributes: HashMap<String, AttrValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AttrValue {
    #[prost(message, optional, tag = "1")]
    pub(super) list: Option<ListValue>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) text: Vec<u8>,
    #[prost(message, optional, tag = "10")]
    pub(super) function: Option<NameAttrList>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ListValue {
    #[prost(message, repeated, tag = "9")]
    pub(super) functions: Vec<NameAttrList>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NameAttrList {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    /// The values of the function's own attributes. They may be functions too.
    #[prost(map = "string, message", tag = "2")]
    pub(super) attributes: HashMap<String, AttrValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FunctionDefLibrary {
    #[prost(message, repeated, tag = "1")]
    pub(super) functions: Vec<FunctionDef>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FunctionDef {
    #[prost(message, optional, tag = "1")]
    pub(super) signature: Option<OpDef>,
    #[prost(message, repeated, tag = "3")]
    pub(super) nodes: Vec<NodeDef>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OpDef {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) arguments: Vec<ArgDef>,
    #[prost(bool, tag = "17")]
    pub(super) is_stateful: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ArgDef {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    /// Whether the operation takes the variable itself and not its value.
    #[prost(bool, tag = "16")]
    pub(super) is_ref: bool,
}
