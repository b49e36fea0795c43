//! The flags of the HTTP port: where it listens, and how large a body may be.

use std::path::PathBuf;
use std::time::Duration;

use structopt::StructOpt;

use super::values::{number, switch, within, Usage};
use crate::transport::http::Cors;

/// The longest time that an idle connection can stay open: a day.
const KEEP_ALIVE_SECONDS_LIMIT: usize = 86_400;

/// The flags of HTTP as typed.
#[derive(StructOpt, Clone, Debug)]
#[structopt(name = "HTTP")]
pub struct HttpFlags {
    /// Address to listen on for HTTP and gRPC
    #[structopt(long = "host", env = "TFWEB_HOST", value_name = "HOST", default_value = "0.0.0.0")]
    pub host: String,
    /// Port for HTTP/1.1 and HTTP/2. With 0 the system picks a free port, and the log names it. The variable PORT is read if neither this flag nor TFWEB_PORT is given
    #[structopt(long = "port", env = "TFWEB_PORT", value_name = "PORT", default_value = "8080", parse(try_from_str = number))]
    pub port: u16,
    /// Maximum size of a request's body over HTTP in bytes, after decompression. A larger body is answered with 413. The limit over gRPC is --grpc_message_size
    #[structopt(long = "request_size", env = "TFWEB_REQUEST_SIZE", value_name = "BYTES", default_value = "67108864", parse(try_from_str = number))]
    pub request_size: usize,
    /// Seconds that an idle HTTP connection stays open. Give more than the idle time of the load balancer before the server
    #[structopt(long = "keep_alive_seconds", env = "TFWEB_KEEP_ALIVE_SECONDS", value_name = "SECONDS", default_value = "75", parse(try_from_str = number))]
    pub keep_alive_seconds: usize,
    /// Take one JSON object as one example: its values, and those of the answer, have no batch dimension
    #[structopt(long = "batch_transpose", env = "TFWEB_BATCH_TRANSPOSE", value_name = "SWITCH", default_value = "false", hide_default_value = true, parse(try_from_str = switch))]
    pub batch_transpose: bool,
    /// Origin whose pages may call the server from a browser, such as https://app.example.org, or * for all pages. The flag may repeat; in the variable, commas separate origins. Default: none
    #[structopt(long = "cors_origin", env = "TFWEB_CORS_ORIGIN", value_name = "ORIGIN", number_of_values = 1)]
    pub cors_origin: Vec<String>,
    /// Let pages of no other origin call the server from a browser. This is the default; the flag stays for old command lines
    #[structopt(long = "no_cors", env = "TFWEB_NO_CORS", value_name = "SWITCH", parse(try_from_str = switch))]
    pub no_cors: Option<bool>,
    /// Directory of files to serve under /web/, and at every other path that no route takes
    #[structopt(long = "static_path", env = "TFWEB_STATIC_PATH", value_name = "DIR", parse(from_os_str))]
    pub static_path: Option<PathBuf>,
}

impl HttpFlags {
    /// How long an idle connection stays open.
    pub(super) fn keep_alive(&self) -> Result<Duration, Usage> {
        let seconds = within("keep_alive_seconds", self.keep_alive_seconds, KEEP_ALIVE_SECONDS_LIMIT)?;
        Ok(Duration::from_secs(seconds as u64))
    }

    /// The pages that may call the server.
    pub(super) fn cors(&self) -> Result<Cors, Usage> {
        match (self.no_cors, self.cors_origin.is_empty()) {
            (Some(true), false) => return Err(Usage::wrong("--no_cors: expected no --cors_origin with it")),
            (Some(false), true) => {
                return Err(Usage::wrong("--no_cors: expected --cors_origin with false, got no origin that may call"))
            }
            (Some(true) | None, true) | (Some(false) | None, false) => {}
        }
        Cors::new(&self.cors_origin).map_err(|error| Usage::wrong(format!("--cors_origin: {error}")))
    }

    /// The directory of static files, which exists.
    pub(super) fn static_path(&self) -> Result<Option<PathBuf>, Usage> {
        match &self.static_path {
            Some(path) if !path.is_dir() => Err(Usage::wrong(format!("--static_path: `{}` is not a directory", path.display()))),
            path => Ok(path.clone()),
        }
    }
}
