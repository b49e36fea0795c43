//! Reads small files (tokens, certificates) and reads them again when they change.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web;
use tfweb_engine::Error;

/// The interval of readings. A new file takes effect soon, and small files cost little. The server compares contents and not
/// times, because Kubernetes replaces the directory of a mounted Secret.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The most bytes of such a file. Ten thousand tokens or hundreds of certificates fit into it.
const FILE_BYTES_MAX: usize = 1 << 20;

/// Reads a small file.
///
/// # Errors
/// The system's error, or `InvalidData` for a file over the limit.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("expected at most {FILE_BYTES_MAX} bytes, got more")));
    }
    Ok(bytes)
}

/// Calls `reread` every two seconds as long as the actix System lives. `reread` returns whether something has changed. The same
/// error is logged only once.
pub fn follow(what: &'static str, reread: impl Fn() -> Result<bool, Error> + Send + Sync + 'static) {
    let reread = Arc::new(reread);
    actix::spawn(async move {
        let mut last_error = String::new();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let look = Arc::clone(&reread);
            match web::block(move || look()).await {
                Ok(Ok(changed)) => {
                    last_error.clear();
                    if changed {
                        tracing::info!("{what}: read again after a change");
                    }
                }
                Ok(Err(error)) if last_error != error.message => {
                    tracing::error!("{what}: {error}; what was read before stays");
                    last_error = error.message;
                }
                Ok(Err(_)) | Err(_) => {}
            }
        }
    });
}
