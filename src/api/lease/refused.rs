//! What is told of a lease that was claimed and whose count may not go back after all: it has ended, and its count stays.

use tracing::warn;

use crate::{
    kubernetes::{Deployments, NOT_REVERTED, Told},
    leases::Lease,
    telemetry::log::hides,
};

/// Tells in the log, and in an Event, that a lease was claimed and its count may not go back, so that it stays.
pub(super) fn tell(deployments: &Deployments, lease: &Lease, why: &str) {
    log(lease, why);
    deployments.tell(|| Told {
        namespace: lease.namespace.clone(),
        name: lease.name.clone(),
        uid: lease.uid,
        resource_version: 0,
        reason: NOT_REVERTED,
        note: note(&lease.holder, &words(lease, why)),
    });
}

/// Tells in the log.
pub(crate) fn log(lease: &Lease, why: &str) {
    let Lease {
        namespace,
        name,
        holder,
        replicas,
        previous,
        ..
    } = lease;
    warn!(name: "lease.refused", principal = %holder, namespace = %namespace, name = %name, from = replicas, to = previous,
        error = %why, "the lease of Deployment {namespace}/{name} was over, and its count may not go back");
}

/// Tells in an Event or a record.
pub(crate) fn words(lease: &Lease, why: &str) -> String {
    let previous = lease.previous;
    format!("the lease is over, and the count can't go back to {previous}: {why}")
}

/// An Event's words; a terminal shows them.
pub(crate) fn note(holder: &str, why: &str) -> String {
    let shown = |c| if hides(c) { '\u{fffd}' } else { c };
    format!("{holder}: {why}").chars().map(shown).collect()
}
