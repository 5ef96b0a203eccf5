//! File descriptors: as many as the system lets this process have, and how many of them connections may take.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// Descriptors for everything but callers: the API server's connections, the admin listener's, files, the runtime.
const OTHERS: u64 = 192;

/// How many connections there can be, which is said if it is fewer than there may be. Raises the soft limit to the hard one first: the soft one is for programs that use `select`.
pub(super) fn for_connections(wanted: usize) -> usize {
    let most = for_limit(raise());
    if most < wanted {
        warn!(name: "server.descriptors.few", connections = most, wanted, "file descriptors allow {most} connections, fewer than limits.connections.total: raise their limit (ulimit -n)");
    }
    most
}

/// How many connections there could be. Raises the soft limit as the server does.
pub(crate) fn connections_allowed() -> usize {
    for_limit(raise())
}

/// The limit on descriptors, raised as far as it can be; `None` without one.
fn raise() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    // Where even that is forbidden, the soft limit is what there is.
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => raised.current,
        Err(_) => limit.current,
    }
}

fn for_limit(allowed: Option<u64>) -> usize {
    match allowed {
        None => usize::MAX,
        Some(all) => usize::try_from(all.saturating_sub(OTHERS).max(1)).unwrap_or(usize::MAX),
    }
}
