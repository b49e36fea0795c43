//! `tfweb --healthcheck` asks a server on this machine whether it is ready. It reads the same flags and variables as the server.
//! Images without a shell or curl use it.

use std::time::Duration;

use tfweb_engine::{Code, Error};

/// The time limit of the answer. A healthy server answers at once, and Docker's own limit is 30 s.
const ANSWER_WAIT: Duration = Duration::from_secs(5);
/// The most bytes of an answer that are shown.
const SHOWN_BYTES_MAX: usize = 1000;

/// Asks the `/readyz` of a server. Gives the answer if the server is ready.
///
/// # Errors
/// `Unavailable` if the server is not ready or does not answer.
pub fn ask(url: &str) -> Result<String, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::internal(error.to_string()))?;
    // An error means that the process has a provider already, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let answer = runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().timeout(ANSWER_WAIT);
        // The request goes to this machine, under an address that no certificate names, and carries no secret.
        let client = client.tls_danger_accept_invalid_certs(true).build()?;
        let mut answer = client.get(url).send().await?;
        let said = answer.chunk().await?.unwrap_or_default();
        let shown = &said[..said.len().min(SHOWN_BYTES_MAX)];
        Ok((answer.status(), String::from_utf8_lossy(shown).into_owned()))
    });
    let failed = |error: reqwest::Error| {
        let causes: Vec<String> = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source())
            .map(ToString::to_string)
            .collect();
        Error::new(Code::Unavailable, causes.join(": "))
    };
    match answer.map_err(failed)? {
        (status, said) if status.is_success() => Ok(said),
        (status, said) => Err(Error::new(Code::Unavailable, format!("{url} says {}: {said}", status.as_u16()))),
    }
}
