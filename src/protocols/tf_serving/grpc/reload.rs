//! HandleReloadConfigRequest: serves the models of a configuration and no others. Only for who bears `--admin_token`: what is
//! served is code that runs here.

use tfweb_engine::{Code, Error};
use tonic::metadata::{AsciiMetadataValue, MetadataMap};

use super::Door;
use crate::keeping::model_config;
use tfweb_proto::tensorflow::serving::{ReloadConfigRequest, ReloadConfigResponse, StatusProto};

impl Door {
    /// Whether a caller may change what is served.
    pub(super) fn may_reload(&self, metadata: &MetadataMap) -> Result<(), Error> {
        if self.app.access.admin.is_none() {
            return denied("models are changed here only with --admin_token set at start");
        }
        if self.app.access.may_change(metadata.get("authorization").map(AsciiMetadataValue::as_bytes)) {
            Ok(())
        } else {
            denied("expected metadata `authorization: Bearer` with the server's --admin_token")
        }
    }

    pub(super) async fn reload(&self, request: ReloadConfigRequest) -> Result<ReloadConfigResponse, Error> {
        let unchanging = || Error::new(Code::Unimplemented, "the models of this server cannot change");
        let keepers = self.app.keepers.as_ref().ok_or_else(unchanging)?;
        let config = request.config.unwrap_or_default();
        // An empty configuration is no wish to serve nothing.
        if config.config.is_some() {
            let specs = model_config::specs(&config).map_err(Error::invalid)?;
            keepers.replace(specs).await?;
        }
        Ok(ReloadConfigResponse { status: Some(StatusProto::default()) })
    }
}

fn denied(text: &str) -> Result<(), Error> {
    Err(Error::new(Code::PermissionDenied, text))
}
