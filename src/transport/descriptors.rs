//! The file descriptors of the process. Every connection needs one.

use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};

/// Descriptors for all but the clients of the HTTP and the gRPC port: the admin port, files of models, fetches, traces.
const OTHERS: usize = 512;

/// Raises the soft limit of descriptors to the hard one. Shells and service managers set the soft limit to 1,024 for old programs
/// that use `select`.
pub(crate) fn raise() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::debug!("cannot raise the limit of file descriptors: {error}");
    }
}

/// How many connections a port may have, if it wants `most`. The HTTP port and the gRPC port get half of the descriptors each.
pub(super) fn connections_max(most: usize) -> usize {
    share(getrlimit(Resource::Nofile).current, most)
}

fn share(limit: Option<u64>, most: usize) -> usize {
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    most.min((limit - OTHERS.min(limit / 2)) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_has_at_most_half_of_the_descriptors() {
        let shares = [None, Some(1 << 20), Some(1024), Some(256)].map(|limit| share(limit, 8192));
        assert_eq!(shares, [8192, 8192, 256, 64]);
    }
}
