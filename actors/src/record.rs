//! The memory that run threads share of a signature: the share of its requests that fail, and an input that ran well.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use tfweb_engine::{with_scalar, Tensor};
use tfweb_limits::Ledger;

use crate::observer::RunObserver;
use crate::search::FailureShare;

/// The most bytes of the input that is kept. An image of usual size fits.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// One signature as its run threads see it. They share it.
pub(crate) struct SignatureRuns {
    pub(crate) observer: Arc<dyn RunObserver>,
    /// The memory of all requests.
    pub(crate) ledger: Arc<Ledger>,
    share: Mutex<FailureShare>,
    /// One row that ran well, or `None` if the first that ran well was too large. Unset until a run ends well.
    good_input: OnceLock<Option<Vec<Tensor>>>,
}

/// An input that is known to work, with which a session that fails is put to the proof.
pub(crate) enum Proof<'a> {
    Input(&'a [Tensor]),
    /// Runs have ended well, and none of their inputs was kept.
    TooLarge,
    /// No run has ended well.
    NoneYet,
}

impl SignatureRuns {
    pub(crate) fn new(observer: Arc<dyn RunObserver>, ledger: Arc<Ledger>) -> Self {
        Self { observer, ledger, share: Mutex::default(), good_input: OnceLock::new() }
    }

    /// Notes that a run of `requests` requests ended well. `inputs` gives the inputs of one row, or of a request that runs alone.
    pub(crate) fn ran_well(&self, requests: usize, inputs: impl FnOnce() -> Vec<Tensor>) {
        self.share().good(requests);
        self.good_input.get_or_init(|| {
            let inputs = inputs();
            let bytes: usize = inputs.iter().map(Tensor::byte_count).sum();
            // A copy: a window would keep the whole body of its request in memory.
            (bytes <= KEPT_BYTES_MAX).then(|| inputs.iter().map(copied).collect())
        });
    }

    /// Notes that a request failed alone.
    pub(crate) fn failed_alone(&self) {
        self.share().bad();
    }

    /// The most requests of the next run.
    pub(crate) fn group_max(&self) -> usize {
        self.share().group_max()
    }

    pub(crate) fn proof(&self) -> Proof<'_> {
        match self.good_input.get() {
            Some(Some(inputs)) => Proof::Input(inputs),
            Some(None) => Proof::TooLarge,
            None => Proof::NoneYet,
        }
    }

    fn share(&self) -> MutexGuard<'_, FailureShare> {
        self.share.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn copied(tensor: &Tensor) -> Tensor {
    with_scalar!(tensor.dtype(), T => {
        Tensor::from_vec::<T>(tensor.dims(), tensor.as_slice().map(<[T]>::to_vec).unwrap_or_default())
    }, else {
        let strings = tensor.as_strings().into_iter().flat_map(|strings| strings.iter());
        Tensor::from_strings(tensor.dims(), Arc::new(strings.map(Bytes::copy_from_slice).collect::<Vec<_>>()))
    })
}
