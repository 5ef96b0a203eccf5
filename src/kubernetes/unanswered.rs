//! Writes that got no answer, or none that can be read: whether they were carried out.
//!
//! Every write holds only for the version that it was judged on, so sending it again does no harm: if the second is taken, the
//! first wasn't carried out and never will be, since its version is gone. If it isn't, the Deployment is read again. Still at the
//! judged version, the first may yet arrive. At another version it can't; and if that has what was asked for, whoever made no
//! condition has got it. Whoever did must know whose write it was, which a reading doesn't tell. All else stays unknown.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tracing::info;
use uuid::Uuid;

use super::{
    details::{DeploymentObject, read},
    write::{Deployments, Retries, WRITE, WriteError, WriteRequest},
};
use crate::telemetry::metrics::Retry;

/// How long reading again may take.
const READ_AGAIN: Duration = Duration::from_secs(2);

/// A write without an answer.
pub(super) struct Unanswered {
    /// What came in place of the answer.
    pub(super) why: String,
}

impl Deployments {
    /// How long a write without an answer may take the second time; `None` if it isn't sent again.
    pub(super) fn second_attempt(&self, retries: &Retries<'_>) -> Option<Duration> {
        let may = Instant::now() < retries.deadline
            && self.api_server.admit().is_ok()
            && self.retry_budget.withdraw(Retry::Unanswered);
        may.then(|| retries.begun + WRITE - Instant::now())
    }

    /// The Deployment as it is now, if that shows that the write of what was judged, an object and its version, came to what
    /// was asked for: if `holds`.
    pub(super) async fn read_again<E>(
        &self,
        request: &WriteRequest,
        (uid, judged): (Uuid, u64),
        Unanswered { why }: Unanswered,
        holds: impl Fn(&DeploymentObject) -> bool,
    ) -> Result<DeploymentObject, WriteError<E>> {
        if request.dry_run {
            return Err(WriteError::Unavailable(why, None));
        }
        let may = !request.conditional
            && self.api_server.admit().is_ok()
            && self.retry_budget.withdraw(Retry::Unanswered);
        if !may {
            return Err(WriteError::Unknown(why));
        }
        let key = (request.namespace.clone(), request.name.clone());
        match timeout(READ_AGAIN, read(&self.api_server, &key)).await {
            Ok(Ok(now)) if now.uid() == uid && now.resource_version() != judged && holds(&now) => {
                info!(name: "kubernetes.write.resolved", namespace = %request.namespace, name = %request.name, error = %why,
                    resource_version = now.resource_version(), "a write got no answer, and a reading shows what it asked for");
                Ok(now)
            }
            _ => Err(WriteError::Unknown(why)),
        }
    }
}
