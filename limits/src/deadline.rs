//! When a request's time ends, and the words of the error for a request that is too late.
//!
//! A [`Deadline`] is made once, when the request's head arrives. Each [`Stage`] of the request checks it.

use std::future::IntoFuture;
use std::time::{Duration, Instant};

use tfweb_engine::{Code, Error};
use tokio::time::{timeout_at, Timeout};

/// The moment at which a request's time ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

/// The stage in which a request's time ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A large HTTP body waits for a thread that inflates or decodes it, or a large answer for one that writes it.
    AwaitThread,
    /// An HTTP body arrives.
    ReadBody,
    /// A large HTTP body is inflated or decoded.
    DecodeBody,
    /// A gRPC message arrives.
    ReadMessage,
    /// URLs of the request are fetched.
    Fetch,
    /// The request waits for its run.
    Queue,
    /// A run serves the request.
    Run,
    /// A large answer is written.
    WriteAnswer,
    /// The place that notices cannot tell the stage.
    Unknown,
}

impl Deadline {
    /// Makes the deadline of a request that began at `begun` and has `time`.
    #[must_use]
    pub fn of(begun: Instant, time: Duration) -> Self {
        Self(begun + time)
    }

    /// Makes the deadline of a request that begins now and has `time`.
    #[must_use]
    pub fn after(time: Duration) -> Self {
        Self::of(Instant::now(), time)
    }

    /// The moment itself, for a timer.
    #[must_use]
    pub const fn instant(self) -> Instant {
        self.0
    }

    /// The time that the request has left; 0 once the deadline has passed.
    #[must_use]
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether the request was too late at `now`.
    #[must_use]
    pub fn has_passed(self, now: Instant) -> bool {
        now >= self.0
    }

    /// Ends `future` at the deadline. [`Deadline::passed`] makes the error of a request whose future was ended.
    ///
    /// # Cancel safety
    /// That of `future`, which is dropped with this one.
    pub fn limit<F: IntoFuture>(self, future: F) -> Timeout<F::IntoFuture> {
        timeout_at(self.0.into(), future)
    }

    /// Makes the `DeadlineExceeded` error that names the stage in which the time ran out.
    #[must_use]
    pub fn passed(stage: Stage) -> Error {
        Error::new(Code::DeadlineExceeded, format!("the request's time ran out{}", stage.words()))
    }
}

impl Stage {
    const fn words(self) -> &'static str {
        match self {
            Self::AwaitThread => " while it waited for a thread",
            Self::ReadBody => " while its body was read",
            Self::DecodeBody => " while its body was decoded",
            Self::ReadMessage => " while its message was read",
            Self::Fetch => " while its urls were fetched",
            Self::Queue => " while it was queued",
            Self::Run => " while it ran",
            Self::WriteAnswer => " while its answer was written",
            Self::Unknown => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_passes_at_its_moment() {
        let begun = Instant::now();
        let deadline = Deadline::of(begun, Duration::from_secs(60));
        let moment = begun + Duration::from_secs(60);
        assert!(!deadline.has_passed(moment - Duration::from_nanos(1)) && deadline.has_passed(moment));
        let left = deadline.left();
        assert!(left > Duration::ZERO && left <= Duration::from_secs(60), "{left:?}");
        assert_eq!(Deadline::of(begun, Duration::ZERO).left(), Duration::ZERO);
        assert!(Deadline::of(begun, Duration::ZERO) < deadline);
    }

    #[test]
    fn an_error_names_the_stage() {
        for (stage, expect) in [
            (Stage::AwaitThread, "the request's time ran out while it waited for a thread"),
            (Stage::ReadBody, "the request's time ran out while its body was read"),
            (Stage::DecodeBody, "the request's time ran out while its body was decoded"),
            (Stage::ReadMessage, "the request's time ran out while its message was read"),
            (Stage::Fetch, "the request's time ran out while its urls were fetched"),
            (Stage::Queue, "the request's time ran out while it was queued"),
            (Stage::Run, "the request's time ran out while it ran"),
            (Stage::WriteAnswer, "the request's time ran out while its answer was written"),
            (Stage::Unknown, "the request's time ran out"),
        ] {
            assert_eq!(Deadline::passed(stage), Error::new(Code::DeadlineExceeded, expect));
        }
    }

    #[tokio::test]
    async fn a_future_ends_at_the_deadline() {
        let past = Deadline::after(Duration::ZERO);
        assert!(past.limit(std::future::pending::<()>()).await.is_err());
        let soon = Deadline::after(Duration::from_secs(60));
        assert_eq!(soon.limit(std::future::ready(7)).await, Ok(7));
    }
}
