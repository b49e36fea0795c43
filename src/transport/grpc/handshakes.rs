//! TLS handshakes of the gRPC listener. They run side by side, so that a silent or slow client delays no other.

use std::io;
use std::time::Duration;

use futures::stream::{self, Stream};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;
use tokio_rustls::TlsAcceptor;

use crate::transport::tls;

/// The most handshakes side by side. Further connections wait in the system's queue. It equals the HTTP listener's limit of
/// connections, and is far more than can make progress at once. A handshake without an answer is given up.
const HANDSHAKES_MAX: usize = 10_000;
/// The pause after a failed accept, such as for lack of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

struct Handshakes {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    under_way: JoinSet<Option<TlsStream<TcpStream>>>,
}

/// Accepts connections and returns those that speak TLS, in the order in which their handshakes end.
pub(super) fn accept(listener: TcpListener, acceptor: TlsAcceptor) -> impl Stream<Item = io::Result<TlsStream<TcpStream>>> {
    let handshakes = Handshakes { listener, acceptor, under_way: JoinSet::new() };
    stream::unfold(handshakes, |mut handshakes| async move {
        loop {
            tokio::select! {
                Some(done) = handshakes.under_way.join_next() => {
                    if let Ok(Some(stream)) = done {
                        return Some((Ok(stream), handshakes));
                    }
                }
                accepted = handshakes.listener.accept(), if handshakes.under_way.len() < HANDSHAKES_MAX => match accepted {
                    Ok((tcp, _)) => {
                        let acceptor = handshakes.acceptor.clone();
                        handshakes.under_way.spawn(handshake(acceptor, tcp));
                    }
                    Err(error) => {
                        tracing::debug!("gRPC: cannot accept: {error}");
                        tokio::time::sleep(ACCEPT_AGAIN).await;
                    }
                }
            }
        }
    })
}

async fn handshake(acceptor: TlsAcceptor, tcp: TcpStream) -> Option<TlsStream<TcpStream>> {
    let done = tls::handshake(&acceptor, tcp).await;
    done.inspect_err(|error| tracing::debug!("gRPC: no TLS: {error}")).ok()
}
