use super::super::proto::{AttrValue, FunctionDefLibrary, NameAttrList};
use super::super::text::{call_of, function, graph, node};
use super::*;

/// Feeds `x` and fetches `y`. Expects `any`, or the ranks as `least..greatest` and the smallest last dimension.
#[track_caller]
fn check(main: &str, functions: &[(&str, &str)], expect: &str) {
    let Demands { takes_any_shape, ranks, last_size_min } = graph(main, functions).demands("x", &["y"]);
    let (least, greatest) = ranks.into_inner();
    let greatest = if greatest == usize::MAX { String::new() } else { greatest.to_string() };
    let last = if last_size_min == 0 { String::new() } else { format!(" last {last_size_min}") };
    assert_eq!(if takes_any_shape { "any".to_owned() } else { format!("{least}..{greatest}{last}") }, expect, "{main}");
}

#[test]
fn elementwise_operations_take_any_shape() {
    check("x = Placeholder()\n a = Const()\n m = Mul(x, a)\n y = Add(m:0, a, ^x)", &[], "any");
    check("x = Placeholder()\n y = Identity(x)", &[], "any");
}

#[test]
fn other_operations_take_what_the_graph_was_built_for() {
    check("x = Placeholder()\n r = Relu(x)\n y = Reshape(r, s)", &[], "0..");
    check("x = Placeholder()\n y = NeverHeardOf(x)", &[], "0..");
}

#[test]
fn ranks_are_demanded_as_long_as_the_tensor_has_its_own() {
    check("x = Placeholder()\n r = Relu(x)\n y = Conv2D(r, k)", &[], "4..4");
    check("x = Placeholder()\n y = Conv2D(k, x)", &[], "0..");
    check("x = Placeholder()\n c = Cast(x)\n p = Pad(c, n)\n y = IRFFT(p, n)", &[], "0.. last 2");
    check("x = Placeholder()\n y = Pad(x, n)", &[], "0..");
    check("x = Placeholder()\n y = IRFFT(c, x)", &[], "0..");
    check("x = Placeholder()\n a = AddV2(x, bias)\n y = Conv2D(a, k)", &[], "0..");
    check("x = Placeholder()\n b = BiasAdd(x, c)\n m = FusedBatchNormV3(x)\n y = AddN(b, m)", &[], "4..5");
}

#[test]
fn only_nodes_that_are_fetched_count() {
    check("x = Placeholder()\n y = Mul(x, a)\n z = Conv2D(x, k)", &[], "any");
    check("x = Identity(before)\n before = Conv2D(other, k)\n y = Mul(x, a)", &[], "any");
}

#[test]
fn functions_are_looked_into() {
    let call = "x = Placeholder()\n y = StatefulPartitionedCall:outer(w, x)";
    let outer = ("outer(w, inputs)", "i = PartitionedCall:inner(inputs)\n identity = Identity(i:output:0)");
    check(call, &[outer, ("inner(t)", "r = Relu(t)\n s = Square(r:activations:0)")], "any");
    check(call, &[outer, ("inner(t)", "r = Relu(t)\n c = Conv3D(r:activations:0, k)")], "5..5");
    check(call, &[outer], "0..");
    let after = ("outer(w, inputs)", "i = PartitionedCall:inner(inputs)\n d = MatMul(i:output:0, w)");
    check(call, &[after, ("inner(t)", "r = Relu(t)")], "0..");
}

#[test]
fn functions_that_call_each_other_are_looked_into_once() {
    let call = "x = Placeholder()\n y = PartitionedCall:a(x)";
    check(call, &[("a(t)", "c = PartitionedCall:b(t)"), ("b(t)", "c = PartitionedCall:a(t)")], "any");
}

#[test]
fn operations_that_need_elements_are_found_wherever_they_are_run() {
    let needs = |main: &str, functions: &[(&str, &str)]| graph(main, functions).needs_elements(&["y"]);
    assert!(needs("x = Placeholder()\n y = IRFFT(x)", &[]));
    assert!(!needs("x = Placeholder()\n y = Relu(x)\n z = IRFFT(x)", &[]));
    let body = ("body(t)", "c = PartitionedCall:inner(t)");
    assert!(needs("x = Placeholder()\n y = While:body(x)", &[body, ("inner(t)", "f = RFFT(t)")]));
    assert!(!needs("x = Placeholder()\n y = While:body(x)", &[body, ("inner(t)", "f = PartitionedCall:body(t)")]));
    assert!(!needs("x = Placeholder()\n y = Relu(x)", &[("unused(t)", "f = RFFT(t)")]));
}

