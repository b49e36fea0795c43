//! Makes constants of the variables that a model only reads, so that TensorFlow's own optimizer folds them into the graph: a GraphDef
//! in, a GraphDef out. Pure: the caller reads the values of the variables. A variable in doubt stays a variable. A graph in doubt is an
//! error that says why.
//!
//! - `plan`: decides which variables may be frozen, and freezes them.
//! - `variables`: finds the variables of a graph, and which nodes are the same one.
//! - `trace`: follows a handle through nodes, calls and loops, to tell whether it is only read.
//! - `uses`: the uses that operations make of a handle.
//! - `rewrite`: the nodes that take constants, and copies of the functions that get them.
//! - `constants`: the nodes that take the place of variables.
//! - `library`: which functions run.
//! - `body`: who takes which tensor.
//! - `messages`, `attributes`: the parts of a GraphDef that change.
//! - `wire`: the fields of a message, also unknown ones.
//! - `text`, `interpreter`: graphs as text, and runs of them, for tests.

mod attributes;
mod body;
mod constants;
#[cfg(test)]
mod interpreter;
mod library;
mod messages;
mod plan;
#[cfg(test)]
mod random_tests;
mod rewrite;
#[cfg(test)]
mod text;
mod trace;
mod uses;
mod variables;
mod wire;

pub(crate) use constants::Value;
pub(crate) use plan::{Frozen, Plan, Roots};
pub(crate) use variables::{Kept, Variable};
