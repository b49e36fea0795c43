//! Which operations keep rows apart. Each rule holds for certain: where an operation or one of its axes is not known, nothing is.
//!
//! The names are those of TensorFlow 2.21. A rule speaks of an operation whose inputs are known to be rows, or the same for all rows.

use super::facts::Facts;
use super::operations::is_elementwise;
use super::values::{Kind, Value};

/// Operations on each element by itself, beside those that take any shape.
const ELEMENTWISE: &[&str] = &[
    "AddN",
    "BitwiseAnd",
    "BitwiseOr",
    "BitwiseXor",
    "CheckNumerics",
    "ClipByValue",
    "Complex",
    "ComplexAbs",
    "Conj",
    "EnsureShape",
    "Imag",
    "Invert",
    "PreventGradient",
    "Real",
    "Select",
    "StringJoin",
    "Substr",
];

/// Operations that treat each row of their first input by itself, if all other inputs are the same for all rows. Their first dimension
/// counts images, or what the operation calls a batch.
const OF_FIRST: &[&str] = &[
    "AvgPool",
    "AvgPool3D",
    "BiasAdd",
    "Conv2D",
    "Conv3D",
    "DecodeRaw",
    "DepthToSpace",
    "DepthwiseConv2dNative",
    "LRN",
    "MaxPool",
    "MaxPool3D",
    "MaxPoolV2",
    "ResizeArea",
    "ResizeBicubic",
    "ResizeBilinear",
    "ResizeNearestNeighbor",
    "SpaceToDepth",
];

/// Operations along the last dimension.
const OF_LAST: &[&str] = &["LogSoftmax", "Softmax", "TopKV2"];

/// Operations along the axes that their second input names.
const OF_AXES: &[&str] = &["All", "Any", "ArgMax", "ArgMin", "Cumprod", "Cumsum", "Max", "Mean", "Min", "Prod", "ReverseV2", "Sum"];

/// Operations that change only how many dimensions there are.
const OF_SHAPE: &[&str] = &["ExpandDims", "Reshape", "Squeeze"];

/// The values of the output depend on those of the first inputs, so what is mixed stays mixed. The number tells how many inputs.
const CARRIES: &[(&str, usize)] = &[
    ("BatchMatMulV2", 2),
    ("ConcatV2", usize::MAX),
    ("GatherV2", 1),
    ("MatMul", 2),
    ("Pack", usize::MAX),
    ("Pad", 1),
    ("StridedSlice", 1),
    ("Tile", 1),
    ("Transpose", 1),
];

/// Tells how the output of an operation of type `op` depends on rows.
pub(super) fn kind_of(op: &str, facts: &Facts, inputs: &[Value], output: Option<&[i64]>) -> Kind {
    let carried = inputs.iter().take(carries(op)).find_map(|value| value.kind.mixed());
    if let Some(mixer) = carried {
        return Kind::Mixed(mixer.to_owned());
    }
    if inputs.iter().any(|value| !matches!(value.kind, Kind::Same | Kind::Rows)) {
        return Kind::Unknown;
    }
    let Some(first) = inputs.first() else { return Kind::Unknown };
    let of_first = first.is_rows() && inputs[1..].iter().all(Value::is_same);
    if is_elementwise(op) || ELEMENTWISE.contains(&op) {
        // A table has no shape.
        let operands = if op.starts_with("LookupTable") { &inputs[1..] } else { inputs };
        return rows_if(broadcasts(operands));
    }
    if OF_FIRST.contains(&op) {
        return rows_if(of_first);
    }
    if OF_LAST.contains(&op) && of_first {
        return first.rank().map_or(Kind::Unknown, |rank| along(op, rank == 1));
    }
    if OF_AXES.contains(&op) && of_first {
        return takes_first(first, inputs.get(1)).map_or(Kind::Unknown, |takes_first| along(op, takes_first));
    }
    if OF_SHAPE.contains(&op) && of_first {
        return rows_if(output.is_some_and(|output| has_same_rows(first, output)));
    }
    match op {
        "FusedBatchNorm" | "FusedBatchNormV2" | "FusedBatchNormV3" if of_first => {
            let is_training = facts.number("is_training").unwrap_or(1) == 1;
            along(if is_training { "FusedBatchNorm in training mode" } else { op }, is_training)
        }
        "Unique" | "UniqueV2" | "UniqueWithCounts" if of_first && first.rank() == Some(1) => along(op, true),
        _ => rows_if(keeps_rows(op, facts, inputs, output).unwrap_or(false)),
    }
}

