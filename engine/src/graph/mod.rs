//! A TensorFlow graph, read from its GraphDef without the large constants, to find the operations that a fed tensor reaches, those that
//! change the model's state, and those that mix rows. Pure.
//!
//! - `demands`: follows a fed tensor through the graph and gathers the demands on its shape.
//! - `effects`: which operations may change state.
//! - `rows`: follows the rows of a run; `row_rules`: which operations keep rows apart; `facts`: what the attributes of a node say;
//!   `values`: what is known of a tensor.
//! - `freeze`: makes constants of the variables that a model only reads.
//! - `initialised`: what a model's initialiser sets up, and which fetches need it.
//! - `nodes`: the nodes of a graph or a function, and which node takes the outputs of which.
//! - `operations`: the lists of operations by the shapes that they take.
//! - `proto`: the fields of a GraphDef that are read.
//! - `text`: graphs written as text, for tests.

mod demands;
mod effects;
mod facts;
#[expect(unused_imports, reason = "sessions do not load frozen graphs yet")]
#[cfg_attr(not(test), expect(dead_code, reason = "sessions do not load frozen graphs yet"))]
mod freeze;
mod initialised;
mod nodes;
mod operations;
mod proto;
mod row_rules;
mod rows;
#[cfg(test)]
mod text;
mod values;

pub(crate) use demands::{Demands, Graph};
pub(crate) use effects::stateless_operations;
pub(crate) use initialised::Initialised;
