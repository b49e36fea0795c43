//! The body of an answer. Its bytes count into the memory of all requests until they are sent.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use actix_http::{Response, StatusCode};
use actix_web::body::{BodySize, BoxBody, MessageBody};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tfweb_limits::{Holding, Ledger, NoRoom, Share};

use super::activity::Running;
use crate::transport::body_limits::{no_room, SMALL_BYTES};
use crate::transport::http::error;

/// The body of an answer.
pub(super) struct AnswerBody {
    bytes: Source,
    size: BodySize,
    /// The request counts as running until its answer is written or dropped.
    _running: Running,
}

enum Source {
    /// All of it, or what the connection has not taken yet. The bytes bring the request's share along.
    Whole(Option<Bytes>),
    /// Pieces as they are made, such as those of a file, with the request's share.
    Pieces(BoxBody, Arc<Ledger>, #[allow(dead_code, reason = "it is held")] Share),
}

/// Bytes with their shares.
struct Counted {
    bytes: Bytes,
    _shares: (Option<Share>, Option<Share>),
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Takes the body of an answer. `share` is that of the whole request. An answer without room is replaced by a 503.
pub(super) fn take(answer: Response<BoxBody>, share: Share, ledger: &Arc<Ledger>, running: Running) -> (Response<()>, AnswerBody) {
    let (mut answer, body) = answer.into_parts();
    let size = body.size();
    let (bytes, size) = match body.try_into_bytes() {
        Ok(bytes) if bytes.is_empty() => (Source::Whole(None), size),
        Ok(bytes) => match share_of(&bytes, ledger) {
            Ok(more) => (Source::Whole(Some(counted(bytes, Some(share), more))), size),
            Err(full) => {
                let (refusal, body) = error::respond(&no_room(full)).into_parts();
                *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                answer.headers_mut().remove(actix_http::header::CONTENT_ENCODING);
                for (name, value) in refusal.headers() {
                    answer.headers_mut().insert(name.clone(), value.clone());
                }
                let size = body.size();
                (Source::Whole(Some(counted(body.try_into_bytes().unwrap_or_default(), Some(share), None))), size)
            }
        },
        Err(pieces) => (Source::Pieces(pieces, Arc::clone(ledger), share), size),
    };
    (answer, AnswerBody { bytes, size, _running: running })
}

/// Takes a share for bytes, unless they are so few that the request's own share covers them.
fn share_of(bytes: &Bytes, ledger: &Arc<Ledger>) -> Result<Option<Share>, NoRoom> {
    (bytes.len() > SMALL_BYTES).then(|| ledger.take(Holding::Answers, bytes.len())).transpose()
}

fn counted(bytes: Bytes, first: Option<Share>, second: Option<Share>) -> Bytes {
    Bytes::from_owner(Counted { bytes, _shares: (first, second) })
}

impl AnswerBody {
    /// The size of the body.
    pub(super) const fn size(&self) -> BodySize {
        self.size
    }
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let bytes = match &mut self.bytes {
            Source::Whole(bytes) => bytes.take().map(Ok),
            Source::Pieces(pieces, ledger, _) => ready!(Pin::new(pieces).poll_next(cx)).map(|piece| {
                let piece = piece.map_err(|error| error.to_string())?;
                let share = share_of(&piece, ledger).map_err(no_room)?;
                Ok(share.map_or_else(|| piece.clone(), |share| counted(piece.clone(), None, Some(share))))
            }),
        };
        Poll::Ready(bytes.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.bytes, Source::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.bytes, self.size) {
            (Source::Whole(bytes), _) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            (Source::Pieces(..), BodySize::Sized(bytes)) => SizeHint::with_exact(bytes),
            (Source::Pieces(..), BodySize::None | BodySize::Stream) => SizeHint::new(),
        }
    }
}
