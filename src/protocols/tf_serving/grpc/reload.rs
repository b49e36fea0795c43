//! HandleReloadConfigRequest serves exactly the models of a configuration. It needs the `--admin_token`, because a model is code
//! that runs in the server.

use tfweb_engine::{Code, Error};
use tonic::metadata::{AsciiMetadataValue, MetadataMap};

use super::service::TfServing;
use crate::models::config_file;
use tfweb_proto::tensorflow::serving::{ReloadConfigRequest, ReloadConfigResponse, StatusProto};

impl TfServing {
    /// Checks whether a client may change which models are served.
    pub(super) fn may_reload(&self, metadata: &MetadataMap) -> Result<(), Error> {
        if self.access.admin.is_none() {
            return denied("models are changed here only with --admin_token set at start");
        }
        if self.access.may_change(metadata.get("authorization").map(AsciiMetadataValue::as_bytes)) {
            Ok(())
        } else {
            denied("expected metadata `authorization: Bearer` with the server's --admin_token")
        }
    }

    pub(super) async fn reload(&self, request: ReloadConfigRequest) -> Result<ReloadConfigResponse, Error> {
        let unchanging = || Error::new(Code::Unimplemented, "the models of this server cannot change");
        let models = self.state.models.as_ref().ok_or_else(unchanging)?;
        let config = request.config.unwrap_or_default();
        // An empty configuration changes nothing: it is not an order to remove all models.
        if config.config.is_some() {
            let specs = config_file::specs(&config).map_err(Error::invalid)?;
            models.replace(specs).await?;
        }
        Ok(ReloadConfigResponse { status: Some(StatusProto::default()) })
    }
}

fn denied(text: &str) -> Result<(), Error> {
    Err(Error::new(Code::PermissionDenied, text))
}
