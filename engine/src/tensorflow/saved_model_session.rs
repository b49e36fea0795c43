//! A SavedModel in a TensorFlow session.

use std::mem;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tensorflow::{FetchToken, Graph, Operation, Output, SessionRunArgs, Status};

use super::free_memory;
use super::open::{open, Lack, Opened};
use super::probe::{probe, Clock, InterOp, Probe, TRIALS_TIME};
use super::registry::{has_kernel, stateless_operations};
use super::resolve::{partial_shape, resolve, Fetch, Place, Resolved};
use super::run_options::{outlasts, run_options};
use super::status::error_of;
use super::transfer::{input, take_output, Feed};
use crate::batch::merged_dims;
use crate::error::Error;
use crate::feed::FeedShape;
use crate::graph::{self, Demands};
use crate::rows::Rows;
use crate::session::{Session, Trial};
use crate::shape::Dims;
use crate::signature::{Signature, TensorSpec};
use crate::tensor::Tensor;

/// TensorFlow's words for a placeholder without a value (tensorflow/core/kernels/constant_op.cc).
const NOT_FED: &str = "You must feed a value for placeholder tensor";

/// A SavedModel in a session of its own. Several threads may run it at once.
pub struct SavedModelSession {
    session: tensorflow::Session,
    signatures: Vec<Signature>,
    methods: Vec<Method>,
    /// The reason, if it was opened without its initialiser.
    lack: Option<Lack>,
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
    rows: Rows,
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
        Self::load_within(directory, tags, inter_op, TRIALS_TIME)
    }

    /// Does the same, with another time for the trials of all signatures.
    ///
    /// # Errors
    /// Those of [`SavedModelSession::load`].
    pub fn load_within(directory: &Path, tags: &[String], inter_op: InterOp, trials_time: Duration) -> Result<Self, Error> {
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
            method.rows = method.rows_by_graph(known.as_ref(), &signature).map_err(failed)?;
            methods.push(method);
            signatures.push(signature);
        }
        let mut this = Self { session, signatures, methods, lack };
        let is_tried = |method: &Method| method.untried.is_none() && method.trial == Trial::NotTried;
        let mut clock = Clock::new(trials_time, this.methods.iter().filter(|method| is_tried(method)).count());
        for index in 0..this.methods.len() {
            if is_tried(&this.methods[index]) {
                this.try_signature(index, inter_op, known.as_ref(), &mut clock);
            }
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
        self.lack.as_ref().map(|lack| &lack.error)
    }

    /// Tries a signature that changes no state. If the trial shows that outputs need a placeholder that is no input, it is repeated
    /// without them.
    fn try_signature(&mut self, index: usize, inter_op: InterOp, known: Option<&graph::Graph>, clock: &mut Clock) {
        let mut found = self.probe(index, inter_op, clock);
        if known.is_some_and(|known| self.withdraw_unfed(index, known, &found.trial)) {
            found = self.probe(index, inter_op, clock);
        }
        let method = &mut self.methods[index];
        method.rows = found.rows.or_by_graph(method.rows.clone());
        (method.run_in_caller, method.trial) = (found.run_in_caller, found.trial);
    }

    fn probe(&self, index: usize, inter_op: InterOp, clock: &mut Clock) -> Probe {
        let run = |inputs: &[Tensor], in_caller, time| self.run_in(index, &[inputs], in_caller, time);
        probe(&self.signatures[index], inter_op, clock, run)
    }

    /// Takes outputs out of what is served that need a placeholder that is no input. Gives whether there are any. The graph shows them,
    /// and a run has to confirm it: TensorFlow's optimizer may find that nothing needs the placeholder.
    fn withdraw_unfed(&mut self, index: usize, known: &graph::Graph, trial: &Trial) -> bool {
        let name = |operation: &Operation| operation.name().unwrap_or_default();
        let feeds: Vec<String> = self.methods[index].feeds.iter().map(|(operation, _)| name(operation)).collect();
        let feeds: Vec<&str> = feeds.iter().map(String::as_str).collect();
        if !self.methods[index].operations().any(|(operation, _)| known.unfed(&name(operation), &feeds).is_some()) {
            return false;
        }
        let is_confirmed = match trial {
            Trial::Refused(why) | Trial::Failed(why) => why.contains(NOT_FED),
            // A signature without inputs gets no trial.
            Trial::NotTried if feeds.is_empty() => {
                self.run_in(index, &[&[]], false, Duration::MAX).is_err_and(|error| error.message.contains(NOT_FED))
            }
            Trial::NotTried | Trial::Passed => false,
        };
        if is_confirmed {
            let Method { feeds: places, fetches, .. } = &mut self.methods[index];
            let signature = mem::take(&mut self.signatures[index]);
            let mut resolved = Resolved { signature, feeds: mem::take(places), fetches: mem::take(fetches) };
            resolved.withdraw(|operation| {
                let placeholder = known.unfed(operation, &feeds)?;
                Some(format!("cannot be computed: it needs the placeholder {placeholder:?} of the graph, which is no input"))
            });
            (*places, *fetches, self.signatures[index]) = (resolved.feeds, resolved.fetches, resolved.signature);
        }
        is_confirmed
    }

    /// Runs a signature, in the calling thread if `in_caller` is true. Otherwise it runs in the pool, and TensorFlow ends it after
    /// `time`.
    fn run_in(&self, signature: usize, requests: &[&[Tensor]], in_caller: bool, time: Duration) -> Result<Vec<Tensor>, Error> {
        let method = &self.methods[signature];
        let inputs = 0..method.feeds.len();
        let dims: Vec<Dims> = inputs.map(|input| merged_dims(requests, input)).collect::<Result<_, _>>()?;
        // Below this line a shape for which the graph was not built may end the process.
        self.signatures[signature].check_feeds(dims.iter().map(|dims| &dims[..]))?;
        // A run that changes no state writes into none of its inputs and keeps none.
        let lends = method.untried.is_none();
        let feeds: Vec<Box<dyn Feed>> =
            (0..method.feeds.len()).map(|number| input(requests, number, lends)).collect::<Result<_, _>>()?;
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

    fn lacks(&self) -> Option<String> {
        self.lack.as_ref().map(Lack::in_words)
    }

    fn trial(&self, signature: usize) -> Trial {
        self.methods[signature].trial.clone()
    }

    fn rows(&self, signature: usize) -> Rows {
        self.methods[signature].rows.clone()
    }
}

