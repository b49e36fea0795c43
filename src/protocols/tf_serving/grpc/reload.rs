//! HandleReloadConfigRequest serves exactly the models of a configuration. It needs the `--admin_token`, because a model is code
//! that runs in the server.

use tfweb_engine::{Code, Error};

use super::service::TfServing;
use crate::models::config_file;
use crate::transport::grpc::Call;
use tfweb_proto::tensorflow::serving::{ReloadConfigRequest, ReloadConfigResponse, StatusProto};

impl TfServing {
    pub(super) async fn reload(&self, call: Call<ReloadConfigRequest>) -> Result<ReloadConfigResponse, Error> {
        self.may_reload(call.head.authorization.as_ref().map(|token| token.as_bytes()))?;
        let unchanging = || Error::new(Code::Unimplemented, "the models of this server cannot change");
        let models = self.state.models.as_ref().ok_or_else(unchanging)?;
        let config = call.message.config.unwrap_or_default();
        // An empty configuration changes nothing: it is not an order to remove all models.
        if config.config.is_some() {
            let specs = config_file::specs(&config).map_err(Error::invalid)?;
            models.replace(specs).await?;
        }
        Ok(ReloadConfigResponse { status: Some(StatusProto::default()) })
    }

    /// Checks whether a client may change which models are served.
    fn may_reload(&self, authorization: Option<&[u8]>) -> Result<(), Error> {
        if self.access.admin.is_none() {
            return denied("models are changed here only with --admin_token set at start");
        }
        if self.access.may_change(authorization) {
            Ok(())
        } else {
            denied("expected metadata `authorization: Bearer` with the server's --admin_token")
        }
    }
}

fn denied(text: &str) -> Result<(), Error> {
    Err(Error::new(Code::PermissionDenied, text))
}
