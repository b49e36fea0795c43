//! The settings of protocols, and the parts that they share.

use std::path::PathBuf;
use std::sync::Arc;

use crate::serving::State;
use crate::transport::tokens::Access;

/// The settings of all protocols.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether a JSON object is one example and not columns (native protocol).
    pub batch_transpose: bool,
    /// The directory of static files.
    pub static_path: Option<PathBuf>,
    /// Whether gRPC answers carry tensors as bytes, and not as values in the field of their dtype (TensorFlow Serving).
    pub grpc_tensor_content: bool,
    /// Whether metrics have a port of their own, and are not on the port that serves models.
    pub has_admin_port: bool,
}

/// The parts from which a protocol is made.
pub struct Parts<'a> {
    /// The state of the server.
    pub state: &'a Arc<State>,
    /// The tokens for calls and for changes of models.
    pub access: &'a Arc<Access>,
    /// The settings of all protocols.
    pub settings: &'a Settings,
    /// Whether the protocol is for the admin port, which checks no token.
    pub is_admin_port: bool,
}
