//! The knowledge of a tensor while its signature runs on rows.

use super::facts::Sizes;

/// How a tensor depends on the rows of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is the same, whatever the rows are.
    Same,
    /// Its first dimension counts rows, and each depends on that row alone.
    Rows,
    /// Its elements depend on several rows, for certain, by an operation of this type.
    Mixed(String),
    /// Nobody knows.
    Unknown,
}

/// A tensor.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) kind: Kind,
    /// Its sizes, if its rank is known.
    pub(super) shape: Option<Sizes>,
    /// The integers of a small constant.
    pub(super) integers: Option<Vec<i64>>,
}

impl Kind {
    /// The operation by which rows depend on each other.
    pub(super) fn mixed(&self) -> Option<&str> {
        match self {
            Self::Mixed(operation) => Some(operation),
            Self::Same | Self::Rows | Self::Unknown => None,
        }
    }
}

impl Value {
    pub(super) const UNKNOWN: Self = Self { kind: Kind::Unknown, shape: None, integers: None };

    pub(super) fn is_rows(&self) -> bool {
        self.kind == Kind::Rows
    }

    pub(super) fn is_same(&self) -> bool {
        self.kind == Kind::Same
    }

    pub(super) fn rank(&self) -> Option<usize> {
        self.shape.as_ref().map(Vec::len)
    }

    /// The size of the first dimension, if it is known.
    pub(super) fn first_size(&self) -> Option<i64> {
        self.shape.as_ref()?.first().copied().filter(|size| *size >= 0)
    }
}
