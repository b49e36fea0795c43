//! Graphs of some signatures or some values, and graphs that would be too large. Graphs are text, as text.rs says.

use prost::Message;

use super::super::text::{self, Graph};
use super::freeze_tests::{lines, values};
use super::tests::plan_of;
use super::*;
use crate::dtype::DType;

const TWO: &str = "v = VarHandleOp() dtype=float shared_name=\"v\"
    w = VarHandleOp() dtype=float shared_name=\"w\"
    y = ReadVariableOp(v) dtype=float
    z = ReadVariableOp(w) dtype=float
    both = Mul(y, z) T=float";

/// A float value of `count` elements.
fn floats(variable: &str, count: usize) -> Value {
    let bytes = Bytes::from(vec![0; 4 * count]);
    Value { variable: variable.into(), dtype: DType::Float32, dims: [count].as_slice().into(), bytes }
}

#[test]
fn each_signature_may_be_frozen_by_itself() {
    let plan = plan_of(&text::read(TWO), &["y", "z"]).unwrap();
    let frozen = plan.freeze(&[1], values(&plan)).unwrap();
    assert_eq!(frozen.variables, ["w"]);
    let text = text::write(&Graph::decode(frozen.graph.as_slice()).unwrap());
    assert_eq!(lines(&text), ["w = Const() dtype=float value=float[1][2,2,2,2]", "z = Identity(w) T=float"]);
}

#[test]
fn variables_without_values_stay_variables() {
    let plan = plan_of(&text::read(TWO), &["both"]).unwrap();
    let frozen = plan.freeze(&[0], vec![floats("w", 2)]).unwrap();
    assert_eq!(frozen.variables, ["w"]);
    let text = text::write(&Graph::decode(frozen.graph.as_slice()).unwrap());
    assert_eq!(lines(&text)[0], lines(TWO)[0]);
    assert_eq!(lines(&text)[2], lines(TWO)[2]);
}

#[test]
fn the_largest_values_are_left_out_where_all_are_too_large() {
    let plan = plan_of(&text::read(TWO), &["both"]).unwrap();
    let frozen = |value_bytes| {
        let values = vec![floats("v", 3), floats("w", 2)];
        plan.freeze_within(&[0], values, Limits { value_bytes, ..LIMITS }).unwrap().variables
    };
    assert_eq!(frozen(20), ["w", "v"]);
    assert_eq!(frozen(19), ["w"]);
    assert!(frozen(7).is_empty());
    let error = plan.freeze_within(&[0], vec![floats("v", 3)], Limits { graph_bytes: 50, ..LIMITS }).unwrap_err();
    assert!(error.starts_with("the frozen graph takes ") && error.ends_with(" bytes, and at most 50 are allowed"), "{error}");
}

#[test]
fn values_that_do_not_fit_their_variables_are_refused() {
    let plan = plan_of(&text::read(TWO), &["both"]).unwrap();
    let error = |values: Vec<Value>| plan.freeze(&[0], values).unwrap_err();
    let wrong = Value { dtype: DType::Int32, ..floats("v", 1) };
    assert_eq!(error(vec![wrong]), "the value of `v`: expected float32, found int32");
    let wrong = Value { dims: [2, 2].as_slice().into(), ..floats("v", 1) };
    assert_eq!(error(vec![wrong]), "the value of `v`: expected the bytes of float32 of shape [2, 2], found 4 bytes");
    let wrong = Value { dims: [usize::MAX, 2].as_slice().into(), ..floats("v", 1) };
    assert!(error(vec![wrong]).starts_with("the value of `v`: expected the bytes"));
    assert_eq!(error(vec![floats("y", 1)]), "`y`: expected a variable of the plan, once");
    assert_eq!(error(vec![floats("v", 1), floats("v", 1)]), "`v`: expected a variable of the plan, once");
}

#[test]
fn a_function_that_calls_itself_in_other_ways_is_not_copied_without_end() {
    // Each call moves the frozen argument among those that are none.
    let graph = "v = VarHandleOp() dtype=float shared_name=\"v\"
        s = VarHandleOp() dtype=string shared_name=\"s\"
        y = PartitionedCall(v, s, s, s) Tin=[resource,resource,resource,resource] Tout=[] f=@f
        fn f(a: resource, b: resource, c: resource, d: resource) -> ()
        n = PartitionedCall(b, c, d, a) Tin=[resource,resource,resource,resource] Tout=[] f=@f";
    let plan = plan_of(&text::read(graph), &["y"]).unwrap();
    let freeze = |copied_nodes| plan.freeze_within(&[0], values(&plan), Limits { copied_nodes, ..LIMITS });
    assert_eq!(freeze(7).unwrap_err(), "copies of functions would take too many nodes");
    let frozen = Graph::decode(freeze(8).unwrap().graph.as_slice()).unwrap();
    assert_eq!(frozen.library.unwrap().functions.len(), 4);
}
