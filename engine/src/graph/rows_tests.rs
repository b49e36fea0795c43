//! Graphs written as text, with a line for each node: `name = Op(input, input) attribute=value`. `out=-1x4` is the shape of the output,
//! `value=1x2` makes a constant of integers, and `f=name` calls a function.

use prost::Message;

use super::super::proto::{
    ArgDef, AttrValue, Constant, Dim, FunctionDef, FunctionDefLibrary, GraphDef, ListValue, NameAttrList, NodeDef, OpDef,
    TensorShape,
};
use super::*;

fn numbers(text: &str) -> Vec<i64> {
    text.split('x').filter(|number| !number.is_empty()).map(|number| number.parse().unwrap()).collect()
}

fn shape(sizes: &[i64]) -> TensorShape {
    TensorShape { dims: sizes.iter().map(|&size| Dim { size }).collect(), is_unknown: false }
}

fn attribute(text: &str) -> (String, AttrValue) {
    let (name, value) = text.split_once('=').unwrap();
    let list = |shapes| Some(ListValue { shapes, ..ListValue::default() });
    match name {
        "out" => ("_output_shapes".into(), AttrValue { list: list(vec![shape(&numbers(value))]), ..AttrValue::default() }),
        "value" => {
            let int64 = numbers(value);
            let shape = Some(shape(&[int64.len().try_into().unwrap()]));
            let constant = Constant { dtype: 9, shape, int64, ..Constant::default() };
            ("value".into(), AttrValue { tensor: constant.encode_to_vec().into(), ..AttrValue::default() })
        }
        "f" => {
            let function = Some(NameAttrList { name: value.into(), ..NameAttrList::default() });
            ("f".into(), AttrValue { function, ..AttrValue::default() })
        }
        "equation" => (name.into(), AttrValue { text: value.into(), ..AttrValue::default() }),
        "is_training" => (name.into(), AttrValue { switch: value == "1", ..AttrValue::default() }),
        _ => (name.into(), AttrValue { integer: value.parse().unwrap(), ..AttrValue::default() }),
    }
}

fn node(line: &str) -> NodeDef {
    let (name, call) = line.split_once(" = ").unwrap();
    let (op, rest) = call.split_once('(').unwrap();
    let (inputs, attributes) = rest.split_once(')').unwrap();
    let inputs = inputs.split(", ").filter(|input| !input.is_empty()).map(str::to_owned).collect();
    NodeDef { name: name.into(), op: op.into(), inputs, attributes: attributes.split_whitespace().map(attribute).collect() }
}

fn nodes(text: &str) -> Vec<NodeDef> {
    text.split(';').map(str::trim).filter(|line| !line.is_empty()).map(node).collect()
}

/// A function written as `name(argument, argument) result`, and its nodes.
fn function((head, body): &(&str, &str)) -> FunctionDef {
    let (name, rest) = head.split_once('(').unwrap();
    let (arguments, result) = rest.split_once(") ").unwrap();
    let named = |name: &str| ArgDef { name: name.into(), ..ArgDef::default() };
    let arguments = arguments.split(", ").map(named).collect();
    let signature = OpDef { name: name.into(), arguments, outputs: vec![named("r")], ..OpDef::default() };
    FunctionDef { signature: Some(signature), nodes: nodes(body), results: [("r".to_owned(), result.to_owned())].into() }
}

/// The verdict of a graph when `x`, of this shape, is fed and `y` is fetched: `rows`, the operation that mixes rows, or nothing.
fn found(x: &[i64], main: &str, functions: &[(&str, &str)]) -> String {
    let library = FunctionDefLibrary { functions: functions.iter().map(function).collect() };
    let bytes = GraphDef { nodes: nodes(&format!("x = Placeholder(); {main}")), library: Some(library) }.encode_to_vec();
    let graph = Graph::parse(&bytes).unwrap();
    match graph.rows(&[(("x".into(), 0), x.to_vec())], &[("y".into(), 0)]) {
        Some(Rows::Independent) => "rows".into(),
        Some(Rows::Dependent(why)) => {
            why.strip_prefix("its operation ").and_then(|why| why.strip_suffix(" works on all rows together")).unwrap().into()
        }
        Some(Rows::Unproven(_)) | None => String::new(),
    }
}

#[track_caller]
fn check(x: &[i64], main: &str, expect: &str) {
    assert_eq!(found(x, main, &[]), expect, "{main}");
}

const VECTOR: &[i64] = &[-1];
const MATRIX: &[i64] = &[-1, 4];
const IMAGES: &[i64] = &[-1, 8, 8, 3];

