//! The flags of tokens and TLS.

use std::path::PathBuf;
use std::sync::Arc;

use structopt::StructOpt;
use tfweb_engine::Error;

use super::values::Usage;
use crate::transport::tls::{Tls, TlsFiles};
use crate::transport::tokens::{Access, Tokens};

/// The flags of tokens and TLS as typed.
#[derive(StructOpt, Clone, Debug)]
#[structopt(name = "Tokens and TLS")]
pub struct AccessFlags {
    /// Token that callers must send as `Authorization: Bearer TOKEN`. The flag may repeat; in the variable, commas separate tokens. Without any token everybody may call
    #[structopt(long = "api_token", env = "TFWEB_API_TOKEN", value_name = "TOKEN", number_of_values = 1, hide_env_values = true)]
    pub api_token: Vec<String>,
    /// File with tokens that callers may send, one on each line. tfweb reads it again when it changes
    #[structopt(long = "api_token_file", env = "TFWEB_API_TOKEN_FILE", value_name = "FILE", parse(from_os_str))]
    pub api_token_file: Option<PathBuf>,
    /// Token for administrators, who may add, move and remove models, and also call them. Without such a token nobody may change models over the network
    #[structopt(long = "admin_token", env = "TFWEB_ADMIN_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub admin_token: Option<String>,
    /// File with tokens for administrators, one on each line. tfweb reads it again when it changes
    #[structopt(long = "admin_token_file", env = "TFWEB_ADMIN_TOKEN_FILE", value_name = "FILE", parse(from_os_str))]
    pub admin_token_file: Option<PathBuf>,
    /// File with the certificate chain (PEM) for TLS on the HTTP and the gRPC port. tfweb reads it again when it changes
    #[structopt(long = "tls_cert", env = "TFWEB_TLS_CERT", value_name = "FILE", parse(from_os_str))]
    pub tls_cert: Option<PathBuf>,
    /// File with the private key (PEM) of the certificate
    #[structopt(long = "tls_key", env = "TFWEB_TLS_KEY", value_name = "FILE", parse(from_os_str))]
    pub tls_key: Option<PathBuf>,
    /// File with the certificates (PEM) of authorities that sign certificates of clients. Only clients with such a certificate can then connect
    #[structopt(long = "tls_client_ca", env = "TFWEB_TLS_CLIENT_CA", value_name = "FILE", parse(from_os_str))]
    pub tls_client_ca: Option<PathBuf>,
}

impl AccessFlags {
    /// Whether administrators have a token, with which they can add models.
    pub(super) fn has_admin(&self) -> bool {
        self.admin_token.is_some() || self.admin_token_file.is_some()
    }

    pub(super) fn access(&self) -> Result<Arc<Access>, Usage> {
        let wrong = |error: Error| Usage::wrong(error.to_string());
        let admin: Vec<String> = self.admin_token.iter().cloned().collect();
        Ok(Arc::new(Access {
            api: Tokens::new("api_token", &self.api_token, self.api_token_file.clone()).map_err(wrong)?,
            admin: Tokens::new("admin_token", &admin, self.admin_token_file.clone()).map_err(wrong)?,
        }))
    }

    pub(super) fn tls(&self) -> Result<Option<Arc<Tls>>, Usage> {
        let files = match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => TlsFiles { cert: cert.clone(), key: key.clone(), client_ca: self.tls_client_ca.clone() },
            (None, Some(_)) => return Err(Usage::wrong("--tls_cert: expected a file, since --tls_key names one")),
            (Some(_), None) => return Err(Usage::wrong("--tls_key: expected a file, since --tls_cert names one")),
            (None, None) if self.tls_client_ca.is_some() => {
                return Err(Usage::wrong("--tls_client_ca: expected --tls_cert and --tls_key with it"));
            }
            (None, None) => return Ok(None),
        };
        Tls::open(files).map(|tls| Some(Arc::new(tls))).map_err(|error| Usage::wrong(format!("TLS: {error}")))
    }
}
