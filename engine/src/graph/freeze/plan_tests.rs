//! Which variables are frozen, and why others are not. Graphs are text, as text.rs says. Each test fetches `y`.

use prost::Message;

use super::super::text;
use super::*;
use crate::dtype::DType;

/// Operations that the registry calls stateless.
pub(super) const STATELESS: &[&str] = &["Identity", "Mul", "Switch", "Merge", "PartitionedCall"];

/// Makes a plan of signatures that feed `x`, if the graph has it, and fetch one node each.
pub(super) fn plan_of(graph: &text::Graph, fetches: &[&str]) -> Result<Plan, String> {
    let feeds: Vec<String> = graph.nodes.iter().filter(|node| node.name == "x").map(|node| format!("{}:0", node.name)).collect();
    let signature = |fetch: &&str| Roots { feeds: feeds.clone(), fetches: vec![(*fetch).to_owned()] };
    let stateless = STATELESS.iter().map(|op| (*op).to_owned()).collect();
    Plan::new(graph.encode_to_vec().into(), fetches.iter().map(signature).collect(), &stateless)
}

/// Expects the frozen variables, and after a `|` the others, each `name: why`.
#[track_caller]
fn check_signatures(graph: &str, fetches: &[&str], expect: &str) {
    let plan = plan_of(&text::read(graph), fetches).unwrap();
    let frozen: Vec<String> = plan.variables().iter().map(|variable| variable.handles.join("=")).collect();
    let kept: Vec<String> = plan.kept().iter().map(|kept| format!("{}: {}", kept.handles.join("="), kept.why)).collect();
    assert_eq!(format!("{} | {}", frozen.join(" "), kept.join(", ")).trim(), expect, "{graph}");
}

#[track_caller]
fn check(graph: &str, expect: &str) {
    check_signatures(graph, &["y"], expect);
}

/// The variable `v`, as first line of a graph.
const V: &str = "v = VarHandleOp() dtype=float shared_name=\"v\"\n";

#[test]
fn a_variable_that_is_only_read_is_frozen() {
    check(&format!("{V} y = ReadVariableOp(v) dtype=float"), "v |");
    check(&format!("{V} y = ReadVariableOp(v:0) dtype=float\n a = AssignVariableOp(v, y) dtype=float"), "v |");
    check(&format!("{V} i = Const()\n y = ResourceGather(v, i) dtype=float Tindices=int32"), "v |");
    check(&format!("{V} i = Const()\n y = ResourceGatherNd(v, i) dtype=float Tindices=int32"), "v |");
    check(&format!("{V} y = VariableShape(v) out_type=int32"), "v |");
    check(&format!("{V} c = NoOp(^v)\n y = ReadVariableOp(v, ^c) dtype=float"), "v |");
}

#[test]
fn what_may_do_more_than_read_keeps_a_variable() {
    let read = "y = ReadVariableOp(v, ^a) dtype=float";
    check(
        &format!("{V} a = AssignVariableOp(v, n)\n n = Const()\n {read}"),
        "| v: `a` (AssignVariableOp) may do more than read it",
    );
    check(&format!("{V} a = NeverHeardOf(v)\n {read}"), "| v: `a` (NeverHeardOf) may do more than read it");
    check(
        &format!("{V} a = NeverHeardOf(v) f=@f\n {read}\n fn f(w: resource) -> ()"),
        "| v: `a` (NeverHeardOf) may do more than read it",
    );
    check(&format!("{V} a = f(v)\n {read}\n fn f(w: resource) -> ()"), "| v: `a` (f) may do more than read it");
    check(&format!("{V} a = VarIsInitializedOp(v)\n {read}"), "| v: `a` (VarIsInitializedOp) may do more than read it");
    check(&format!("{V} y = ReadVariableOp(v) dtype=double"), "| v: `y` (ReadVariableOp) may do more than read it");
    check(
        &format!("{V} y = ResourceGather(v, i) dtype=float batch_dims=1\n i = Const()"),
        "| v: `y` (ResourceGather) may do more than read it",
    );
    check(&format!("{V} y = IdentityN(v) T=[resource]"), "| v: `y` (IdentityN) may do more than read it");
    check("v = VarHandleOp() dtype=float shared_name=\"v\"\n y = Identity(v) T=resource", "| v: `y` is fetched");
    check("x = VarHandleOp() dtype=float shared_name=\"v\"\n y = ReadVariableOp(x) dtype=float", "| x: `x` is fed");
}

