//! A SavedModel in a TensorFlow session.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tensorflow::{FetchToken, Graph, Operation, Output, SessionRunArgs, Status};

use super::free_memory;
use super::open::{open, Opened};
use super::probe::{probe, InterOp};
use super::registry::{has_kernel, stateless_operations};
use super::resolve::{partial_shape, resolve, Fetch, Place, Resolved};
use super::run_options::{outlasts, run_options};
use super::status::error_of;
use super::transfer::{merge, take_output, Feed};
use crate::batch::merged_dims;
use crate::error::Error;
use crate::feed::FeedShape;
use crate::graph::{self, Demands};
use crate::session::{Session, Trial};
use crate::shape::Dims;
use crate::signature::Signature;
use crate::tensor::Tensor;

/// A SavedModel in a session of its own. Several threads may run it at once.
pub struct SavedModelSession {
    session: tensorflow::Session,
    signatures: Vec<Signature>,
    methods: Vec<Method>,
    initialiser_error: Option<Error>,
}

/// The parts of the graph that a run of one signature feeds and fetches.
struct Method {
    feeds: Vec<Place>,
    fetches: Vec<Fetch>,
    run_in_caller: bool,
    /// Whether a run in the calling thread has gone on for long after its time.
    has_outlasted: AtomicBool,
    trial: Trial,
    /// Why the signature was not tried at load, if a trial could have changed the model.
    untried: Option<String>,
}

impl SavedModelSession {
    /// Loads the SavedModel in `directory` that has exactly the tag set `tags`, and tries each of its signatures that changes no
    /// state.
    ///
    /// `load_library` must have been called before.
    ///
    /// # Errors
    /// `NotFound` for a model without such a graph; `FailedPrecondition` for a model without its variables; otherwise TensorFlow's
    /// error. A fault of one signature is no error: its [`Signature::unserved`] says it. Nor is a failure of the model's initialiser, if
    /// one of its assets is missing: then the outputs that need the initialiser are not served.
    pub fn load(directory: &Path, tags: &[String], inter_op: InterOp) -> Result<Self, Error> {
        let Opened { session, graph, signatures: declared, known, lack } = open(directory, tags)?;
        let initialised = known.as_ref().zip(lack.as_ref()).map(|(known, lack)| (lack.in_graph(known), lack));
        let (mut signatures, mut methods) = (Vec::new(), Vec::new());
        for (name, def) in declared {
            let mut resolved = resolve(&graph, name, &def);
            if let Some((initialised, lack)) = &initialised {
                resolved.withdraw(|operation| initialised.needed_by(operation).map(|operation| lack.reason(operation)));
            }
            let Resolved { mut signature, feeds, fetches } = resolved;
            let failed = |status| Error::internal(format!("`{}`, signature {:?}: {status}", directory.display(), signature.name));
            let mut method = Method::new(feeds, fetches, inter_op == InterOp::Caller);
            for (spec, feed) in signature.inputs.iter_mut().zip(method.feed_shapes(&graph, known.as_ref()).map_err(failed)?) {
                spec.feed = feed;
            }
            method.untried = method.find_untried(known.as_ref()).map_err(failed)?;
            method.trial = method.without_kernel(known.as_ref()).map_err(failed)?;
            methods.push(method);
            signatures.push(signature);
        }
        let mut this = Self { session, signatures, methods, initialiser_error: lack.map(|lack| lack.error) };
        for index in 0..this.methods.len() {
            if this.methods[index].untried.is_some() || this.methods[index].trial != Trial::NotTried {
                continue;
            }
            let run = |inputs: &[Tensor], in_caller| this.run_in(index, &[inputs], in_caller, Duration::MAX);
            let found = probe(&this.signatures[index], inter_op, run);
            this.methods[index].run_in_caller = found.run_in_caller;
            this.methods[index].trial = found.trial;
        }
        free_memory::give_back_tensorflows();
        Ok(this)
    }

    /// Whether the operations of the signature run in the calling thread, as the settings say or as the trial at load has measured.
    #[must_use]
    pub fn runs_in_caller(&self, signature: usize) -> bool {
        self.methods[signature].run_in_caller
    }

    /// The signatures that were not tried at load because a trial could have changed the model, and why.
    pub fn untried(&self) -> impl Iterator<Item = (&Signature, &str)> {
        self.signatures.iter().zip(&self.methods).filter_map(|(signature, method)| Some((signature, method.untried.as_deref()?)))
    }

    /// TensorFlow's error, if the model was loaded without its initialiser because this failed.
    #[must_use]
    pub fn initialiser_error(&self) -> Option<&Error> {
        self.initialiser_error.as_ref()
    }