#[test]
fn operations_on_each_element_keep_rows_apart() {
    check(VECTOR, "y = Relu(x)", "rows");
    check(VECTOR, "y = AddV2(x, x)", "rows");
    check(VECTOR, "c = Const() out=; y = Mul(x, c)", "rows");
    check(VECTOR, "c = Const() out=1; y = Mul(x, c)", "rows");
    check(VECTOR, "c = Const() out=4; y = Mul(x, c)", "");
    check(MATRIX, "c = Const() out=4; y = Mul(x, c)", "rows");
    check(MATRIX, "c = Const() out=1x4; y = Mul(c, x)", "rows");
    check(MATRIX, "c = Const() out=5x4; y = Mul(x, c)", "");
    check(MATRIX, "c = Const() out=1x1x4; y = Mul(x, c)", "");
    check(MATRIX, "c = Const(); y = Mul(x, c)", "");
    check(MATRIX, "s = Mystery(x); y = Mul(x, s)", "");
    check(MATRIX, "k = Const() value=1; s = Sum(x, k) out=-1; y = Sub(x, s)", "");
    check(VECTOR, "t = HashTableV2(); d = Const() out=; y = LookupTableFindV2(t, x, d)", "rows");
    check(VECTOR, "y = Const() out=", "");
    check(VECTOR, "c = Const() out=; y = IdentityN(c, x)", "");
    check(VECTOR, "c = Const() out=; i = IdentityN(c, x); y = Relu(i:1)", "rows");
}

#[test]
fn layers_of_networks_keep_rows_apart() {
    check(MATRIX, "w = Const() out=4x2; m = MatMul(x, w) out=-1x2; b = Const() out=2; y = BiasAdd(m, b) out=-1x2", "rows");
    check(MATRIX, "w = Const() out=4x2; y = MatMul(x, w) transpose_a=1", "");
    check(MATRIX, "y = MatMul(x, x) transpose_b=1", "");
    check(IMAGES, "w = Const() out=3x3x3x8; c = Conv2D(x, w) out=-1x8x8x8; y = MaxPool(c)", "rows");
    check(IMAGES, "w = VarHandleOp(); r = ReadVariableOp(w); y = Conv2D(x, r)", "rows");
    check(&[-1, 7, 4], "w = Const() out=4x2; y = BatchMatMulV2(x, w)", "rows");
    check(&[-1, 7, 4], "w = Const() out=5x4x2; y = BatchMatMulV2(x, w)", "");
    check(&[-1, 7, 4], "y = BatchMatMulV2(x, x)", "rows");
    check(MATRIX, "y = BatchMatMulV2(x, x)", "");
    check(&[-1, 7, 4], "w = Const() out=4x2; y = Einsum(x, w) equation=abc,cd->abd", "rows");
    check(&[-1, 7, 4], "y = Einsum(x, x) equation=abc,adc->abd", "rows");
    check(&[-1, 7, 4], "y = Einsum(x, x) equation=abc,dbc->ad", "");
    check(&[-1, 7, 4], "w = Const() out=4x2; y = Einsum(x, w) equation=abc,cd->bad", "");
    check(VECTOR, "w = Const() out=9x4; k = Const() value=0; y = GatherV2(w, x, k)", "rows");
    check(MATRIX, "i = Const() value=2; k = Const() value=1; y = GatherV2(x, i, k)", "rows");
    check(MATRIX, "i = Const() value=2; k = Const() value=0; y = GatherV2(x, i, k)", "");
    check(VECTOR, "w = VarHandleOp(); y = ResourceGather(w, x)", "rows");
}

#[test]
fn normalisation_mixes_rows_in_training_mode_alone() {
    let norm = |more: &str| format!("s = Const() out=3; n = FusedBatchNormV3(x, s, s, s, s) {more}; y = Relu(n:0)");
    check(IMAGES, &norm("is_training=0"), "rows");
    check(IMAGES, &norm("is_training=1"), "FusedBatchNorm in training mode");
    check(IMAGES, &norm(""), "FusedBatchNorm in training mode");
    // A layer normalisation: the rows are in the second dimension.
    let layer = "k = Const() value=1x-1x4x1; r = Reshape(x, k) out=1x-1x4x1; s = Mystery(x); \
                 n = FusedBatchNormV3(r, s, s, s, s) out=1x-1x4x1; k2 = Const() value=-1x4; y = Reshape(n:0, k2) out=-1x4";
    check(MATRIX, layer, "");
}

#[test]
fn reductions_mix_rows_along_the_first_axis_alone() {
    let along = |op: &str, axis: &str| format!("k = Const() value={axis}; s = {op}(x, k); y = Relu(s)");
    for op in ["Mean", "Sum", "Max", "Cumsum", "ArgMax", "All", "ReverseV2"] {
        check(MATRIX, &along(op, "0"), op);
        check(MATRIX, &along(op, "-2"), op);
        check(MATRIX, &along(op, "1"), "rows");
        check(MATRIX, &along(op, "-1"), "rows");
        check(VECTOR, &along(op, "-1"), op);
        check(MATRIX, &format!("k = Mystery(x); y = {op}(x, k)"), "");
    }
    check(MATRIX, &along("Mean", "0x1"), "Mean");
    check(MATRIX, "y = Softmax(x)", "rows");
    check(VECTOR, "y = Softmax(x)", "Softmax");
    check(MATRIX, "k = Const() value=2; y = TopKV2(x, k)", "rows");
    check(VECTOR, "y = Unique(x)", "Unique");
    check(MATRIX, "k = Const() value=0; m = Mean(x, k) out=4; d = Sub(x, m) out=-1x4; y = Relu(d)", "Mean");
    check(MATRIX, "k = Const() value=0; m = Mean(x, k) out=4; s = Shape(m); f = Fill(s, s); y = Relu(f)", "");
    check(MATRIX, "k = Const() value=0; m = Mean(x, k) out=4; z = ZerosLike(m); y = AddV2(x, z)", "");
}

