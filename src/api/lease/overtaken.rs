//! A lease whose count somebody else has set: ended before the answer where this server set it, and told of.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;
use tracing::info;

use super::{
    super::{
        Api,
        write::{Origin, log_write},
    },
    refused::note,
};
use crate::{
    audit::{Audit, Record},
    kubernetes::{Deployments, FieldOwner, There, Told},
    leases::Lease,
    telemetry::metrics::LeaseMetrics,
};

/// How long the answer to a write waits for the end of the lease that it has overtaken.
const PATIENCE: Duration = Duration::from_secs(2);

/// Ends the lease that a write of this server has overtaken, so that what is read after the write shows none. What doesn't succeed is
/// left to whoever brings counts back.
pub(in crate::api) async fn end(api: &Arc<Api>, origin: &Origin, (namespace, name): (&str, &str)) {
    let Some(leases) = api.deployments.leases() else {
        return;
    };
    let known = leases.known();
    if known.is_none_or(|known| known.of(namespace, name).is_none()) {
        return;
    }
    let (api, leases) = (Arc::clone(api), Arc::clone(leases));
    let (origin, names) = (origin.clone(), (namespace.to_owned(), name.to_owned()));
    let (ids, tasks) = (origin.ids.clone(), api.tasks.clone());
    let ended = async move {
        let (namespace, name) = (&*names.0, &*names.1);
        match api
            .deployments
            .end_overtaken(&leases, (namespace, name))
            .await
        {
            Ok(Some((lease, there))) => {
                tell(
                    &api.deployments,
                    &api.audit,
                    &api.metrics.leases,
                    &lease,
                    &there,
                );
            }
            Ok(None) => {}
            Err(error) => {
                log_write!(warn, "lease.unsettled", origin, (namespace, name), { error = %error },
                "a lease that was overtaken is there still; it is settled in a moment")
            }
        }
    };
    // However long it takes, it is told of.
    let _ = timeout(PATIENCE, tasks.spawn(ids.scope(ended))).await;
}

/// Tells of a lease that has ended since somebody else set the count, everywhere.
pub(crate) fn tell(
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
    deployments.tell(|| Told {
        namespace: namespace.clone(),
        name: name.clone(),
        uid: lease.uid,
        resource_version: there.version,
        reason: "LeaseOvertaken",
        note: note(
            holder,
            &format!("the lease has ended, since {who} has set the count: {replicas} → {now}"),
        ),
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
