//! `:predict`, `:classify` and `:regress`.

use std::future::ready;
use std::sync::Arc;
use std::time::Instant;

use actix_web::http::header::EXPECT;
use bytes::Bytes;
use tfweb_engine::{Error, Tensor};
use tfweb_limits::Deadline;

use super::encode;
use super::examples::{self, Examples};
use super::predict::{self, Asked, Predict};
use super::route::Verb;
use super::signature::find;
use crate::models::Servable;
use crate::observe::{Measurement, Stage};
use crate::protocols::tf_serving::classify_regress::{self, Task};
use crate::protocols::tf_serving::find::Wanted;
use crate::serving::{self, Call, State};
use crate::transport::http::large_body::{self, keep_tensors, DecodedShare, LargeBody, Text};
use crate::transport::http::HttpCall;

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
) -> Result<Text, Error> {
    let deadline = Deadline::after(state.request_timeout);
    // TensorFlow Serving looks at the body first; a client that asks before it sends one is told at once.
    if http.request.headers().contains_key(EXPECT) {
        find(&state.catalog, &called.name, &called.version)?;
    }
    let body = http.body(deadline).await?;
    let mut run = Run { state, measurement, begun: Instant::now(), deadline };
    match called.verb {
        Verb::Predict => run.predict(body, called).await,
        Verb::Examples(task) => run.examples(body, called, task).await,
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
    async fn predict(&mut self, body: Bytes, called: Called) -> Result<Text, Error> {
        let catalog = Arc::clone(&self.state.catalog);
        let large = self.large(&body, predict::DECODED_FACTOR);
        let read = move || ready(predict::read(&body, &catalog, &called.name, &called.version));
        let (Predict { version, servable, asked }, share) = large.decode(read).await?;
        let servable = &version.servables[servable];
        self.measurement.calls(&servable.meter);
        let signature = Arc::clone(servable.handle.signature());
        let Asked { inputs, form, picked } = asked?;
        let encode = move |outputs: &[Tensor]| {
            let picked = picked.into_iter().map(|index| (&signature.outputs[index], &outputs[index]));
            encode::predict(&picked.collect::<Vec<_>>(), form)
        };
        self.run(servable, inputs, share, encode).await
    }

    async fn examples(&mut self, body: Bytes, called: Called, task: Task) -> Result<Text, Error> {
        let catalog = Arc::clone(&self.state.catalog);
        let large = self.large(&body, examples::DECODED_FACTOR);
        let read = move || ready(examples::read(&body, &catalog, &called.name, &called.version));
        let (Examples { version, servable, examples }, share) = large.decode(read).await?;
        let servable = &version.servables[servable];
        self.measurement.calls(&servable.meter);
        let signature = Arc::clone(servable.handle.signature());
        task.check(&signature)?;
        let rows = examples.len();
        let encode = move |outputs: &[Tensor]| examples::results(task, &signature, outputs, rows);
        self.run(servable, classify_regress::inputs(examples), share, encode).await
    }

    fn large(&self, body: &Bytes, factor: usize) -> LargeBody<'_> {
        LargeBody { bytes: body.len(), factor, deadline: self.deadline, ledger: &self.state.ledger }
    }

    /// Runs a signature on what was decoded, and encodes what it gives.
    async fn run(
        &mut self,
        servable: &Servable,
        inputs: Vec<Tensor>,
        mut share: DecodedShare,
        encode: impl FnOnce(&[Tensor]) -> Result<Vec<u8>, Error> + Send + 'static,
    ) -> Result<Text, Error> {
        self.measurement.took(Stage::Decode, self.begun);
        keep_tensors(&mut share, &inputs);
        let call = Call { inputs, urls: Vec::new(), deadline: self.deadline, request_id: String::new() };
        let outputs = serving::predict(self.state, servable, call, self.measurement).await?;
        drop(share);
        let begun = Instant::now();
        let encoded = large_body::encode(&self.state.ledger, outputs, self.deadline, encode).await;
        self.measurement.took(Stage::Encode, begun);
        encoded
    }
}