/// Whether an operation that is in no list keeps rows apart. `None` if that cannot be told.
fn keeps_rows(op: &str, facts: &Facts, inputs: &[Value], output: Option<&[i64]>) -> Option<bool> {
    let (first, last) = (inputs.first()?, inputs.last()?);
    let second = inputs.get(1);
    let axis = |axis: i64, rank: Option<usize>| normal(axis, rank).map(|axis| axis != 0);
    let all_rows = |values: &[Value]| values.iter().all(Value::is_rows);
    let first_integer =
        |value: Option<&Value>, wanted: &[i64]| value?.integers.as_ref().map(|integers| integers.starts_with(wanted));
    match op {
        "MatMul" => Some(first.is_rows() && second?.is_same() && facts.number("transpose_a").unwrap_or(0) == 0),
        "BatchMatMul" | "BatchMatMulV2" | "BatchMatMulV3" => {
            let (rank, other) = (first.rank()?, second?);
            let is_weight = other.is_same() && (other.rank()? <= 2 || (other.rank()? == rank && other.first_size() == Some(1)));
            Some(first.is_rows() && rank >= 3 && (is_weight || (other.is_rows() && other.rank()? == rank)))
        }
        "Einsum" => Some(einsum_keeps_rows(&facts.equation, inputs)),
        "ConcatV2" => Some(all_rows(&inputs[..inputs.len() - 1]) && axis(*last.integers.as_ref()?.first()?, first.rank())?),
        "Pack" => Some(all_rows(inputs) && axis(facts.number("axis").unwrap_or(0), first.rank().map(|rank| rank + 1))?),
        "Unpack" => Some(first.is_rows() && axis(facts.number("axis").unwrap_or(0), first.rank())?),
        "Split" => Some(second?.is_rows() && axis(*first.integers.as_ref()?.first()?, second?.rank())?),
        "SplitV" => Some(first.is_rows() && second?.is_same() && axis(*last.integers.as_ref()?.first()?, first.rank())?),
        "OneHot" => Some(first.is_rows() && inputs[1..].iter().all(Value::is_same) && facts.number("axis").unwrap_or(-1) != 0),
        "Pad" | "PadV2" | "MirrorPad" => {
            Some(first.is_rows() && inputs[1..].iter().all(Value::is_same) && first_integer(second, &[0, 0])?)
        }
        "Tile" => Some(first.is_rows() && first_integer(second, &[1])?),
        "Transpose" => Some(first.is_rows() && first_integer(second, &[0])?),
        "ResourceGather" => Some(first.is_same() && second?.is_rows() && facts.number("batch_dims").unwrap_or(0) == 0),
        "GatherV2" => {
            let (axis, batch_dims) = (*last.integers.as_ref()?.first()?, facts.number("batch_dims").unwrap_or(0));
            let is_lookup = first.is_same() && second?.is_rows() && (axis, batch_dims) == (0, 0);
            let is_column = first.is_rows() && second?.is_same() && axis > 0 && batch_dims == 0;
            let is_beside = first.is_rows() && second?.is_rows() && axis >= batch_dims && batch_dims > 0;
            Some(is_lookup || is_column || is_beside)
        }
        "StridedSlice" => {
            let bit = |name: &str| facts.number(name).unwrap_or(0) & 1 == 1;
            let is_whole = bit("begin_mask") && bit("end_mask") && first_integer(inputs.get(3), &[1])?;
            let is_odd = bit("ellipsis_mask") || bit("new_axis_mask") || bit("shrink_axis_mask");
            Some(first.is_rows() && inputs[1..].iter().all(Value::is_same) && is_whole && !is_odd)
        }
        // Dense features of known sizes; others are padded to the longest of the run.
        "ParseExampleV2" => {
            let is_dense = facts.number("num_sparse").unwrap_or(0) == 0 && output?.iter().skip(1).all(|size| *size >= 0);
            Some(first.is_rows() && first.rank()? == 1 && is_dense && inputs[1..].iter().all(Value::is_same))
        }
        _ => None,
    }
}

