//! Follows a fed tensor through the graph and gathers the demands that operations make on its shape.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ops::RangeInclusive;

use prost::Message;

use super::effects::may_change_state;
use super::nodes::{Body, Function, Node};
use super::operations::{needs_elements, shape_rule, ShapeRule};
use super::proto::GraphDef;

/// A graph and the functions that it calls.
#[derive(Debug)]
pub(crate) struct Graph {
    main: Body,
    pub(super) functions: HashMap<String, Function>,
}

/// The demands on the shape of a fed tensor by the operations that it reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Demands {
    /// Whether each of the operations takes any shape.
    pub(crate) takes_any_shape: bool,
    /// The ranks that all of the operations take.
    pub(crate) ranks: RangeInclusive<usize>,
    /// The smallest last dimension that all of the operations take.
    pub(crate) last_size_min: usize,
}

impl Demands {
    /// The demands of an unknown graph.
    pub(crate) const UNKNOWN: Self = Self { takes_any_shape: false, ranks: 0..=usize::MAX, last_size_min: 0 };
}

/// A place in the graph that the fed tensor reaches.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Place<'a> {
    /// The function whose body holds the place. `None` in the main graph.
    function: Option<&'a str>,
    /// The name of a node or of an argument.
    name: &'a str,
    /// Whether the tensor still has the rank that was fed.
    has_rank: bool,
}

impl Graph {
    /// Reads a serialized GraphDef.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, prost::DecodeError> {
        let GraphDef { nodes, library } = GraphDef::decode(bytes)?;
        let functions = library.unwrap_or_default().functions.into_iter().map(Function::named);
        Ok(Self { main: Body::new(nodes), functions: functions.collect() })
    }

    /// Finds the demands on a tensor that is fed in place of the node `feed`, when the nodes `fetches` are fetched.
    pub(crate) fn demands(&self, feed: &str, fetches: &[&str]) -> Demands {
        let computed = self.main.computed_for(feed, fetches);
        let mut demands = Demands { takes_any_shape: true, ..Demands::UNKNOWN };
        let mut waiting = vec![Place { function: None, name: feed, has_rank: true }];
        let mut seen = HashSet::new();
        while let Some(place) = waiting.pop() {
            if !seen.insert(place.clone()) {
                continue;
            }
            let body = place.function.map_or(&self.main, |name| &self.functions[name].body);
            for &(node, input) in body.consumers.get(place.name).into_iter().flatten() {
                let node = &body.nodes[node];
                if place.function.is_some() || computed.contains(node.name.as_str()) {
                    self.add_node(node, input, &place, &mut demands, &mut waiting);
                }
            }
        }
        demands
    }

    /// Whether an operation that runs for `fetches` ends the process if a dimension has no elements.
    pub(crate) fn needs_elements(&self, fetches: &[&str]) -> bool {
        self.running(fetches).iter().any(|node| needs_elements(&node.op))
    }

    /// The type of an operation that runs for `fetches` and may change the state of the model or of its surroundings. `None` if a
    /// run leaves no trace. `stateless` are the operations that TensorFlow knows to have no state.
    pub(crate) fn state_change(&self, fetches: &[&str], stateless: &HashSet<String>) -> Option<&str> {
        let changes = |node: &&Node| !self.functions.contains_key(&node.op) && may_change_state(&node.op, stateless);
        self.running(fetches).into_iter().find(changes).map(|node| node.op.as_str())
    }

    /// The types of the operations that may run when `fetches` are fetched.
    pub(crate) fn operations(&self, fetches: &[&str]) -> BTreeSet<&str> {
        let operations = self.running(fetches).into_iter().map(|node| node.op.as_str());
        operations.filter(|operation| !self.functions.contains_key(*operation)).collect()
    }

    /// All nodes that may run when `fetches` are fetched: those before them, and the bodies of the functions that these call. Nodes
    /// before the feeds count too, since a feed replaces only one of a node's outputs.
    pub(super) fn running(&self, fetches: &[&str]) -> Vec<&Node> {
        let computed = self.main.computed_for("", fetches);
        let mut running: Vec<&Node> = self.main.nodes.iter().filter(|node| computed.contains(node.name.as_str())).collect();
        let (mut seen, mut next) = (HashSet::new(), 0);
        while let Some(node) = running.get(next).copied() {
            let called = node.functions.iter().filter(|name| seen.insert(name.as_str()));
            running.extend(called.filter_map(|name| self.functions.get(name)).flat_map(|function| &function.body.nodes));
            next += 1;
        }
        running
    }

    /// Adds the demands of a node on its input `input`, and the places that the tensor reaches from there.
    fn add_node<'a>(&'a self, node: &'a Node, input: usize, at: &Place<'a>, demands: &mut Demands, waiting: &mut Vec<Place<'a>>) {
        let behind = |has_rank| Place { function: at.function, name: &node.name, has_rank };
        match shape_rule(&node.op, input) {
            ShapeRule::AnyShape => waiting.push(behind(at.has_rank)),
            ShapeRule::Broadcast => waiting.push(behind(false)),
            ShapeRule::KeepsRank => {
                demands.takes_any_shape = false;
                waiting.push(behind(at.has_rank));
            }
            ShapeRule::Call => {
                let called = node.function.as_deref().and_then(|name| self.functions.get_key_value(name));
                let argument = called.and_then(|(name, function)| Some((name, function.arguments.get(input)?)));
                match argument {
                    Some((function, name)) => {
                        waiting.push(Place { function: Some(function), name, has_rank: at.has_rank });
                        waiting.push(behind(false));
                    }
                    None => demands.takes_any_shape = false,
                }
            }
            ShapeRule::Ranks(ranks) => {
                demands.takes_any_shape = false;
                if at.has_rank {
                    let (least, greatest) = (*ranks.start(), *ranks.end());
                    demands.ranks = least.max(*demands.ranks.start())..=greatest.min(*demands.ranks.end());
                }
            }
            ShapeRule::LastSize(least) => {
                demands.takes_any_shape = false;
                if at.has_rank {
                    demands.last_size_min = least.max(demands.last_size_min);
                }
            }
            ShapeRule::Unknown => demands.takes_any_shape = false,
        }
    }
}

#[cfg(test)]
#[path = "demands_tests.rs"]
mod tests;
