//! What protocols are made of.

use std::path::PathBuf;
use std::sync::Arc;

use crate::serving::State;
use crate::transport::tokens::Access;

/// What the protocols are asked to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether one JSON object is one example (native).
    pub batch_transpose: bool,
    /// A directory of static files.
    pub static_path: Option<PathBuf>,
    /// Whether gRPC answers carry values in the field of their dtype (TensorFlow Serving).
    pub grpc_typed_values: bool,
    /// Whether figures are shown at a port of their own, and not beside the models.
    pub has_admin_port: bool,
}

/// What each protocol may take when it is made.
pub struct Parts<'a> {
    /// What every protocol may look at.
    pub state: &'a Arc<State>,
    /// Who may call, and who may change which models are served.
    pub access: &'a Arc<Access>,
    /// What the protocols are asked to do.
    pub settings: &'a Settings,
    /// Whether they are made for the admin port, where nobody is asked for a token.
    pub is_admin_port: bool,
}
