//! `:predict`, `:classify` and `:regress`.

use std::sync::Arc;
use std::time::Instant;

use actix_web::http::header::EXPECT;
use tfweb_engine::{Error, Tensor};
use tfweb_limits::Deadline;

use super::predict::{self, Asked, Predict};
use super::route::Verb;
use super::signature::{find, place};
use super::{document, encode, examples, raw};
use crate::models::{Servable, DEFAULT_SIGNATURE};
use crate::observe::{Measurement, Stage};
use crate::protocols::tf_serving::classify_regress::{self, Task};
use crate::protocols::tf_serving::find::Wanted;
use crate::serving::{self, Call, State};
use crate::transport::http::{large_body, Body, HttpCall};

/// The model, the version and the method that a path names.
pub(super) struct Called {
    pub(super) name: String,
    pub(super) version: Wanted,
    pub(super) verb: Verb,
}

/// Answers a call.
///
/// # Errors
/// TensorFlow Serving's own, for every request that it refuses.
pub(super) async fn answer(
    state: &State,
    http: &mut HttpCall,
    called: Called,
    measurement: &mut Measurement,
) -> Result<Vec<u8>, Error> {
    let deadline = Deadline::after(state.request_timeout);
    // TensorFlow Serving looks at the body first; a client that asks before it sends one is told at once.
    if http.request.headers().contains_key(EXPECT) {
        find(&state.catalog, &called.name, &called.version)?;
    }
    // It counts as a body that the server holds until the answer; for a thread that reads it, even if the client has gone away.
    let body = Arc::new(http.body(deadline).await?);
    let mut run = Run { state, measurement, begun: Instant::now(), deadline };
    match called.verb {
        Verb::Predict => run.predict(Arc::clone(&body), called).await,
        Verb::Examples(task) => run.examples(&body, &called, task).await,
    }
}

/// A call whose body has come.
struct Run<'a> {
    state: &'a State,
    measurement: &'a mut Measurement,
    begun: Instant,
    deadline: Deadline,
}

impl Run<'_> {
    async fn predict(&mut self, body: Arc<Body>, called: Called) -> Result<Vec<u8>, Error> {
        let (catalog, bytes) = (Arc::clone(&self.state.catalog), body.bytes.len());
        let read = move || predict::read(&body.bytes, &catalog, &called.name, &called.version);
        let Predict { version, servable, asked } = large_body::read(bytes, self.deadline, read).await?;
        let servable = &version.servables[servable];
        self.measurement.calls(&servable.meter);
        let signature = servable.handle.signature();
        let Asked { inputs, form, picked } = asked?;
        let encode = |outputs: &[Tensor]| {
            let picked = picked.into_iter().map(|index| (&signature.outputs[index], &outputs[index]));
            encode::predict(&picked.collect::<Vec<_>>(), form)
        };
        self.run(servable, inputs, encode).await
    }

    async fn examples(&mut self, body: &Body, called: &Called, task: Task) -> Result<Vec<u8>, Error> {
        let mut quoted = String::new();
        let document = document::read(&body.bytes, &mut quoted)?;
        let named = document.signature()?;
        let named = named.as_deref().unwrap_or(DEFAULT_SIGNATURE);
        // The examples are checked before the model is looked for.
        let examples = examples::serialize(&document)?;
        let version = find(&self.state.catalog, &called.name, &called.version)?;
        let servable = place(&version, named)
            .ok_or_else(|| Error::invalid(format!("No signature was found with the name: {}", raw::shown_text(named))))?;
        let servable = &version.servables[servable];
        self.measurement.calls(&servable.meter);
        let signature = servable.handle.signature();
        task.check(signature)?;
        let rows = examples.len();
        let encode = |outputs: &[Tensor]| examples::results(task, signature, outputs, rows);
        self.run(servable, classify_regress::inputs(examples), encode).await
    }

    /// Runs a signature on what was decoded, and encodes what it gives.
    async fn run(
        &mut self,
        servable: &Servable,
        inputs: Vec<Tensor>,
        encode: impl FnOnce(&[Tensor]) -> Result<Vec<u8>, Error>,
    ) -> Result<Vec<u8>, Error> {
        self.measurement.took(Stage::Decode, self.begun);
        let call = Call { inputs, urls: Vec::new(), deadline: self.deadline };
        let outputs = serving::predict(self.state, servable, call, self.measurement).await?;
        let begun = Instant::now();
        let encoded = encode(&outputs);
        self.measurement.took(Stage::Encode, begun);
        encoded
    }
}
