//! What TensorFlow's operations do with the shapes that come to them, as far as it decides which tensors may be fed.
//!
//! The lists name operations of TensorFlow 2.21 by their type in a GraphDef. An operation that is in none of them is taken to
//! need the shapes that its graph was built with.

use std::ops::RangeInclusive;

/// Operations on each element by itself, of one input. They take any shape, and their output has it too.
const OF_ONE: &[&str] = &[
    "Abs",
    "Acos",
    "Acosh",
    "AsString",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "Cast",
    "Ceil",
    "Cos",
    "Cosh",
    "Digamma",
    "Elu",
    "Erf",
    "Erfc",
    "Exp",
    "Expm1",
    "Floor",
    "Identity",
    "IdentityN",
    "Inv",
    "IsFinite",
    "IsInf",
    "IsNan",
    "LeakyRelu",
    "Lgamma",
    "Log",
    "Log1p",
    "LogicalNot",
    "Neg",
    "Reciprocal",
    "Relu",
    "Relu6",
    "Rint",
    "Round",
    "Rsqrt",
    "Selu",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Snapshot",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Square",
    "StopGradient",
    "StringLength",
    "StringLower",
    "StringUpper",
    "Tan",
    "Tanh",
];

/// Operations on each element by itself, of two inputs, which they broadcast. They take any shapes.
const OF_TWO: &[&str] = &[
    "Add",
    "AddV2",
    "Atan2",
    "Div",
    "DivNoNan",
    "Equal",
    "FloorDiv",
    "FloorMod",
    "Greater",
    "GreaterEqual",
    "Less",
    "LessEqual",
    "LogicalAnd",
    "LogicalOr",
    "Maximum",
    "Minimum",
    "Mod",
    "Mul",
    "MulNoNan",
    "NotEqual",
    "Pow",
    "RealDiv",
    "SquaredDifference",
    "Sub",
    "TruncateDiv",
    "TruncateMod",
    "Xdivy",
    "Xlogy",
];

/// Operations that call the function in their attribute `f`; their inputs are its arguments.
const CALLS: &[&str] = &["PartitionedCall", "StatefulPartitionedCall"];

/// Inputs of operations whose kernels end the process, or write where they may not, at any other rank than these.
const RANKS: &[(&str, &[usize], RangeInclusive<usize>)] = &[
    ("AvgPool", &[0], 4..=4),
    ("AvgPool3D", &[0], 5..=5),
    ("BatchMatMul", &[0, 1], 2..=MANY),
    ("BatchMatMulV2", &[0, 1], 2..=MANY),
    ("BatchMatMulV3", &[0, 1], 2..=MANY),
    ("BiasAdd", &[0], 2..=MANY),
    ("BlockLSTM", &[1], 3..=3),
    ("BlockLSTMV2", &[1], 3..=3),
    ("CombinedNonMaxSuppression", &[0], 4..=4),
    ("CombinedNonMaxSuppression", &[1], 3..=3),
    ("Conv2D", &[0], 4..=4),
    ("Conv3D", &[0], 5..=5),
    ("DepthwiseConv2dNative", &[0], 4..=4),
    ("EncodeJpeg", &[0], 3..=3),
    ("EncodePng", &[0], 3..=3),
    ("FakeQuantWithMinMaxVarsPerChannel", &[0], 1..=MANY),
    ("FusedBatchNorm", &[0], 4..=5),
    ("FusedBatchNormV2", &[0], 4..=5),
    ("FusedBatchNormV3", &[0], 4..=5),
    ("MatMul", &[0, 1], 2..=2),
    ("MaxPool", &[0], 4..=4),
    ("MaxPool3D", &[0], 5..=5),
    ("MaxPoolV2", &[0], 4..=4),
];

/// No greatest rank: [`crate::RANK_MAX`] bounds what callers send.
const MANY: usize = usize::MAX;

/// What an operation does with a tensor that comes to one of its inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// It takes any shape, and gives the same.
    AnyShape,
    /// It takes any shape, and may give a higher rank.
    Broadcast,
    /// It hands the tensor to a function.
    Call,
    /// It takes no rank outside of this range, and perhaps not every shape within.
    Ranks(RangeInclusive<usize>),
    /// Nothing is known of it.
    Unknown,
}

/// What the operation of type `op` does with its input number `input`.
pub(super) fn takes(op: &str, input: usize) -> Takes {
    if OF_ONE.contains(&op) {
        Takes::AnyShape
    } else if OF_TWO.contains(&op) {
        Takes::Broadcast
    } else if CALLS.contains(&op) {
        Takes::Call
    } else {
        let ranks = RANKS.iter().find(|(known, inputs, _)| *known == op && inputs.contains(&input));
        ranks.map_or(Takes::Unknown, |(_, _, ranks)| Takes::Ranks(ranks.clone()))
    }
}