#[test]
fn one_assignment_in_one_signature_keeps_a_variable_in_all() {
    let graph = format!("{V} y = ReadVariableOp(v) dtype=float\n z = AssignAddVariableOp(v, y) dtype=float");
    check_signatures(&graph, &["y"], "v |");
    check_signatures(&graph, &["y", "z"], "| v: `z` (AssignAddVariableOp) may do more than read it");
}

#[test]
fn constants_hold_no_texts_and_no_variants() {
    check("v = VarHandleOp() dtype=string shared_name=\"v\"\n y = ReadVariableOp(v) dtype=string", "| v: its dtype is string");
    check("v = VarHandleOp() dtype=variant shared_name=\"v\"\n y = ReadVariableOp(v) dtype=variant", "| v: its dtype is variant");
}

#[test]
fn handles_with_the_same_name_are_one_variable() {
    let other = "w = VarHandleOp() dtype=float shared_name=\"v\"\n";
    let read = "r = ReadVariableOp(v) dtype=float\n";
    check(&format!("{V} {other} {read} y = ReadVariableOp(w, ^r) dtype=float"), "v=w |");
    check(&format!("{V} {other} {read} y = AssignVariableOp(w, r)"), "| v=w: `y` (AssignVariableOp) may do more than read it");
    let same = "w = VarHandleOp() dtype=float shared_name=\"v\" container=\"localhost\"\n";
    check(&format!("{V} {same} {read} y = AssignVariableOp(w, r)"), "| v=w: `y` (AssignVariableOp) may do more than read it");
    let elsewhere = "w = VarHandleOp() dtype=float shared_name=\"v\" container=\"c\"\n";
    check(&format!("{V} {elsewhere} {read} y = AssignVariableOp(w, r)"), "v | w: `y` (AssignVariableOp) may do more than read it");
    let typed = "w = VarHandleOp() dtype=double shared_name=\"v\"\n";
    check(&format!("{V} {typed} {read} y = ReadVariableOp(w, ^r) dtype=double"), "| v=w: its nodes differ in operation or dtype");
    // Handles without a name have the same, which is empty.
    check("v = VarHandleOp() dtype=float\n w = VarHandleOp() dtype=float\n r = ReadVariableOp(v) dtype=float\n y = AssignVariableOp(w, r)",
        "| v=w: `y` (AssignVariableOp) may do more than read it");
    let anonymous = "cd2c89b7-88b7-44c8-ad83-06c2a9158347";
    check(
        &format!("v = VarHandleOp() dtype=float shared_name=\"{anonymous}\"\n y = ReadVariableOp(v) dtype=float"),
        "| v: it has no name",
    );
}

#[test]
fn a_variable_that_a_function_names_is_kept() {
    let call = "r = ReadVariableOp(v) dtype=float\n y = StatefulPartitionedCall(r) f=@f Tin=[float] Tout=[]";
    let body = "fn f(a: float) -> ()\n h = VarHandleOp() dtype=float shared_name=\"v\"\n s = AssignVariableOp(h:resource:0, a)";
    check(&format!("{V} {call}\n {body}"), "| v: a function names it too");
    let error = |graph: &str| plan_of(&text::read(graph), &["y"]).unwrap_err();
    assert_eq!(error(&format!("{V} y = Const() dtype=resource")), "`y` (Const) may be any variable");
    let body = "fn f(a: float) -> ()\n h = _VarHandlesOp() shared_names=[\"v\"]";
    assert_eq!(error(&format!("{V} {call}\n {body}")), "`h` (_VarHandlesOp) may be any variable");
}

