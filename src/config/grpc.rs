//! The flags of the gRPC door.

use std::path::PathBuf;

use structopt::StructOpt;

use super::{number, within, Usage};

/// gRPC's port by tradition, where the flag is not given.
const PORT: u16 = 50051;
/// The largest message that gRPC's libraries take.
const MESSAGE_BYTES_LIMIT: usize = (1 << 31) - 1;

/// What the user typed about gRPC.
#[derive(StructOpt, Clone, Debug)]
pub struct GrpcFlags {
    /// Port for gRPC, 50051 if not given; 0 switches it off
    #[structopt(long = "grpc_port", env = "TFWEB_GRPC_PORT", value_name = "PORT", parse(try_from_str = number))]
    pub grpc_port: Option<u16>,
    /// UNIX socket for gRPC, beside its port
    #[structopt(long = "grpc_socket_path", env = "TFWEB_GRPC_SOCKET_PATH", value_name = "PATH", parse(from_os_str))]
    pub grpc_socket_path: Option<PathBuf>,
    /// Most bytes of one gRPC message
    #[structopt(long = "grpc_message_size", env = "TFWEB_GRPC_MESSAGE_SIZE", value_name = "BYTES", default_value = "67108864", parse(try_from_str = number))]
    pub grpc_message_size: usize,
    /// Answer gRPC with a tensor's values in the field of its dtype, as TensorFlow Serving does, and not as bytes
    #[structopt(long = "grpc_typed_values")]
    pub grpc_typed_values: bool,
}

/// What the gRPC door needs to know, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcConfig {
    /// Where to listen; nowhere if 0.
    pub port: u16,
    /// Whether nobody asked for that port.
    pub is_default_port: bool,
    /// A UNIX socket to listen on too.
    pub socket_path: Option<PathBuf>,
    /// Most bytes of one message.
    pub message_bytes_max: usize,
    /// Whether answers carry values in the field of their dtype.
    pub typed_values: bool,
}

impl GrpcFlags {
    /// None where gRPC is switched off.
    pub(super) fn config(self) -> Result<Option<GrpcConfig>, Usage> {
        let config = GrpcConfig {
            port: self.grpc_port.unwrap_or(PORT),
            is_default_port: self.grpc_port.is_none(),
            socket_path: self.grpc_socket_path,
            message_bytes_max: within("grpc_message_size", self.grpc_message_size, MESSAGE_BYTES_LIMIT)?,
            typed_values: self.grpc_typed_values,
        };
        Ok((config.port != 0 || config.socket_path.is_some()).then_some(config))
    }
}
