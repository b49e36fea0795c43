//! The labels of metrics, log lines and spans.

/// The names of all protocols that predict. [`ProtocolId::index`] is a place in this list.
pub type ProtocolNames = &'static [&'static str];

/// A protocol that predicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtocolId {
    /// Its place in [`ProtocolNames`].
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