#[test]
fn an_operation_that_writes_into_what_it_takes_keeps_all_variables() {
    let graph = text::read(&format!("{V} r = ReadVariableOp(v) dtype=float\n y = InplaceAdd(r, r, r) T=float"));
    assert_eq!(plan_of(&graph, &["y"]).unwrap_err(), "`y` (InplaceAdd) may write into any variable");
}

#[test]
fn handles_are_followed_through_calls() {
    let call = "y = StatefulPartitionedCall(v) f=@f Tin=[resource] Tout=[float]";
    let inner = "fn f(a: resource) -> (o: float)\n c = PartitionedCall(a) f=@g Tin=[resource] Tout=[float]\n return o = c:output:0";
    let read = "fn g(b: resource) -> (o: float)\n r = ReadVariableOp(b) dtype=float\n return o = r:value:0";
    check(&format!("{V} {call}\n {inner}\n {read}"), "v |");
    let assign = "fn g(b: resource) -> (o: float)\n r = ReadVariableOp(b) dtype=float\n s = AssignVariableOp(b, r:value:0)\n return o = r:value:0";
    check(&format!("{V} {call}\n {inner}\n {assign}"), "| v: `s` (AssignVariableOp) may do more than read it");
    check(&format!("{V} {call}\n {inner}"), "| v: there is no function `g`");
    let given =
        "fn g(b: resource) -> (o: float, h: resource)\n r = ReadVariableOp(b) dtype=float\n return o = r:value:0\n return h = b";
    check(&format!("{V} {call}\n {inner}\n {given}"), "| v: the function `g` gives it as output `h`");
    let typed = "fn g(b: float) -> (o: float)\n return o = b";
    check(&format!("{V} {call}\n {inner}\n {typed}"), "| v: the function `g` has other arguments than its call");
    check(
        &format!("{V} y = PartitionedCall(v) f=@f Tin=[] Tout=[float]\n fn f() -> ()"),
        "| v: `y` (PartitionedCall) may do more than read it",
    );
}

#[test]
fn functions_whose_arguments_depend_on_attributes_are_not_entered() {
    let mut graph = text::read(&format!(
        "{V} y = PartitionedCall(v, v) f=@f Tin=[resource,resource] Tout=[]\n fn f(a: resource, b: resource) -> ()"
    ));
    let signature = graph.library.as_mut().unwrap().functions[0].signature.as_mut().unwrap();
    signature.arguments[0].type_attribute = "T".into();
    let plan = plan_of(&graph, &["y"]).unwrap();
    assert_eq!(plan.kept()[0].why, "the function `f` has other arguments than its call");
}

#[test]
fn functions_that_call_each_other_are_followed_once() {
    let call = "y = PartitionedCall(v) f=@f Tin=[resource] Tout=[]";
    let f = "fn f(a: resource) -> ()\n c = PartitionedCall(a) f=@g Tin=[resource] Tout=[]";
    let g = "fn g(a: resource) -> ()\n c = PartitionedCall(a) f=@f Tin=[resource] Tout=[]";
    check(&format!("{V} {call}\n {f}\n {g}"), "v |");
    check(&format!("{V} {call}\n {f}\n {g}\n s = AssignVariableOp(a, a)"), "| v: `s` (AssignVariableOp) may do more than read it");
}

#[test]
fn handles_are_followed_into_each_branch() {
    let read = "fn t(a: resource) -> (o: float)\n r = ReadVariableOp(a) dtype=float\n return o = r:value:0";
    let unused = "fn e(a: resource) -> (o: float)\n c = Const()\n return o = c:output:0";
    let assign = "fn e(a: resource) -> (o: float)\n s = AssignVariableOp(a, c:output:0)\n c = Const()\n return o = c:output:0";
    for op in ["If", "StatelessIf"] {
        let call = format!("x = Placeholder()\n y = {op}(x, v) then_branch=@t else_branch=@e Tin=[resource] Tout=[float]");
        check(&format!("{V} {call}\n {read}\n {unused}"), "v |");
        check(&format!("{V} {call}\n {read}\n {assign}"), "| v: `s` (AssignVariableOp) may do more than read it");
    }
    for op in ["Case", "StatelessCase"] {
        let call = format!("x = Placeholder()\n y = {op}(x, v) branches=@[t,e] Tin=[resource] Tout=[float]");
        check(&format!("{V} {call}\n {read}\n {unused}"), "v |");
        check(&format!("{V} {call}\n {read}\n {assign}"), "| v: `s` (AssignVariableOp) may do more than read it");
    }
    let condition = "y = If(v, v) then_branch=@t else_branch=@e Tin=[resource] Tout=[float]";
    check(&format!("{V} {condition}\n {read}\n {unused}"), "| v: `y` (If) may do more than read it");
}

