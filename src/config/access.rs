//! The flags of who may call, and of TLS.

use std::path::PathBuf;
use std::sync::Arc;

use structopt::StructOpt;
use tfweb_engine::Error;

use super::Usage;
use crate::access::{Access, Tokens};
use crate::tls::{Tls, TlsFiles};

/// What the user typed about access.
#[derive(StructOpt, Clone, Debug)]
pub struct AccessFlags {
    /// Secret that callers must send as `Authorization: Bearer`; may repeat (in the variable: commas); without any, everybody may call
    #[structopt(long = "api_token", env = "TFWEB_API_TOKEN", value_name = "TOKEN", number_of_values = 1, hide_env_values = true)]
    pub api_token: Vec<String>,
    /// File of such secrets, one a line; read again when it changes
    #[structopt(long = "api_token_file", env = "TFWEB_API_TOKEN_FILE", value_name = "FILE", parse(from_os_str))]
    pub api_token_file: Option<PathBuf>,
    /// Secret that lets its bearer add, move and remove models, and call; nobody may without it
    #[structopt(long = "admin_token", env = "TFWEB_ADMIN_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub admin_token: Option<String>,
    /// File of such secrets, one a line; read again when it changes
    #[structopt(long = "admin_token_file", env = "TFWEB_ADMIN_TOKEN_FILE", value_name = "FILE", parse(from_os_str))]
    pub admin_token_file: Option<PathBuf>,
    /// Certificate chain (PEM) for TLS on both ports; read again when it changes
    #[structopt(long = "tls_cert", env = "TFWEB_TLS_CERT", value_name = "FILE", parse(from_os_str))]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[structopt(long = "tls_key", env = "TFWEB_TLS_KEY", value_name = "FILE", parse(from_os_str))]
    pub tls_key: Option<PathBuf>,
    /// Certificates (PEM) of those who may vouch for clients, which then must have a certificate
    #[structopt(long = "tls_client_ca", env = "TFWEB_TLS_CLIENT_CA", value_name = "FILE", parse(from_os_str))]
    pub tls_client_ca: Option<PathBuf>,
}

impl AccessFlags {
    /// Whether anybody may change what is served.
    pub(super) fn has_admin(&self) -> bool {
        self.admin_token.is_some() || self.admin_token_file.is_some()
    }

    pub(super) fn access(&self) -> Result<Arc<Access>, Usage> {
        let wrong = |flag: &'static str| move |error: Error| Usage::wrong(format!("--{flag}: {error}"));
        let admin: Vec<String> = self.admin_token.iter().cloned().collect();
        Ok(Arc::new(Access {
            api: Tokens::new(&self.api_token, self.api_token_file.clone()).map_err(wrong("api_token"))?,
            admin: Tokens::new(&admin, self.admin_token_file.clone()).map_err(wrong("admin_token"))?,
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
