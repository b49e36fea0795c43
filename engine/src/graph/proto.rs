//! The fields of a GraphDef and of an OpList that are read, numbered as in graph.proto, node_def.proto, function.proto, op_def.proto,
//! attr_value.proto, tensor.proto and tensor_shape.proto of tensorflow/core/framework. prost skips all others. Constants stay bytes of
//! the message, so that large ones are not copied.

use std::collections::HashMap;

use bytes::Bytes;
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
    #[prost(int64, tag = "3")]
    pub(super) integer: i64,
    #[prost(bool, tag = "5")]
    pub(super) switch: bool,
    #[prost(message, optional, tag = "7")]
    pub(super) shape: Option<TensorShape>,
    /// A [`Constant`].
    #[prost(bytes = "bytes", tag = "8")]
    pub(super) tensor: Bytes,
    #[prost(message, optional, tag = "10")]
    pub(super) function: Option<NameAttrList>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ListValue {
    #[prost(message, repeated, tag = "7")]
    pub(super) shapes: Vec<TensorShape>,
    #[prost(message, repeated, tag = "9")]
    pub(super) functions: Vec<NameAttrList>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TensorShape {
    #[prost(message, repeated, tag = "2")]
    pub(super) dims: Vec<Dim>,
    #[prost(bool, tag = "3")]
    pub(super) is_unknown: bool,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct Dim {
    /// -1 if it is not known.
    #[prost(int64, tag = "1")]
    pub(super) size: i64,
}

/// A TensorProto, of which only integers are read.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Constant {
    /// The number of the dtype.
    #[prost(int32, tag = "1")]
    pub(super) dtype: i32,
    #[prost(message, optional, tag = "2")]
    pub(super) shape: Option<TensorShape>,
    #[prost(bytes = "bytes", tag = "4")]
    pub(super) content: Bytes,
    #[prost(int32, repeated, tag = "7")]
    pub(super) int32: Vec<i32>,
    #[prost(int64, repeated, tag = "10")]
    pub(super) int64: Vec<i64>,
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
    /// For each output of the function: the output of a node.
    #[prost(map = "string, string", tag = "4")]
    pub(super) results: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OpDef {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) arguments: Vec<ArgDef>,
    #[prost(message, repeated, tag = "3")]
    pub(super) outputs: Vec<ArgDef>,
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
