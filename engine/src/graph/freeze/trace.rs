//! Follows the handle of a variable through the graph, to tell whether all that it reaches only reads the variable.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::attributes::{Attribute, RESOURCE};
use super::body::{Body, Consumer, Outputs, Tensor};
use super::messages::{Function, Node};
use super::uses::{call_op, use_of, Call, Use};

/// The part of a graph that runs.
pub(super) struct Running<'a> {
    pub(super) main: Body<'a>,
    functions: BTreeMap<&'a str, &'a Function>,
    bodies: HashMap<&'a str, Body<'a>>,
    feeds: Vec<Tensor<'a>>,
    fetches: Vec<Tensor<'a>>,
}

/// A place that the handle reaches.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Place<'a> {
    /// The function whose body holds the place. `None` in the main graph.
    function: Option<&'a str>,
    outputs: Outputs<'a>,
    /// The index of the argument which the function, the body of a loop, has to give back as it came.
    turn: Option<usize>,
}

impl<'a> Running<'a> {
    pub(super) fn new(
        main: Vec<&'a Node>,
        functions: BTreeMap<&'a str, &'a Function>,
        feeds: Vec<Tensor<'a>>,
        fetches: Vec<Tensor<'a>>,
    ) -> Self {
        let bodies = functions.iter().map(|(name, function)| (*name, Body::new(function.nodes.iter().collect())));
        Self { main: Body::new(main), bodies: bodies.collect(), functions, feeds, fetches }
    }

    /// The nodes of the functions that run.
    pub(super) fn function_nodes(&self) -> impl Iterator<Item = &'a Node> + '_ {
        self.functions.values().flat_map(|function| &function.nodes)
    }

    /// Checks that a handle of a variable of `dtype`, the output of the node `handle`, is only read.
    ///
    /// # Errors
    /// Names what may do anything else.
    pub(super) fn check_handle(&self, handle: &'a str, dtype: u32) -> Result<(), String> {
        let mut waiting = vec![Place { function: None, outputs: Outputs::all(handle), turn: None }];
        let mut seen = HashSet::new();
        while let Some(place) = waiting.pop() {
            if !seen.insert(place) {
                continue;
            }
            self.check_ends(&place)?;
            let body = place.function.map_or(&self.main, |name| &self.bodies[name]);
            for consumer in body.consumers(place.outputs) {
                self.follow(body, consumer, &place, dtype, &mut waiting)?;
            }
        }
        Ok(())
    }

    /// Checks that a variable of TensorFlow 1, the output of the node `variable`, is only read.
    ///
    /// # Errors
    /// Names what may do anything else.
    pub(super) fn check_reference(&self, variable: &'a str, stateless: &HashSet<String>) -> Result<(), String> {
        let outputs = Outputs::all(variable);
        if self.feeds.iter().any(|feed| outputs.has(*feed)) {
            return Err("it is fed".into());
        }
        for Consumer { node, .. } in self.main.consumers(outputs) {
            let node = self.main.nodes[node];
            // The registry calls no operation stateless that takes a reference. All others take the value.
            let takes_value = stateless.contains(&node.op) || call_op(&node.op).is_some();
            if !takes_value || node.attributes.values().any(|value| Attribute::read(Some(value)).is_reference()) {
                return Err(may_change(node));
            }
        }
        Ok(())
    }

    /// Checks that the handle leaves the graph or function nowhere, except to the next turn of a loop.
    fn check_ends(&self, place: &Place<'a>) -> Result<(), String> {
        let is_there = |tensors: &[Tensor<'_>]| tensors.iter().any(|tensor| place.outputs.has(*tensor));
        let Some(name) = place.function else {
            return match (is_there(&self.feeds), is_there(&self.fetches)) {
                (false, false) => Ok(()),
                (true, _) => Err(format!("`{}` is fed", place.outputs.node)),
                (false, true) => Err(format!("`{}` is fetched", place.outputs.node)),
            };
        };
        let function = self.functions[name];
        for (output, tensor) in &function.returns {
            let is_turn = place.turn.is_some_and(|turn| function.outputs.get(turn).is_some_and(|given| given.name == *output));
            if !is_turn && place.outputs.has(Tensor::parse(tensor)) {
                return Err(format!("the function `{name}` gives it as output `{output}`"));
            }
        }
        Ok(())
    }

    fn follow(
        &self,
        body: &Body<'a>,
        consumer: Consumer,
        at: &Place<'a>,
        dtype: u32,
        waiting: &mut Vec<Place<'a>>,
    ) -> Result<(), String> {
        let node = body.nodes[consumer.node];
        match use_of(node, consumer.input, dtype)? {
            Use::Read(_) => {}
            Use::Pass => waiting.push(Place { outputs: Outputs::all(&node.name), ..*at }),
            Use::Call(call) => {
                let last = call.functions.len() - 1;
                for (index, name) in call.functions.iter().enumerate() {
                    let is_body = call.op.is_loop && index == last;
                    waiting.push(self.entered(name, &call, is_body)?);
                }
                if call.op.is_loop {
                    let outputs = Outputs { node: &node.name, output: Some(call.argument) };
                    waiting.push(Place { outputs, ..*at });
                }
            }
            Use::Unknown => return Err(may_change(node)),
        }
        Ok(())
    }

    /// The place where the handle enters the function `name`.
    fn entered(&self, name: &str, call: &Call, is_body: bool) -> Result<Place<'a>, String> {
        let (name, function) = self.functions.get_key_value(name).ok_or_else(|| format!("there is no function `{name}`"))?;
        let argument = function.arguments.get(call.argument).filter(|argument| argument.dtype == Some(RESOURCE));
        let is_plain = function.arguments.iter().chain(&function.outputs).all(|argument| argument.dtype.is_some());
        let (Some(argument), true) = (argument, is_plain) else {
            return Err(format!("the function `{name}` has other arguments than its call"));
        };
        if is_body && !gives_back(function, call.argument) {
            return Err(format!("the loop's body `{name}` may give another handle to its next turn"));
        }
        let turn = is_body.then_some(call.argument);
        Ok(Place { function: Some(*name), outputs: Outputs::all(&argument.name), turn })
    }
}

/// Whether the body of a loop gives its argument number `index` to the next turn as it came.
fn gives_back(function: &Function, index: usize) -> bool {
    let (Some(argument), Some(output)) = (function.arguments.get(index), function.outputs.get(index)) else { return false };
    let identities = function.nodes.iter().filter(|node| node.op == "Identity");
    let before: HashMap<&str, &str> = identities.filter_map(|node| Some((node.name.as_str(), node.tensors().next()?))).collect();
    let mut tensor = function.returns.get(&output.name).map(String::as_str);
    // A chain is no longer than this, unless it is a circle.
    for _ in 0..=before.len() {
        let Some(node) = tensor.map(|tensor| Tensor::parse(tensor).node) else { return false };
        if node == argument.name {
            return function.outputs.len() == function.arguments.len();
        }
        tensor = before.get(node).copied();
    }
    false
}

fn may_change(node: &Node) -> String {
    format!("`{}` ({}) may do more than read it", node.name, node.op)
}
