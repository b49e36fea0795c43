//! A request as handlers get it.

use std::sync::Arc;

use actix_web::{web, HttpMessage, HttpRequest, HttpResponse};
use bytes::Bytes;
use tfweb_engine::Error;
use tfweb_limits::Deadline;

use super::answers::Answers;
use super::body;
use crate::observe::SummarySlot;

/// A request with its head, and a body that is not read yet.
pub struct HttpCall {
    /// The head.
    pub request: HttpRequest,
    payload: Option<web::Payload>,
    answers: Arc<Answers>,
}

impl HttpCall {
    pub(super) fn new(request: HttpRequest, payload: web::Payload, answers: Arc<Answers>) -> Self {
        Self { request, payload: Some(payload), answers }
    }

    /// Reads the body, within its limits and until the deadline. It counts into the memory of all requests for as long as somebody
    /// holds its bytes.
    ///
    /// # Errors
    /// `OutOfRange` over the limit; `Unavailable` without room; `DeadlineExceeded`, also for a client that sends too slowly;
    /// `InvalidArgument` for a damaged body or an unknown encoding; `Cancelled` where the client stopped sending.
    pub async fn body(&mut self, deadline: Deadline) -> Result<Bytes, Error> {
        let payload = self.payload.take().ok_or_else(|| Error::internal("a body is read once; this is a bug"))?;
        body::read(&self.request, payload, &self.answers.bodies, deadline).await
    }

    /// The id of the request, as its answer will have it.
    #[must_use]
    pub fn request_id(&self) -> String {
        self.answers.keep_id(&self.request).as_bytes().escape_ascii().to_string()
    }

    /// The slot for the summary of the request's measurement; `None` if requests are not observed.
    #[must_use]
    pub fn slot(&self) -> Option<Arc<SummarySlot>> {
        if self.answers.is_observed {
            self.request.extensions().get().cloned()
        } else {
            None
        }
    }

    /// Answers OPTIONS with these methods. Only handlers of [`Methods::All`](super::Methods::All) need it.
    #[must_use]
    pub fn options(&self, allow: &'static str) -> HttpResponse {
        self.answers.options(&self.request, allow)
    }

    pub(super) fn answers(&self) -> &Answers {
        &self.answers
    }
}
