//! The stages of a request and their times.

use std::time::Duration;

/// A stage of a request that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The whole request, from its head to its end.
    Request,
    /// Decoding the body into tensors.
    Decode,
    /// Fetching URLs.
    Fetch,
    /// Waiting for a run.
    Queue,
    /// The run.
    Run,
    /// Encoding tensors into the answer's body.
    Encode,
}

impl Stage {
    /// All stages, for metrics.
    pub const ALL: [Self; 6] = [Self::Request, Self::Decode, Self::Fetch, Self::Queue, Self::Run, Self::Encode];

    /// The help text of the stage's times in metrics.
    #[must_use]
    pub const fn help(self) -> &'static str {
        match self {
            Self::Request => "Time of requests, from their head to their end",
            Self::Decode => "Time of decoding bodies",
            Self::Fetch => "Time of fetching what URLs name",
            Self::Queue => "Time of waiting for a run",
            Self::Run => "Time of runs, as requests have seen it",
            Self::Encode => "Time of encoding answers",
        }
    }

    /// The stage's name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Decode => "decode",
            Self::Fetch => "fetch",
            Self::Queue => "queue",
            Self::Run => "run",
            Self::Encode => "encode",
        }
    }
}

/// The time of each stage of a request.
#[derive(Clone, Debug, Default)]
pub struct Timings {
    /// Decoding the body into tensors.
    pub decode: Duration,
    /// Fetching URLs.
    pub fetch: Duration,
    /// Waiting for a run.
    pub queue: Duration,
    /// The run.
    pub run: Duration,
    /// Encoding tensors into the answer's body.
    pub encode: Duration,
}

impl Timings {
    /// The time of a stage. The time of the whole request is not kept here.
    #[must_use]
    pub const fn of(&self, stage: Stage) -> Duration {
        match stage {
            Stage::Request => Duration::ZERO,
            Stage::Decode => self.decode,
            Stage::Fetch => self.fetch,
            Stage::Queue => self.queue,
            Stage::Run => self.run,
            Stage::Encode => self.encode,
        }
    }

    /// Sets the time of a stage.
    pub fn set(&mut self, stage: Stage, time: Duration) {
        match stage {
            Stage::Request => {}
            Stage::Decode => self.decode = time,
            Stage::Fetch => self.fetch = time,
            Stage::Queue => self.queue = time,
            Stage::Run => self.run = time,
            Stage::Encode => self.encode = time,
        }
    }

    /// Merges the times of a part that ran beside others. The longest time of each stage counts.
    pub fn cover(&mut self, other: &Self) {
        let Self { decode, fetch, queue, run, encode } = other;
        for (mine, theirs) in [
            (&mut self.decode, decode),
            (&mut self.fetch, fetch),
            (&mut self.queue, queue),
            (&mut self.run, run),
            (&mut self.encode, encode),
        ] {
            *mine = (*mine).max(*theirs);
        }
    }
}
