//! Frozen graphs, node by node. Graphs are text, as text.rs says.

use prost::Message;

use super::super::text::{self, Graph, Named};
use super::tests::plan_of;
use super::*;
use crate::dtype::DType;

/// A value of one element for each of the variables.
pub(super) fn values(plan: &Plan) -> Vec<Value> {
    let value = |(variable, byte): (&Variable, u8)| Value {
        variable: variable.name.clone(),
        dtype: variable.dtype,
        dims: [1].as_slice().into(),
        bytes: Bytes::from(vec![byte; if variable.dtype == DType::Float64 { 8 } else { 4 }]),
    };
    plan.variables().iter().zip(1..).map(value).collect()
}

fn freeze(graph: &Graph, fetches: &[&str]) -> Graph {
    let plan = plan_of(graph, fetches).unwrap();
    let signatures: Vec<usize> = (0..fetches.len()).collect();
    let frozen = plan.freeze(&signatures, values(&plan)).unwrap();
    Graph::decode(frozen.graph.as_slice()).unwrap()
}

pub(super) fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

/// Freezes all variables that `y` reads, each with a value of one element.
#[track_caller]
fn check(graph: &str, expect: &str) {
    let frozen = text::write(&freeze(&text::read(graph), &["y"]));
    assert_eq!(lines(&frozen), lines(expect), "{frozen}");
}

