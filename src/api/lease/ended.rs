//! Tells what leases have come to: in the log, the metrics, the audit trail and in Events.

use tracing::{info, warn};

use crate::{
    audit::{Audit, Record},
    kubernetes::{Deployments, FieldOwner, NOT_REVERTED, Settled, There, Told},
    leases::{End, Lease},
    telemetry::metrics::LeaseMetrics,
};

/// Tells, everywhere, of a lease that has ended; of one that hasn't nothing.
pub(crate) fn tell(
    deployments: &Deployments,
    audit: &Audit,
    metrics: &LeaseMetrics,
    lease: &Lease,
    settled: &Settled,
) {
    match settled {
        Settled::Ended(End::Returned, there) => {
            returned(deployments, audit, metrics, lease, there.as_ref());
        }
        Settled::Ended(End::Overtaken, Some(there)) => {
            overtaken(deployments, audit, metrics, lease, there);
        }
        Settled::Ended(..) => dropped(audit, metrics, lease),
        Settled::Refused(why) => {
            refused(deployments, lease, why);
            metrics.ended("refused");
            audit.record(|| {
                record("lease.refused", lease)
                    .with("from", lease.replicas)
                    .with("to", lease.previous)
                    .with("result", "refused")
                    .with("error", refusal(lease, why))
            });
        }
        Settled::Waits(_) | Settled::Changed | Settled::Unmanaged => {}
    }
}

fn returned(
    deployments: &Deployments,
    audit: &Audit,
    metrics: &LeaseMetrics,
    lease: &Lease,
    there: Option<&There>,
) {
    let Lease {
        namespace,
        name,
        holder,
        replicas,
        previous,
        ..
    } = lease;
    let ended_by = lease.ended_by.as_deref();
    let version = there.map(|there| there.version);
    info!(name: "lease.reverted", principal = %holder, namespace = %namespace, name = %name, from = replicas, to = previous,
        ended_by, resource_version = version, "the lease of Deployment {namespace}/{name} was over: set from {replicas} to {previous} replicas");
    metrics.ended("reverted");
    audit.record(|| {
        record("lease.reverted", lease)
            .with("from", *replicas)
            .with("to", there.map_or(*previous, |there| there.replicas))
            .with("result", "reverted")
    });
    let over = match ended_by {
        None => "the lease is over".to_owned(),
        Some("") => "the lease was ended".to_owned(),
        Some(by) => format!("{by} ended the lease"),
    };
    let why = format!("{over}: {replicas} → {previous}");
    event(
        deployments,
        lease,
        version,
        "LeaseRevertedByHeadcount",
        &why,
    );
}

/// Somebody else has set the count.
pub(super) fn overtaken(
    deployments: &Deployments,
    audit: &Audit,
    metrics: &LeaseMetrics,
    lease: &Lease,
    there: &There,
) {
    let Lease {
        namespace,
        name,
        holder,
        replicas,
        ..
    } = lease;
    let now = there.replicas;
    let by = there.by.as_ref();
    let by = by.map(FieldOwner::name);
    info!(name: "lease.overtaken", principal = %holder, namespace = %namespace, name = %name, from = replicas, to = now, by,
        "somebody else has set the count of Deployment {namespace}/{name}, which has ended its lease");
    metrics.ended("overtaken");
    audit.record(|| {
        record("lease.overtaken", lease)
            .with("from", *replicas)
            .with("to", now)
            .with("by", by)
            .with("result", "overtaken")
            .with("resource_version", there.version)
    });
    let who = by.unwrap_or("somebody else");
    let why = format!("the lease has ended, since {who} has set the count: {replicas} → {now}");
    event(
        deployments,
        lease,
        Some(there.version),
        "LeaseOvertaken",
        &why,
    );
}

fn dropped(audit: &Audit, metrics: &LeaseMetrics, lease: &Lease) {
    let Lease {
        namespace,
        name,
        holder,
        ..
    } = lease;
    info!(name: "lease.dropped", principal = %holder, namespace = %namespace, name = %name,
        "the lease of Deployment {namespace}/{name} was dropped: its count was never set, or the Deployment is gone");
    metrics.ended("dropped");
    audit.record(|| record("lease.dropped", lease));
}

/// It was claimed and its count may not go back after all: it has ended, and its count stays. In the log and an Event.
pub(super) fn refused(deployments: &Deployments, lease: &Lease, why: &str) {
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
    event(deployments, lease, None, NOT_REVERTED, &refusal(lease, why));
}

fn refusal(lease: &Lease, why: &str) -> String {
    let previous = lease.previous;
    format!("the lease is over, and the count can't go back to {previous}: {why}")
}

fn event(
    deployments: &Deployments,
    lease: &Lease,
    version: Option<u64>,
    reason: &'static str,
    why: &str,
) {
    let holder = &lease.holder;
    deployments.tell(|| Told {
        namespace: lease.namespace.clone(),
        name: lease.name.clone(),
        uid: lease.uid,
        resource_version: version.unwrap_or_default(),
        reason,
        note: format!("{holder}: {why}"),
    });
}

/// A record of what this server does by itself for a lease's holder.
pub(crate) fn record(event: &'static str, lease: &Lease) -> Record {
    Record::of(event)
        .with("principal", lease.holder.as_str())
        .with("ended_by", lease.ended_by.as_deref())
        .with("reason", lease.reason.clone())
        .with("verb", "scale")
        .with("namespace", lease.namespace.as_str())
        .with("name", lease.name.as_str())
}
