//! Elements of inputs that a body leaves to be fetched.

/// A string element that is what a URL leads to. Until it is fetched it is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingUrl {
    /// The input, by its position in the signature.
    pub input: usize,
    /// The element, counted through the whole tensor.
    pub element: usize,
    /// What the caller wrote.
    pub url: String,
}