/// A loop over a number and a handle, whose body has these lines.
fn loop_of(body: &str) -> String {
    format!(
        "{V} x = Placeholder()\n y = While(x, v) cond=@c body=@b T=[float,resource]
        fn c(n: float, h: resource) -> (o: bool)\n l = Less(n, n)\n return o = l:z:0
        fn b(n: float, h: resource) -> (m: float, g: resource)\n r = ReadVariableOp(h) dtype=float\n {body}"
    )
}

#[test]
fn a_loop_must_give_its_handles_back() {
    check(&loop_of("return m = r:value:0\n return g = h"), "v |");
    check(&loop_of("i = Identity(h) T=resource\n return m = r:value:0\n return g = i:output:0"), "v |");
    check(
        &loop_of("i = Make(h)\n return m = r:value:0\n return g = i:output:0"),
        "| v: the loop's body `b` may give another handle to its next turn",
    );
    check(&loop_of("i = Identity(j:output:0) T=resource\n j = Identity(i:output:0) T=resource\n return m = r:value:0\n return g = i:output:0"),
        "| v: the loop's body `b` may give another handle to its next turn");
    check(&loop_of("return m = h\n return g = h"), "| v: the function `b` gives it as output `m`");
    check(&loop_of("return m = r:value:0"), "| v: the loop's body `b` may give another handle to its next turn");
    let behind = loop_of("return m = r:value:0\n return g = h").replace("y = While", "w = While");
    check(&behind.replace("fn c", "y = ReadVariableOp(w:1) dtype=float\n fn c"), "v |");
    check(&behind.replace("fn c", "y = Identity(w:0) T=float\n fn c"), "v |");
    check(&behind.replace("fn c", "y = AssignVariableOp(w:1, w)\n fn c"), "| v: `y` (AssignVariableOp) may do more than read it");
}

#[test]
fn loops_and_branches_of_tensorflow_1_are_followed_where_one_handle_comes_out() {
    check(&format!("{V} e = Enter(v) T=resource is_constant=1\n y = ReadVariableOp(e) dtype=float"), "v |");
    check(&format!("{V} x = Placeholder()\n s = Switch(v, x) T=resource\n y = ReadVariableOp(s:1) dtype=float"), "v |");
    check(
        &format!("{V} x = Placeholder()\n s = Switch(v, x) T=resource\n y = AssignVariableOp(s:1, x)"),
        "| v: `y` (AssignVariableOp) may do more than read it",
    );
    check(&format!("{V} y = Merge(v, v) T=resource"), "| v: `y` (Merge) may do more than read it");
    check(&format!("{V} y = NextIteration(v) T=resource"), "| v: `y` (NextIteration) may do more than read it");
    check(&format!("{V} x = Placeholder()\n y = Switch(x, v) T=resource"), "| v: `y` (Switch) may do more than read it");
}

#[test]
fn variables_of_tensorflow_1_are_frozen_if_all_take_their_value() {
    let v = "v = VariableV2() dtype=float\n";
    check(&format!("{v} y = Identity(v) T=float"), "v |");
    check("v = Variable() dtype=float\n y = Mul(v, v) T=float", "v |");
    check(&format!("{v} y = StatefulPartitionedCall(v) f=@f Tin=[float]\n fn f(a: float) -> ()"), "v |");
    check(
        &format!("{v} y = PartitionedCall(v) f=@f Tin=[float_ref]\n fn f(a: float) -> ()"),
        "| v: `y` (PartitionedCall) may do more than read it",
    );
    check(&format!("{v} r = Identity(v) T=float\n y = Assign(v, r) T=float"), "| v: `y` (Assign) may do more than read it");
    check(&format!("{v} x = Placeholder()\n y = RefSwitch(v, x) T=float"), "| v: `y` (RefSwitch) may do more than read it");
    let same = "w = VariableV2() dtype=float shared_name=\"v\"\n";
    check(&format!("{v} {same} r = Identity(v) T=float\n y = Assign(w, r)"), "| v=w: `y` (Assign) may do more than read it");
    check("y = VariableV2() dtype=float", "y |");
    check("x = VariableV2() dtype=float\n y = Identity(x) T=float", "| x: it is fed");
}

