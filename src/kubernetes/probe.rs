//! The probe: asks the API server every few seconds whether it is there, and recognises a cluster that went back to an older
//! state.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::{
    Calls, InformerStatus,
    backoff::Backoff,
    calls::CallError,
    wire::{ListMeta, version},
};

/// How often the API server is asked whether it is there, and how long it may take to answer.
const PROBE: Duration = Duration::from_secs(3);
/// A version below the store's must be seen so often before it counts as a restore and not as a stale answer.
const PROBES_BEFORE_RESTORE: u32 = 2;

/// Asks the API server every few seconds whether it is there and at which version.
pub(super) async fn probe(calls: Calls, status: Arc<InformerStatus>) {
    let mut behind = 0;
    status.circuit().probes_in(Duration::ZERO);
    loop {
        // Of the furthest scope: it may be the only one that is ahead of a restored cluster.
        let known = status.store().snapshot().newest_resource_version();
        let start = Instant::now();
        let mut answer = asked_within(&calls).await;
        // A kept connection that the other side has closed meanwhile says nothing about the API server.
        if matches!(answer, Err(CallError::Broken(_))) {
            answer = asked_within(&calls).await;
        }
        let asked = answer.as_ref().err().and_then(CallError::retry_after);
        match answer {
            Ok(metadata) => {
                if status.probed() {
                    info!(name: "informer.probe.succeeded", "the Kubernetes API answers again");
                }
                behind = match version(&metadata.resource_version) {
                    Some(now) if now < known => behind + 1,
                    _ => 0,
                };
                if behind == PROBES_BEFORE_RESTORE {
                    behind = 0;
                    warn!(name: "informer.restore.detected", known, found = %metadata.resource_version,
                        "the cluster went back to an older state: everything is listed anew");
                    status.restores.send_modify(|n| *n += 1);
                }
            }
            // Overloaded is not away: only if it lasts does health say so.
            Err(error) if error.code() == 429 => {}
            Err(error) => {
                if error.unanswered() {
                    status.circuit().probe_unanswered(&error.told());
                }
                if status.probe_failed(error.told()) {
                    warn!(name: "informer.probe.failed", error = %error, "the probe of the Kubernetes API failed");
                }
            }
        }
        let wait = match asked {
            Some(asked) => Backoff::default().next(Some(asked.max(PROBE))),
            None => PROBE.saturating_sub(start.elapsed()),
        };
        status.circuit().probes_in(wait);
        sleep(wait).await;
    }
}

async fn asked_within(calls: &Calls) -> Result<ListMeta, CallError> {
    timeout(PROBE, calls.version())
        .await
        .unwrap_or(Err(CallError::Silent(PROBE)))
}
