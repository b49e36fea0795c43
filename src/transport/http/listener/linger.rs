//! Closes a connection so that the client can read the last answer. If a socket with unread bytes is closed, the system resets
//! the connection, and the client may lose the answer.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::timeouts::DISCARD_BYTES_MAX;

/// The bytes that are read at once.
const READ_BYTES: usize = 16 << 10;

/// Ends the server's half, and reads until the client has ended its own: at most for `wait`, and at most `DISCARD_BYTES_MAX` bytes.
pub(super) async fn close<T: AsyncRead + AsyncWrite + Unpin>(mut io: T, wait: Duration) {
    let closing = async {
        io.shutdown().await?;
        let (mut bytes, mut discarded) = (vec![0; READ_BYTES], 0);
        while discarded <= DISCARD_BYTES_MAX {
            match io.read(&mut bytes).await? {
                0 => break,
                count => discarded += count,
            }
        }
        Ok::<_, std::io::Error>(())
    };
    // After an error the connection ends too.
    let _ = timeout(wait, closing).await;
}