#[test]
fn the_operations_that_may_run_are_those_before_the_fetches_and_in_their_functions() {
    let functions = [("body(t)", "f = RFFT(t)\n c = inner(f)"), ("inner(t)", "r = Relu(t)"), ("unused(t)", "p = PrintV2(t)")];
    let graph = graph("x = Placeholder()\n y = While:body(x)\n z = Conv2D(y, k)", &functions);
    let operations: Vec<&str> = graph.operations(&["y"]).into_iter().collect();
    assert_eq!(operations, ["Placeholder", "RFFT", "Relu", "While"]);
}

#[test]
fn what_is_no_graph_is_an_error() {
    assert!(Graph::parse(b"\xff\xff").is_err());
}

#[test]
fn a_node_that_only_has_to_run_before_counts_too() {
    check("x = Placeholder()\n c = Conv2D(x, k)\n y = Mul(x, a, ^c)", &[], "4..4");
    check("x = Placeholder()\n c = Conv2D(x, k)\n n = NoOp(^c)\n y = Mul(x, a, ^n)", &[], "4..4");
}

/// Expects the operation that may change state when `y` is fetched. `Known` is the only one that the registry calls stateless.
#[track_caller]
fn check_state(main: &str, functions: &[(&str, &str)], expect: Option<&str>) {
    let stateless = HashSet::from(["Known".to_owned()]);
    assert_eq!(graph(main, functions).state_change(&["y"], &stateless), expect, "{main}");
}

#[test]
fn changes_of_state_are_found_wherever_they_are_run() {
    check_state("x = Known()\n v = VarHandleOp()\n r = ReadVariableOp(v)\n y = Known(x, r)", &[], None);
    check_state("v = VarHandleOp()\n a = AssignVariableOp(v)\n y = Known(^a)", &[], Some("AssignVariableOp"));
    check_state("v = VarHandleOp()\n a = AssignVariableOp(v)\n n = Known(^a)\n y = Known(n:0)", &[], Some("AssignVariableOp"));
    check_state("y = Known()\n a = AssignVariableOp(y)", &[], None);
    check_state("y = NeverHeardOf()", &[], Some("NeverHeardOf"));
}

#[test]
fn changes_of_state_are_found_in_functions() {
    let call = "x = Known()\n y = StatefulPartitionedCall:outer(x)";
    let outer = ("outer(a)", "w = While:body(a)");
    check_state(call, &[outer, ("body(a)", "r = Known(a)")], None);
    // Nothing takes its output, but TensorFlow runs operations with state in functions all the same.
    check_state(call, &[outer, ("body(a)", "r = Known(a)\n i = LookupTableInsertV2(a)")], Some("LookupTableInsertV2"));
    check_state(call, &[outer, ("body(a)", "w = While:body(a)\n q = QueueDequeueV2(a)")], Some("QueueDequeueV2"));
    check_state("y = outer()", &[("outer(a)", "p = PrintV2(a)")], Some("PrintV2"));
    check_state("y = Known()", &[("unused(a)", "p = PrintV2(a)")], None);
}

#[test]
fn functions_in_attributes_of_functions_are_found() {
    let inner = NameAttrList { name: "middle".into(), attributes: [("g".to_owned(), call_of("inner"))].into() };
    let list = super::super::proto::ListValue { functions: vec![inner] };
    let mut y = node("y = Known()");
    y.attributes = [("branches".to_owned(), AttrValue { list: Some(list), ..AttrValue::default() })].into();
    let functions = [("middle(a)", "k = Known(a)"), ("inner(a)", "w = WriteFile(a)")];
    let library = FunctionDefLibrary { functions: functions.iter().map(function).collect() };
    let bytes = GraphDef { nodes: vec![y], library: Some(library) }.encode_to_vec();
    let graph = Graph::parse(&bytes).unwrap();
    assert_eq!(graph.state_change(&["y"], &HashSet::from(["Known".to_owned()])), Some("WriteFile"));
}
