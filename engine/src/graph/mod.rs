//! A TensorFlow graph as its GraphDef tells of it, without its constants: which operations a fed tensor comes to. Pure.
//!
//! - `demands`: follows a fed tensor through the graph and gathers the demands on its shape.
//! - `nodes`: the nodes of a graph or a function, and which node takes the outputs of which.
//! - `operations`: the lists of operations by the shapes that they take.
//! - `proto`: the fields of a GraphDef that are read.

mod demands;
mod nodes;
mod operations;
mod proto;

pub(crate) use demands::{Demands, Graph};
