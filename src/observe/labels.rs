//! The labels that figures, log lines and spans carry.

use std::sync::Arc;

use super::metrics::SignatureMetrics;

/// The names of all protocols that predict, in the order of their numbers.
pub type ProtocolNames = &'static [&'static str];

/// A protocol that predicts, by its place among [`ProtocolNames`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolId {
    /// Its place.
    pub index: usize,
    /// Its name in metrics and logs.
    pub name: &'static str,
}

impl ProtocolId {
    /// All protocols of these names.
    pub fn all(names: ProtocolNames) -> impl Iterator<Item = Self> {
        names.iter().enumerate().map(|(index, &name)| Self { index, name })
    }
}

/// The full name of a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureLabels {
    /// The model's name.
    pub model: String,
    /// The version's number.
    pub version: u64,
    /// The signature's name.
    pub signature: String,
}

/// The labels of a signature and its figures: what a measurement needs of the signature that is called.
#[derive(Clone)]
pub struct SignatureMeter {
    /// Its full name.
    pub labels: Arc<SignatureLabels>,
    /// Its figures.
    pub metrics: Arc<SignatureMetrics>,
}
