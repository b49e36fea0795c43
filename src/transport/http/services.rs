//! The protocols that a listener serves, with the parts that they share.

use std::sync::Arc;

use actix_web::web::ServiceConfig;
use actix_web::{web, HttpRequest};

use super::answers::Answers;
use super::gate::Gate;
use super::observe::Observed;
use super::protocol::HttpProtocol;
use super::routes::{Later, Routes};
use crate::observe::Telemetry;
use crate::transport::tokens::Access;

/// The protocols that a listener serves, with the parts that they share.
#[derive(Clone)]
pub struct HttpServices {
    /// The protocols. Their routes are tried in this order, those of exact paths first.
    pub protocols: Arc<[Arc<dyn HttpProtocol>]>,
    /// The tokens; `None` if the listener checks none.
    pub access: Option<Arc<Access>>,
    /// The settings that all answers share.
    pub answers: Arc<Answers>,
    /// Observes each request; `None` if requests are not observed.
    pub telemetry: Option<Arc<Telemetry>>,
}

impl HttpServices {
    /// Mounts the routes of all protocols, the check of the token, and the answer to unknown paths.
    pub(super) fn mount(&self, config: &mut ServiceConfig) {
        config.app_data(web::Data::from(Arc::clone(&self.answers)));
        if let Some(telemetry) = &self.telemetry {
            let (answers, protocols) = (Arc::clone(&self.answers), Arc::clone(&self.protocols));
            config.app_data(web::Data::new(Observed { telemetry: Arc::clone(telemetry), answers, protocols }));
        }
        if let Some(access) = self.access.clone().filter(|access| !access.is_open()) {
            Gate { access, protocols: Arc::clone(&self.protocols), answers: Arc::clone(&self.answers) }.mount(config);
        }
        let mut later = Later::new();
        for protocol in &*self.protocols {
            let refusing = Arc::clone(protocol);
            let refuse = Arc::new(move |error: &_| refusing.refuse(error));
            Arc::clone(protocol).mount(&mut Routes::new(config, &mut later, &self.answers, refuse));
        }
        later.into_iter().for_each(|add| add(config));
        config.default_service(web::to(unknown_path));
    }
}

async fn unknown_path(request: HttpRequest, answers: web::Data<Answers>) -> actix_web::HttpResponse {
    let mut response = answers.unknown_path(&request);
    answers.finish(&request, &mut response);
    response
}
