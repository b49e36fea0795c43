//! The flags of gRPC.

use std::path::PathBuf;

use structopt::StructOpt;

use super::values::{number, switch, within, Usage};
use crate::transport::grpc::Settings;

/// The port that gRPC servers use by convention, unless the flag is given.
const PORT: u16 = 50051;
/// The size of the largest message that gRPC's libraries take.
const MESSAGE_BYTES_LIMIT: usize = (1 << 31) - 1;

/// The flags of gRPC as typed.
#[derive(StructOpt, Clone, Debug)]
#[structopt(name = "gRPC")]
pub struct GrpcFlags {
    /// Port for gRPC on --host. 0 switches it off. Default: 50051
    #[structopt(long = "grpc_port", env = "TFWEB_GRPC_PORT", value_name = "PORT", parse(try_from_str = number))]
    pub grpc_port: Option<u16>,
    /// Path of a UNIX socket for gRPC, in addition to the port
    #[structopt(long = "grpc_socket_path", env = "TFWEB_GRPC_SOCKET_PATH", value_name = "PATH", parse(from_os_str))]
    pub grpc_socket_path: Option<PathBuf>,
    /// Maximum size of one gRPC message in bytes. A larger message is answered with RESOURCE_EXHAUSTED. The limit over HTTP is --request_size
    #[structopt(long = "grpc_message_size", env = "TFWEB_GRPC_MESSAGE_SIZE", value_name = "BYTES", default_value = "67108864", parse(try_from_str = number))]
    pub grpc_message_size: usize,
    /// Answer with the bytes of a tensor in tensor_content, and not with its values in the field of its dtype (float_val, ...) as TensorFlow Serving does
    #[structopt(long = "grpc_tensor_content", env = "TFWEB_GRPC_TENSOR_CONTENT", value_name = "SWITCH", default_value = "false", hide_default_value = true, parse(try_from_str = switch))]
    pub grpc_tensor_content: bool,
}

impl GrpcFlags {
    /// Checks the flags; none where gRPC is switched off.
    pub(super) fn settings(self) -> Result<Option<Settings>, Usage> {
        let settings = Settings {
            port: self.grpc_port.unwrap_or(PORT),
            is_default_port: self.grpc_port.is_none(),
            socket_path: self.grpc_socket_path,
            message_bytes_max: within("grpc_message_size", self.grpc_message_size, MESSAGE_BYTES_LIMIT)?,
        };
        Ok((settings.port != 0 || settings.socket_path.is_some()).then_some(settings))
    }
}
