//! TensorFlow's operations by the shapes that they take, as far as that decides which tensors may be fed.
//!
//! The lists name operations of TensorFlow 2.21 by their type in a GraphDef. An operation that is in none of them is taken to
//! need the shapes that its graph was built with.

use std::ops::RangeInclusive;

/// Operations on each element by itself, of one tensor. They take any shape, and their output has it too.
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

/// Operations on each element by itself, of several tensors, which they broadcast, or in a table. They take any shapes.
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

/// Operations that call the function in their attribute `f`; their inputs are its arguments.
const CALLS: &[&str] = &["PartitionedCall", "StatefulPartitionedCall"];

/// Operations whose output has the rank of their first input, which they do not take in any shape.
const KEEP_RANK: &[&str] = &["Pad", "PadV2", "MirrorPad"];

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

/// Inputs of operations that end the process where the last dimension is smaller: the inverse transform of one element has none.
const LAST_SIZES: &[(&str, usize)] = &[("IRFFT", 2), ("IRFFT2D", 2), ("IRFFT3D", 2), ("IRFFTND", 2)];

/// Operations whose kernels end the process where a dimension that they transform has no elements.
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

/// No greatest rank: `RANK_MAX` bounds what callers send.
const MANY: usize = usize::MAX;

/// The way of an operation with a tensor that comes to one of its inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// It takes any shape, and gives the same.
    AnyShape,
    /// It takes any shape, and may give a higher rank.
    Broadcast,
    /// It takes not every shape, and keeps the rank.
    KeepsRank,
    /// It hands the tensor to a function.
    Call,
    /// It takes no rank outside of this range, and perhaps not every shape within.
    Ranks(RangeInclusive<usize>),
    /// It takes no last dimension smaller than this.
    Last(usize),
    /// Nothing is known of it.
    Unknown,
}

/// Finds the way of an operation of type `op` with its input number `input`.
pub(super) fn takes(op: &str, input: usize) -> Takes {
    if OF_ONE.contains(&op) {
        Takes::AnyShape
    } else if OF_SEVERAL.contains(&op) {
        Takes::Broadcast
    } else if CALLS.contains(&op) {
        Takes::Call
    } else if KEEP_RANK.contains(&op) && input == 0 {
        Takes::KeepsRank
    } else {
        let ranks = RANKS.iter().find(|(known, inputs, _)| *known == op && inputs.contains(&input));
        let ranks = ranks.map(|(_, _, ranks)| Takes::Ranks(ranks.clone()));
        let last = LAST_SIZES.iter().find(|(known, _)| *known == op && input == 0).map(|(_, least)| Takes::Last(*least));
        ranks.or(last).unwrap_or(Takes::Unknown)
    }
}

/// Whether the operation of type `op` ends the process where it has nothing to work on.
pub(super) fn needs_elements(op: &str) -> bool {
    NEED_ELEMENTS.contains(&op)
}