impl Method {
    fn new(feeds: Vec<Place>, fetches: Vec<Fetch>, run_in_caller: bool) -> Self {
        let has_outlasted = AtomicBool::new(false);
        let rows = Rows::Unproven(String::new());
        Self { feeds, fetches, run_in_caller, has_outlasted, trial: Trial::NotTried, untried: None, rows }
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

    /// Finds what the graph says of the rows of the signature.
    fn rows_by_graph(&self, known: Option<&graph::Graph>, signature: &Signature) -> Result<Rows, Status> {
        let why = self.untried.clone().unwrap_or_else(|| "it cannot be tried on made-up rows".to_owned());
        let Some(graph) = known.filter(|_| signature.is_batchable()) else { return Ok(Rows::Unproven(why)) };
        let place = |operation: &Operation, output: i32| Ok((operation.name()?, usize::try_from(output).unwrap_or_default()));
        let feed = |((operation, output), spec): (&Place, &TensorSpec)| Ok((place(operation, *output)?, sizes(spec)));
        let feeds = self.feeds.iter().zip(&signature.inputs).map(feed).collect::<Result<Vec<_>, Status>>()?;
        let fetches = self.operations().map(|(operation, output)| place(operation, output)).collect::<Result<Vec<_>, Status>>()?;
        let found = graph.rows(&feeds, &fetches);
        // A run may read the state that it has written, and the graph does not follow such values.
        let is_whole = self.untried.is_none();
        Ok(found.filter(|rows| is_whole || *rows != Rows::Independent).unwrap_or(Rows::Unproven(why)))
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

/// The sizes of the dimensions that may be fed to an input, as many as the signature declares. -1 stands for any size.
fn sizes(spec: &TensorSpec) -> Vec<i64> {
    let declared = spec.shape.dims().unwrap_or_default();
    let inferred = spec.feed.inferred().dims().filter(|dims| dims.len() == declared.len());
    let size = |dim: &Option<usize>| dim.and_then(|dim| i64::try_from(dim).ok()).unwrap_or(-1);
    inferred.map_or_else(|| vec![-1; declared.len()], |dims| dims.iter().map(size).collect())
}