#[test]
fn shapes_change_behind_the_rows() {
    check(&[-1, 2, 2], "k = Mystery(); y = Reshape(x, k) out=-1x4", "rows");
    check(&[-1, 2, 2], "k = Shape(x); y = Reshape(x, k) out=-1x4", "");
    check(MATRIX, "k = Const() value=-1x2; y = Reshape(x, k) out=-1x2", "");
    check(MATRIX, "k = Const() value=-1; y = Reshape(x, k) out=-1", "");
    check(&[-1, -1], "k = Const() value=-1x2; y = Reshape(x, k) out=-1x2", "");
    check(MATRIX, "k = Const() value=1x4; y = Reshape(x, k) out=1x4", "");
    check(MATRIX, "k = Const() value=2; y = ExpandDims(x, k) out=-1x4x1", "rows");
    check(MATRIX, "k = Const() value=0x1; y = Transpose(x, k)", "rows");
    check(MATRIX, "k = Const() value=1x0; y = Transpose(x, k)", "");
    check(MATRIX, "k = Const() value=1; y = ConcatV2(x, x, k)", "rows");
    check(MATRIX, "k = Const() value=0; y = ConcatV2(x, x, k)", "");
    check(MATRIX, "y = Pack(x, x) axis=1", "rows");
    check(MATRIX, "y = Pack(x, x)", "");
    check(MATRIX, "k = Const() value=1; y = Split(k, x)", "rows");
    check(MATRIX, "k = Const() value=0; y = Split(k, x)", "");
    check(MATRIX, "k = Const() value=0x0x1x1; y = Pad(x, k)", "rows");
    check(MATRIX, "k = Const() value=1x0x1x1; y = Pad(x, k)", "");
    let slice = |masks: &str| format!("b = Const() value=0x0; s = Const() value=1x1; y = StridedSlice(x, b, b, s) {masks}");
    check(MATRIX, &slice("begin_mask=1 end_mask=1 shrink_axis_mask=2"), "rows");
    check(MATRIX, &slice("begin_mask=1 end_mask=1 shrink_axis_mask=1"), "");
    check(MATRIX, &slice("begin_mask=1"), "");
    check(MATRIX, &slice("begin_mask=1 end_mask=1 new_axis_mask=1"), "");
    check(VECTOR, "c = Const() out=; y = ParseExampleV2(x, c, c, c, c, c) out=-1x1", "rows");
    check(VECTOR, "c = Const() out=; y = ParseExampleV2(x, c, c, c, c, c) out=-1x-1", "");
}

#[test]
fn rows_are_followed_into_functions() {
    let call = "w = VarHandleOp() out=; y = StatefulPartitionedCall(x, w) f=outer";
    let outer = |op: &'static str| [("outer(a, w) c:output:0", "c = PartitionedCall(a, w) f=inner"), ("inner(a, w) r:0:0", op)];
    let found = |body| found(MATRIX, call, &outer(body));
    assert_eq!(found("v = ReadVariableOp(w) out=4x2; r = MatMul(a, v:value:0)"), "rows");
    assert_eq!(found("r = Softmax(a)"), "rows");
    assert_eq!(found("k = Const() value=0; r = Cumsum(a, k:output:0)"), "Cumsum");
    assert_eq!(found("r = Mystery(a)"), "");
    assert_eq!(found("r = PartitionedCall(a, w) f=outer"), "", "a circle ends");
    assert_eq!(found("r = PartitionedCall(a, w) f=nowhere"), "");
}

#[test]
fn loops_and_long_chains_end() {
    check(VECTOR, "y = Merge(x, n); n = NextIteration(y)", "");
    let chain: String = (0..50_000).map(|place| format!("n{} = Relu(n{place}); ", place + 1)).collect();
    check(VECTOR, &format!("n0 = Relu(x); {chain} y = Relu(n50000)"), "rows");
    let doubling: Vec<(String, String)> = (0..30)
        .map(|depth| {
            (format!("f{depth}(a) r:0:0"), format!("b = PartitionedCall(a) f=f{0}; r = PartitionedCall(b:0:0) f=f{0}", depth + 1))
        })
        .collect();
    let functions: Vec<(&str, &str)> = doubling.iter().map(|(head, body)| (head.as_str(), body.as_str())).collect();
    assert_eq!(found(VECTOR, "y = PartitionedCall(x) f=f0", &functions), "", "of 2^30 calls few are followed");
}
