//! The shapes that TensorFlow's operations take, as far as they decide which tensors may be fed.
//!
//! The lists name operations of TensorFlow 2.21 by their type in a GraphDef. An operation that no list names counts as one that
//! needs the shapes with which its graph was built.

use std::ops::RangeInclusive;

/// Operations on each element of one tensor by itself. They take any shape, and their output has the same shape.
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
    "DecodeBase64",
    "Digamma",
    "Elu",
    "EncodeBase64",
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
    "OnesLike",
    "Reciprocal",
    "RegexFullMatch",
    "RegexReplace",
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
    "StaticRegexFullMatch",
    "StaticRegexReplace",
    "StopGradient",
    "StringLength",
    "StringLower",
    "StringStrip",
    "StringToHashBucket",
    "StringToHashBucketFast",
    "StringToHashBucketStrong",
    "StringToNumber",
    "StringUpper",
    "Tan",
    "Tanh",
    "ZerosLike",
];

/// Operations on each element by itself, of several tensors that they broadcast, or with a table. They take any shapes.
const OF_SEVERAL: &[&str] = &[
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
    "LookupTableFind",
    "LookupTableFindV2",
    "Maximum",
    "Minimum",
    "Mod",
    "Mul",
    "MulNoNan",
    "NotEqual",
    "Pow",
    "RealDiv",
    "SelectV2",
    "SquaredDifference",
    "Sub",
    "TruncateDiv",
    "TruncateMod",
    "Xdivy",
    "Xlogy",
];

/// Operations that call the function in their attribute `f`. Their inputs are its arguments.
const CALLS: &[&str] = &["PartitionedCall", "StatefulPartitionedCall"];

/// Operations whose output has the rank of their first input. They do not take that input in every shape.
const KEEP_RANK: &[&str] = &["Pad", "PadV2", "MirrorPad"];

/// Inputs of operations, with the ranks that they take. At any other rank the kernel ends the process or writes outside its memory.
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

/// Operations with the smallest last dimension of their first input. With a smaller one the kernel ends the process: the inverse
/// transform of one element has no elements.
const LAST_SIZES: &[(&str, usize)] = &[("IRFFT", 2), ("IRFFT2D", 2), ("IRFFT3D", 2), ("IRFFTND", 2)];

/// Operations whose kernels end the process if a dimension that they transform has no elements.
const NEED_ELEMENTS: &[&str] = &[
    "EncodeJpeg",
    "EncodePng",
    "FFT",
    "FFT2D",
    "FFT3D",
    "FFTND",
    "IFFT",
    "IFFT2D",
    "IFFT3D",
    "IFFTND",
    "IRFFT",
    "IRFFT2D",
    "IRFFT3D",
    "IRFFTND",
    "RFFT",
    "RFFT2D",
    "RFFT3D",
    "RFFTND",
];

/// Stands for no greatest rank. `RANK_MAX` bounds the rank of what clients send.
const MANY: usize = usize::MAX;

/// The rule of an operation for the shape of one of its inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ShapeRule {
    /// The operation takes any shape, and its output has the same.
    AnyShape,
    /// The operation takes any shape, and its output may have a higher rank.
    Broadcast,
    /// The operation does not take every shape. Its output has the rank of the input.
    KeepsRank,
    /// The operation hands the tensor to a function.
    Call,
    /// The operation takes only ranks in this range, and perhaps not every shape of such a rank.
    Ranks(RangeInclusive<usize>),
    /// The operation takes no last dimension smaller than this.
    LastSize(usize),
    /// No list names the operation.
    Unknown,
}

/// Finds the rule of an operation of type `op` for its input number `input`.
pub(super) fn shape_rule(op: &str, input: usize) -> ShapeRule {
    if OF_ONE.contains(&op) {
        ShapeRule::AnyShape
    } else if OF_SEVERAL.contains(&op) {
        ShapeRule::Broadcast
    } else if CALLS.contains(&op) {
        ShapeRule::Call
    } else if KEEP_RANK.contains(&op) && input == 0 {
        ShapeRule::KeepsRank
    } else {
        let ranks = RANKS.iter().find(|(known, inputs, _)| *known == op && inputs.contains(&input));
        let ranks = ranks.map(|(_, _, ranks)| ShapeRule::Ranks(ranks.clone()));
        let last = LAST_SIZES.iter().find(|(known, _)| *known == op && input == 0).map(|(_, least)| ShapeRule::LastSize(*least));
        ranks.or(last).unwrap_or(ShapeRule::Unknown)
    }
}

/// Whether an operation of type `op` works on each element by itself. It may broadcast its inputs.
pub(super) fn is_elementwise(op: &str) -> bool {
    OF_ONE.contains(&op) || OF_SEVERAL.contains(&op)
}

/// Whether an operation of type `op` ends the process if a dimension that it transforms has no elements.
pub(super) fn needs_elements(op: &str) -> bool {
    NEED_ELEMENTS.contains(&op)
}