#[test]
fn variables_become_constants_and_reads_take_their_value() {
    check(
        "x = Placeholder() dtype=float
        v = VarHandleOp(^x) dtype=float shared_name=\"v\" container=\"\" _class=[\"loc:@x\"]
        r = ReadVariableOp(v, ^x) dtype=float _class=[\"loc:@v\"] _output_shapes=shapes:s
        g = ResourceGather(v, x) dtype=float Tindices=int32 batch_dims=0 validate_indices=1
        n = ResourceGatherNd(v, x) dtype=float Tindices=int64
        s = VariableShape(v) out_type=int32
        y = Pack(r, g, n, s)
        unused = ReadVariableOp(v) dtype=float",
        "x = Placeholder() dtype=float
        v = Const(^x) _class=[\"loc:@x\"] dtype=float value=float[1][1,1,1,1]
        r = Identity(v, ^x) T=float _class=[\"loc:@v\"]
        g = Gather(v, x) Tindices=int32 Tparams=float validate_indices=1
        n = GatherNd(v, x) Tindices=int64 Tparams=float
        s = Shape(v) T=float out_type=int32
        y = Pack(r, g, n, s)",
    );
}

#[test]
fn nodes_that_one_handle_leaves_have_the_values_dtype() {
    check(
        "x = Placeholder()
        v = VarHandleOp() dtype=float shared_name=\"v\"
        i = Identity(v) T=resource _handle_dtypes=[float] _output_shapes=shapes:s
        e = Enter(i) T=resource frame_name=\"f\" is_constant=1
        s = Switch(e, x) T=resource
        y = ReadVariableOp(s:1) dtype=float",
        "x = Placeholder()
        v = Const() dtype=float value=float[1][1,1,1,1]
        i = Identity(v) T=float
        e = Enter(i) T=float frame_name=\"f\" is_constant=1
        s = Switch(e, x) T=float
        y = Identity(s:1) T=float",
    );
}

#[test]
fn calls_get_copies_of_their_functions() {
    check(
        "x = Placeholder() dtype=float
        v = VarHandleOp() dtype=float shared_name=\"v\"
        k = VarHandleOp() dtype=string shared_name=\"k\"
        y = StatefulPartitionedCall(x, v, k) Tin=[float,resource,resource] Tout=[float] _read_only_resource_inputs=1 config=\"c\" f=@f
        fn f(a: float, b: resource, c: resource) -> (o: float)
        p = PartitionedCall(b) Tin=[resource] Tout=[float] f=@g
        q = PartitionedCall(c) Tin=[resource] Tout=[float] f=@g
        n = NoOp(^q, ^p)
        return o = p:output:0
        fn g(b: resource) -> (o: float)
        r = ReadVariableOp(b) dtype=float
        m = Mul(r:value:0, r:value:0, ^r) T=float
        return o = r:value:0
        fn other(b: resource) -> (o: float)
        return o = b",
        "x = Placeholder() dtype=float
        v = Const() dtype=float value=float[1][1,1,1,1]
        k = VarHandleOp() dtype=string shared_name=\"k\"
        y = StatefulPartitionedCall(x, v, k) Tin=[float,float,resource] Tout=[float] config=\"c\" f=@f_frozen_0
        fn f_frozen_0(a: float, b: float, c: resource) -> (o: float)
        p = PartitionedCall(b) Tin=[float] Tout=[float] f=@g_frozen_1
        q = PartitionedCall(c) Tin=[resource] Tout=[float] f=@g
        n = NoOp(^q, ^p)
        return o = p:output:0
        fn g(b: resource) -> (o: float)
        r = ReadVariableOp(b) dtype=float
        m = Mul(r:value:0, r:value:0, ^r) T=float
        return o = r:value:0
        fn g_frozen_1(b: float) -> (o: float)
        r = Identity(b) T=float
        m = Mul(r:output:0, r:output:0, ^r) T=float
        return o = r:output:0",
    );
}

#[test]
fn the_same_arguments_share_a_copy_and_others_have_their_own() {
    let frozen = freeze(
        &text::read(
            "v = VarHandleOp() dtype=float shared_name=\"v\"
            w = VarHandleOp() dtype=float shared_name=\"w\"
            d = VarHandleOp() dtype=double shared_name=\"d\"
            a = PartitionedCall(v, w) f=@f Tin=[resource,resource] Tout=[]
            b = PartitionedCall(w, v) f=@f Tin=[resource,resource] Tout=[]
            c = PartitionedCall(v, d) f=@f Tin=[resource,resource] Tout=[]
            y = NoOp(^a, ^b, ^c)
            fn f(p: resource, q: resource) -> ()
            fn f_frozen_1() -> ()",
        ),
        &["y"],
    );
    let text = text::write(&frozen);
    let called = ["a", "b", "c"].map(|name| text.lines().find(|line| line.starts_with(&format!("{name} ="))).unwrap().to_owned());
    assert!(called[0].ends_with("Tin=[float,float] Tout=[] f=@f_frozen_0"), "{text}");
    assert!(called[1].ends_with("Tin=[float,float] Tout=[] f=@f_frozen_0"), "{text}");
    assert!(called[2].ends_with("Tin=[float,double] Tout=[] f=@f_frozen_2"), "the name 1 is taken: {text}");
}

#[test]
fn branches_get_their_copies() {
    check(
        "x = Placeholder()
        v = VarHandleOp() dtype=float shared_name=\"v\"
        i = If(x, x, v) Tcond=float Tin=[float,resource] Tout=[float] else_branch=@e output_shapes=shapes:s then_branch=@t
        y = Case(x, v, i) Tin=[resource,float] Tout=[float] branches=@[g,h]
        fn t(a: float, b: resource) -> (o: float)
        r = ReadVariableOp(b) dtype=float
        return o = r:value:0
        fn e(a: float, b: resource) -> (o: float)
        return o = a
        fn g(a: resource, b: float) -> (o: float)
        return o = b
        fn h(a: resource, b: float) -> (o: float)
        r = ReadVariableOp(a) dtype=float
        return o = r:value:0",
        "x = Placeholder()
        v = Const() dtype=float value=float[1][1,1,1,1]
        i = If(x, x, v) Tcond=float Tin=[float,float] Tout=[float] else_branch=@e_frozen_1 output_shapes=shapes:s then_branch=@t_frozen_0
        y = Case(x, v, i) Tin=[float,float] Tout=[float] branches=@[g_frozen_2,h_frozen_3]
        fn e_frozen_1(a: float, b: float) -> (o: float)
        return o = a
        fn g_frozen_2(a: float, b: float) -> (o: float)
        return o = b
        fn h_frozen_3(a: float, b: float) -> (o: float)
        r = Identity(a) T=float
        return o = r:output:0
        fn t_frozen_0(a: float, b: float) -> (o: float)
        r = Identity(b) T=float
        return o = r:output:0",
    );
}

#[test]
fn loops_carry_the_value_in_place_of_the_handle() {
    check(
        "x = Placeholder()
        v = VarHandleOp() dtype=float shared_name=\"v\"
        w = While(x, v, x) T=[float,resource,float] body=@b cond=@c output_shapes=shapes:sss
        y = ReadVariableOp(w:1) dtype=float
        fn c(n: float, h: resource, k: float) -> (o: bool)
        r = ReadVariableOp(h) dtype=float
        l = Less(n, r:value:0) T=float
        return o = l:z:0
        fn b(n: float, h: resource, k: float) -> (m: float, g: resource, k: float)
        i = Identity(h) T=resource
        r = ReadVariableOp(i:output:0) dtype=float
        return g = i:output:0
        return k = k
        return m = r:value:0",
        "x = Placeholder()
        v = Const() dtype=float value=float[1][1,1,1,1]
        w = While(x, v, x) T=[float,float,float] body=@b_frozen_1 cond=@c_frozen_0 output_shapes=shapes:sus
        y = Identity(w:1) T=float
        fn b_frozen_1(n: float, h: float, k: float) -> (m: float, g: float, k: float)
        i = Identity(h) T=float
        r = Identity(i:output:0) T=float
        return g = i:output:0
        return k = k
        return m = r:output:0
        fn c_frozen_0(n: float, h: float, k: float) -> (o: bool)
        r = Identity(h) T=float
        l = Less(n, r:output:0) T=float
        return o = l:z:0",
    );
}

#[test]
fn a_function_that_calls_itself_has_one_copy() {
    check(
        "v = VarHandleOp() dtype=float shared_name=\"v\"
        y = PartitionedCall(v) Tin=[resource] Tout=[float] f=@f
        fn f(a: resource) -> (o: float)
        c = PartitionedCall(a) Tin=[resource] Tout=[float] f=@f
        return o = c:output:0",
        "v = Const() dtype=float value=float[1][1,1,1,1]
        y = PartitionedCall(v) Tin=[float] Tout=[float] f=@f_frozen_0
        fn f_frozen_0(a: float) -> (o: float)
        c = PartitionedCall(a) Tin=[float] Tout=[float] f=@f_frozen_0
        return o = c:output:0",
    );
}

#[test]
fn a_variable_with_two_handles_is_held_once() {
    check(
        "v = VarHandleOp() dtype=float shared_name=\"v\"
        w = VarHandleOp(^v) dtype=float shared_name=\"v\"
        r = ReadVariableOp(v) dtype=float
        s = ReadVariableOp(w) dtype=float
        y = Mul(r, s) T=float",
        "v = Const() dtype=float value=float[1][1,1,1,1]
        w = Identity(v, ^v) T=float
        r = Identity(v) T=float
        s = Identity(w) T=float
        y = Mul(r, s) T=float",
    );
}

#[test]
fn variables_of_tensorflow_1_become_constants() {
    check(
        "v = VariableV2() container=\"\" dtype=float shared_name=\"\"
        r = Identity(v) T=float _class=[\"loc:@v\"]
        y = Mul(v, r) T=float",
        "v = Const() dtype=float value=float[1][1,1,1,1]
        r = Identity(v) T=float _class=[\"loc:@v\"]
        y = Mul(v, r) T=float",
    );
}

#[test]
fn nodes_are_placed_beside_nodes_that_are_there() {
    check(
        "x = Placeholder() _class=[\"loc:@gone\"]
        gone = Const()
        y = Mul(x, x) T=float _class=[\"loc:@x\",\"loc:@gone\"]",
        "x = Placeholder()
        y = Mul(x, x) T=float _class=[\"loc:@x\"]",
    );
}

#[test]
fn fields_that_nobody_knows_are_kept() {
    let mut graph = text::read(
        "v = VarHandleOp() dtype=float shared_name=\"v\"
        c = PartitionedCall(v) Tin=[resource] Tout=[float] f=@f
        y = Mul(c, c) T=float
        fn f(a: resource) -> (o: float)
        r = ReadVariableOp(a) dtype=float
        return o = r:value:0",
    );
    graph.versions = vec![0x08, 7];
    graph.unknown = vec![1; 5000];
    for node in &mut graph.nodes {
        (node.unknown, node.device, node.full_type) = (vec![2], "/cpu:0".into(), vec![3]);
    }
    let named = Named { name: "attributes of the function".into(), ..Named::default() };
    let call = graph.nodes[1].attributes.get_mut("f").unwrap().function.as_mut().unwrap();
    call.attributes.insert("T".into(), text::Attribute { function: Some(named), ..Default::default() });
    let function = &mut graph.library.as_mut().unwrap().functions[0];
    function.unknown = vec![4];
    function.control_returns = [("r".to_owned(), "r".to_owned())].into();
    function.signature.as_mut().unwrap().is_stateful = true;

    let frozen = freeze(&graph, &["y"]);
    assert_eq!((&frozen.versions, &frozen.unknown), (&graph.versions, &graph.unknown));
    for (node, before) in frozen.nodes.iter().zip(&graph.nodes) {
        assert_eq!((&node.unknown, &node.device), (&before.unknown, &before.device));
        let is_handle = node.name == "v";
        assert_eq!(node.full_type, if is_handle { Vec::new() } else { vec![3] }, "{node:?}");
    }
    let call = |graph: &Graph| graph.nodes[1].attributes["f"].function.as_ref().unwrap().attributes.clone();
    assert_eq!(call(&frozen), call(&graph));
    let (function, before) = (&frozen.library.as_ref().unwrap().functions[0], &graph.library.as_ref().unwrap().functions[0]);
    assert_eq!((&function.unknown, &function.control_returns), (&before.unknown, &before.control_returns));
    assert!(function.signature.as_ref().unwrap().is_stateful);
}

#[test]
fn copies_say_nothing_of_handles_that_they_do_not_take() {
    let mut graph = text::read(
        "v = VarHandleOp() dtype=float shared_name=\"v\"
        s = VarHandleOp() dtype=string shared_name=\"s\"
        y = PartitionedCall(s, v) Tin=[resource,resource] Tout=[] f=@f
        fn f(a: resource, b: resource) -> ()",
    );
    let function = &mut graph.library.as_mut().unwrap().functions[0];
    function.argument_attributes = [(0, Named::default()), (1, Named::default())].into();
    function.unique_ids = [(0, 5), (1, 6)].into();
    let names = ["_input_shapes", "api_implements", "api_preferred_device", "_noinline"];
    function.attributes = names.map(|name| (name.to_owned(), text::Attribute::default())).into();
    function.signature.as_mut().unwrap().arguments.iter_mut().for_each(|argument| argument.handle_data = vec![1]);
    let copy = freeze(&graph, &["y"]).library.unwrap().functions.remove(0);
    assert_eq!(copy.argument_attributes.into_keys().collect::<Vec<_>>(), [0]);
    assert_eq!(copy.unique_ids, [(0, 5)].into());
    assert_eq!(copy.attributes.into_keys().collect::<Vec<_>>(), ["_noinline"]);
    let handle_data: Vec<Vec<u8>> = copy.signature.unwrap().arguments.into_iter().map(|argument| argument.handle_data).collect();
    assert_eq!(handle_data, [vec![1], vec![]]);
}

#[test]
fn gradients_and_alternatives_of_functions_stay_with_them() {
    let mut graph = text::read(
        "y = PartitionedCall() f=@f
        fn f() -> ()
        fn gradient() -> ()
        fn alternative() -> ()
        fn lost() -> ()
        fn lost_gradient() -> ()",
    );
    let library = graph.library.as_mut().unwrap();
    let gradient = |of: &str, name: &str| text::Gradient { function: of.into(), gradient: name.into() };
    library.gradients = vec![gradient("f", "gradient"), gradient("lost", "lost_gradient")];
    for index in [0, 2] {
        let value = text::Attribute { text: Some(b"lstm".to_vec()), ..Default::default() };
        library.functions[index].attributes = [("api_implements".to_owned(), value)].into();
    }
    let library = freeze(&graph, &["y"]).library.unwrap();
    let names: Vec<String> = library.functions.into_iter().map(|function| function.signature.unwrap().name).collect();
    assert_eq!(names, ["alternative", "f", "gradient"]);
    assert_eq!(library.gradients, [gradient("f", "gradient")]);
}