#[test]
fn graphs_that_cannot_be_judged_say_why() {
    let error = |graph: &[u8]| {
        let roots = vec![Roots { feeds: Vec::new(), fetches: vec!["y".into()] }];
        Plan::new(Bytes::copy_from_slice(graph), roots, &HashSet::new()).unwrap_err()
    };
    assert!(error(b"\xff\xff").starts_with("the graph is no protobuf message"));
    assert_eq!(error(b"\x0a\x05y"), "the graph ends within a field of 5 bytes");
    assert_eq!(error(b"\x0b\x0c"), "the graph has a group as field 1");
    assert_eq!(error(b"\x08\x01"), "field 1 of the graph: expected bytes, found a number");
    assert_eq!(error(b""), "the graph has no node `y`");
    assert_eq!(error(&text::read("y = A()\n y = B()").encode_to_vec()), "the node `y` is there twice");
    assert_eq!(error(&text::read("y = A(missing)").encode_to_vec()), "the graph has no node `missing`");
    let functions = "y = A()\n fn f() -> ()\n fn f() -> ()";
    assert_eq!(error(&text::read(functions).encode_to_vec()), "the function `f` is there twice");
}

#[test]
fn no_prefix_of_a_graph_and_no_changed_byte_panics() {
    let graph = loop_of("return m = r:value:0\n return g = h");
    let bytes = text::read(&graph).encode_to_vec();
    let try_it = |bytes: Vec<u8>| {
        let roots = vec![Roots { feeds: vec!["x:0".into()], fetches: vec!["y".into()] }];
        let Ok(plan) = Plan::new(bytes.into(), roots, &HashSet::new()) else { return };
        let value = |variable: &Variable| Value {
            variable: variable.name.clone(),
            dtype: DType::Float32,
            dims: [1].as_slice().into(),
            bytes: Bytes::from_static(&[0; 4]),
        };
        let _ = plan.freeze(&[0], plan.variables().iter().map(value).collect());
    };
    (0..bytes.len()).for_each(|length| try_it(bytes[..length].to_vec()));
    for (index, change) in (0..bytes.len()).flat_map(|index| [1, 2, 8, 127, 255].map(|change| (index, change))) {
        let mut changed = bytes.clone();
        changed[index] ^= change;
        try_it(changed);
    }
}

#[test]
fn plans_of_other_graphs_have_other_keys() {
    let key = |graph: &str, fetches: &[&str]| plan_of(&text::read(graph), fetches).unwrap().key();
    let graph = format!("{V} y = ReadVariableOp(v) dtype=float\n z = Identity(y) T=float");
    assert_eq!(key(&graph, &["y"]), key(&graph, &["y"]));
    assert_ne!(key(&graph, &["y"]), key(&graph, &["z"]));
    assert_ne!(key(&graph, &["y"]), key(&graph.replace("Identity", "Mul"), &["y"]));
}

#[test]
fn a_plan_tells_which_variables_a_signature_uses() {
    let plan = plan_of(&text::read(&format!("{V} w = VarHandleOp() dtype=float shared_name=\"w\"\n y = ReadVariableOp(v) dtype=float\n z = ReadVariableOp(w) dtype=float")), &["y", "z"]).unwrap();
    assert_eq!(plan.nodes_of(0).unwrap(), HashSet::from(["y", "v"]));
    assert_eq!(plan.nodes_of(1).unwrap(), HashSet::from(["z", "w"]));
}
