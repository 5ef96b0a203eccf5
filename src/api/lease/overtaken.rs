//! A lease whose count a write of this server has set: ended before that is answered.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{
    super::{
        Api,
        write::{Origin, log_write},
    },
    ended,
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
                ended::overtaken(
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
