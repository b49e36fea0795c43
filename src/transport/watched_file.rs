//! Reads small files that may be replaced while the server runs, and follows them: tokens, certificates.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actix_web::web;
use tfweb_engine::Error;

/// How often to look: soon enough for who has just replaced a file, and next to nothing for files this small. Contents are
/// compared, not times: Kubernetes swaps the directory that a mounted Secret is in.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The most bytes of such a file: ten thousand tokens, or hundreds of certificates.
const FILE_BYTES_MAX: usize = 1 << 20;

/// Reads such a file.
///
/// # Errors
/// The system's own, and `InvalidData` over the limit.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("expected at most {FILE_BYTES_MAX} bytes, got more")));
    }
    Ok(bytes)
}

/// Calls `reread`, which gives whether something has changed, again and again for as long as the System lives. What goes wrong is
/// logged once for as long as it stays so.
pub fn follow(what: &'static str, reread: impl Fn() -> Result<bool, Error> + Send + Sync + 'static) {
    let reread = Arc::new(reread);
    actix::spawn(async move {
        let mut said = String::new();
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let look = Arc::clone(&reread);
            match web::block(move || look()).await {
                Ok(Ok(changed)) => {
                    said.clear();
                    if changed {
                        tracing::info!("{what}: changed, and read anew");
                    }
                }
                Ok(Err(error)) if said != error.message => {
                    tracing::error!("{what}: {error}; what was read before stays");
                    said = error.message;
                }
                Ok(Err(_)) | Err(_) => {}
            }
        }
    });
}
