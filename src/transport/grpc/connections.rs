//! Limits the number of open connections.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::stream::{self, Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::transport::server::Connected;

/// Accepts a connection when it has a permit. Further connections wait in the system's queue until another one ends.
pub(super) fn limited<IO>(
    incoming: impl Stream<Item = io::Result<IO>> + Unpin,
    permits: Arc<Semaphore>,
) -> impl Stream<Item = io::Result<Permitted<IO>>> {
    stream::unfold((incoming, permits), |(mut incoming, permits)| async move {
        let permit = Arc::clone(&permits).acquire_owned().await.expect("nobody closes the semaphore; this is a bug");
        let accepted = incoming.next().await?;
        Some((accepted.map(|io| Permitted { io, _permit: permit }), (incoming, permits)))
    })
}

/// A connection with its permit.
pub(super) struct Permitted<IO> {
    io: IO,
    _permit: OwnedSemaphorePermit,
}

impl<IO: Connected> Connected for Permitted<IO> {
    type ConnectInfo = IO::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.io.connect_info()
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Permitted<IO> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Permitted<IO> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, pieces: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[actix_web::test]
    async fn one_more_waits_until_one_ends() {
        let incoming = stream::iter((1..=3).map(Ok));
        let mut accepted = Box::pin(limited(incoming, Arc::new(Semaphore::new(2))));
        let first = accepted.next().await.unwrap().unwrap();
        let _second = accepted.next().await.unwrap().unwrap();
        assert!(accepted.next().now_or_never().is_none(), "two have the places");
        drop(first);
        assert_eq!(accepted.next().now_or_never().unwrap().unwrap().unwrap().io, 3);
    }
}