    /// Runs a signature, in the calling thread if `in_caller` is true. Otherwise it runs in the pool, and TensorFlow ends it after
    /// `time`.
    fn run_in(&self, signature: usize, requests: &[&[Tensor]], in_caller: bool, time: Duration) -> Result<Vec<Tensor>, Error> {
        let method = &self.methods[signature];
        let inputs = 0..method.feeds.len();
        let dims: Vec<Dims> = inputs.map(|input| merged_dims(requests, input)).collect::<Result<_, _>>()?;
        // Below this line a shape for which the graph was not built may end the process.
        self.signatures[signature].check_feeds(dims.iter().map(|dims| &dims[..]))?;
        let feeds: Vec<Box<dyn Feed>> = (0..method.feeds.len()).map(|input| merge(requests, input)).collect::<Result<_, _>>()?;
        let mut outputs = {
            let mut run = SessionRunArgs::new();
            run.set_run_options(&run_options(in_caller, time));
            for (feed, (operation, index)) in feeds.iter().zip(&method.feeds) {
                feed.feed(&mut run, operation, *index);
            }
            let tokens: Vec<FetchToken> =
                method.operations().map(|(operation, index)| run.request_fetch(operation, index)).collect();
            // TensorFlow refuses to run nothing. Of outputs that are inputs there is nothing to run.
            if !tokens.is_empty() || method.fetches.is_empty() {
                self.session.run(&mut run).map_err(|status| error_of(&status))?;
            }
            let taken = tokens.into_iter().enumerate().map(|(index, token)| take_output(&mut run, index, token));
            taken.collect::<Result<Vec<_>, _>>()?.into_iter()
        };
        if method.fetches.iter().all(|fetch| matches!(fetch, Fetch::Output(..))) {
            return Ok(outputs.collect());
        }
        let inputs: Vec<Tensor> = feeds.into_iter().map(Feed::into_tensor).collect();
        let next = |fetch: &Fetch| match fetch {
            Fetch::Output(..) => outputs.next().expect("one output for each fetch; this is a bug"),
            Fetch::Input(input) => inputs[*input].clone(),
        };
        Ok(method.fetches.iter().map(next).collect())
    }
}

impl Session for SavedModelSession {
    fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    fn run(&self, signature: usize, requests: &[&[Tensor]]) -> Result<Vec<Tensor>, Error> {
        self.run_within(signature, requests, Duration::MAX)
    }

    fn run_within(&self, signature: usize, requests: &[&[Tensor]], time: Duration) -> Result<Vec<Tensor>, Error> {
        let Method { run_in_caller, has_outlasted, .. } = &self.methods[signature];
        let in_caller = *run_in_caller && !has_outlasted.load(Ordering::Relaxed);
        let begun = Instant::now();
        let outputs = self.run_in(signature, requests, in_caller, time);
        if in_caller && outlasts(begun.elapsed(), time) {
            self.note_overdue(signature);
        }
        outputs
    }

    fn note_overdue(&self, signature: usize) {
        self.methods[signature].has_outlasted.store(true, Ordering::Relaxed);
    }

    fn rest(&self) {
        free_memory::give_back_tensorflows();
        free_memory::give_back_memory();
    }

    fn may_be_tried(&self, signature: usize) -> bool {
        self.methods[signature].untried.is_none()
    }

    fn lacks_assets(&self) -> bool {
        self.initialiser_error.is_some()
    }

    fn trial(&self, signature: usize) -> Trial {
        self.methods[signature].trial.clone()
    }
}

impl Method {
    fn new(feeds: Vec<Place>, fetches: Vec<Fetch>, run_in_caller: bool) -> Self {
        let has_outlasted = AtomicBool::new(false);
        Self { feeds, fetches, run_in_caller, has_outlasted, trial: Trial::NotTried, untried: None }
    }

    /// Finds the reason why a trial at load could change the model. `known` is `None` if the operations of the graph are not known.
    fn find_untried(&self, known: Option<&graph::Graph>) -> Result<Option<String>, Status> {
        let Some(graph) = known else {
            return Ok(Some("its graph cannot be read or is too large, so it may change the model's state".to_owned()));
        };
        let fetches = self.fetch_names()?;
        let fetches: Vec<&str> = fetches.iter().map(String::as_str).collect();
        let change = graph.state_change(&fetches, stateless_operations());
        Ok(change.map(|operation| format!("its operation {operation} may change the model's state")))
    }

    /// Finds an operation that this TensorFlow cannot run. The trial on zeros would find it too, but not each signature gets one.
    fn without_kernel(&self, known: Option<&graph::Graph>) -> Result<Trial, Status> {
        let fetches = self.fetch_names()?;
        let fetches: Vec<&str> = fetches.iter().map(String::as_str).collect();
        let missing = known.and_then(|graph| graph.operations(&fetches).into_iter().find(|operation| !has_kernel(operation)));
        Ok(missing.map_or(Trial::NotTried, |operation| {
            Trial::Failed(format!("its operation {operation} cannot run: this TensorFlow has no kernel for it"))
        }))
    }

    /// Finds the shapes that may be fed to each input, in order. `known` is `None` if the operations of the graph are not known.
    fn feed_shapes(&self, graph: &Graph, known: Option<&graph::Graph>) -> Result<Vec<FeedShape>, Status> {
        let fetches = self.fetch_names()?;
        let fetches: Vec<&str> = fetches.iter().map(String::as_str).collect();
        let needs_elements = known.is_some_and(|graph| graph.needs_elements(&fetches));
        let feed_shape = |(operation, index): &(Operation, i32)| {
            let name = operation.name()?;
            let demands = known.map_or(Demands::UNKNOWN, |graph| graph.demands(&name, &fetches));
            let inferred = graph.tensor_shape(Output { operation: operation.clone(), index: *index })?;
            Ok(FeedShape::new(partial_shape(inferred), demands, needs_elements))
        };
        self.feeds.iter().map(feed_shape).collect()
    }

    fn fetch_names(&self) -> Result<Vec<String>, Status> {
        Ok(self.operations().map(|(operation, _)| operation.name()).collect::<Result<_, _>>()?)
    }

    fn operations(&self) -> impl Iterator<Item = (&Operation, i32)> {
        self.fetches.iter().filter_map(|fetch| match fetch {
            Fetch::Output(operation, index) => Some((operation, *index)),
            Fetch::Input(_) => None,
        })
    }
}