/// How many of its first inputs give an operation its values.
fn carries(op: &str) -> usize {
    if matches!(op, "OnesLike" | "ZerosLike") {
        return 0;
    }
    if is_elementwise(op) || ELEMENTWISE.contains(&op) {
        return usize::MAX;
    }
    let is_of_first =
        [OF_FIRST, OF_LAST, OF_AXES, OF_SHAPE].iter().any(|list| list.contains(&op)) || op.starts_with("FusedBatchNorm");
    CARRIES.iter().find(|(known, _)| *known == op).map_or(usize::from(is_of_first), |(_, inputs)| *inputs)
}

fn rows_if(keeps_rows: bool) -> Kind {
    if keeps_rows {
        Kind::Rows
    } else {
        Kind::Unknown
    }
}

/// The output of an operation that works along one dimension of rows, which may be the first.
fn along(op: &str, is_first: bool) -> Kind {
    if is_first {
        Kind::Mixed(op.to_owned())
    } else {
        Kind::Rows
    }
}

/// Whether the first dimension of all rows stays the first when the inputs broadcast.
fn broadcasts(inputs: &[Value]) -> bool {
    let rows = || inputs.iter().filter(|value| value.is_rows());
    let others = || inputs.iter().filter(|value| value.is_same());
    let is_scalar = |value: &Value| value.rank() == Some(0);
    let Some(rank) = rows().next().and_then(Value::rank) else {
        return rows().count() == 1 && others().all(is_scalar);
    };
    let is_below =
        |value: &Value| value.rank().is_some_and(|other| other < rank || (other == rank && value.first_size() == Some(1)));
    rows().all(|value| value.rank() == Some(rank)) && others().all(is_below)
}

/// The position of an axis. A negative one counts from the last dimension.
fn normal(axis: i64, rank: Option<usize>) -> Option<i64> {
    if axis >= 0 {
        Some(axis)
    } else {
        rank.and_then(|rank| i64::try_from(rank).ok()).map(|rank| axis + rank)
    }
}

/// Whether the first dimension is one of the axes.
fn takes_first(value: &Value, axes: Option<&Value>) -> Option<bool> {
    let axes = axes?.integers.as_ref()?;
    let axes: Option<Vec<i64>> = axes.iter().map(|&axis| normal(axis, value.rank())).collect();
    axes.map(|axes| axes.contains(&0))
}

/// Whether an output of these sizes that has the elements of `rows` in the same order has as many rows: their number is open, and each
/// row has as many elements.
fn has_same_rows(rows: &Value, output: &[i64]) -> bool {
    let elements =
        |sizes: &[i64]| sizes.iter().try_fold(1_i64, |count, &size| if size > 0 { count.checked_mul(size) } else { None });
    let inside = |sizes: &[i64]| sizes.split_first().and_then(|(_, row)| elements(row));
    let is_open = output.first().is_some_and(|size| *size < 0);
    is_open && rows.shape.as_deref().and_then(inside).is_some_and(|elements| inside(output) == Some(elements))
}

/// Whether the label of the rows is the first of each input with rows and of the output, and of nothing else.
fn einsum_keeps_rows(equation: &str, inputs: &[Value]) -> bool {
    let Some((terms, output)) = equation.split_once("->") else { return false };
    let terms: Vec<&str> = terms.split(',').map(str::trim).collect();
    let Some(label) = output.trim().chars().next().filter(|label| label.is_alphabetic()) else { return false };
    let is_once = |term: &str| term.starts_with(label) && term.matches(label).count() == 1;
    let fits = |(term, value): (&&str, &Value)| if value.is_rows() { is_once(term) } else { !term.contains(label) };
    terms.len() == inputs.len() && is_once(output.trim()) && terms.iter().zip(inputs).all(fits)
}
