//! A TensorFlow graph, read from its GraphDef without the constants, to find the operations that a fed tensor reaches. Pure.
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
