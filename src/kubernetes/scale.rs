//! The count of a Deployment, set through the `scale` subresource.

use bytes::Bytes;
use http::Method;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    details::DeploymentObject,
    field_manager::of_count,
    unanswered::Unanswered,
    wire::version,
    write::{APPLY, Again, Attempt, Deployments, Sending, WriteError, WriteRequest, Written},
};
use crate::store::Record;

/// The part of autoscaling/v1 Scale that is written and read.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Scale {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    metadata: ScaleMeta,
    #[serde(default)]
    spec: ScaleSpec,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScaleMeta {
    name: String,
    namespace: String,
    uid: Uuid,
    resource_version: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct ScaleSpec {
    /// Absent means 0 here, other than in a Deployment.
    #[serde(default)]
    replicas: i32,
}

/// The object and version that a write holds for, and the count that it has there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exactly {
    /// The Deployment's uid.
    pub uid: Uuid,
    /// Its resourceVersion.
    pub version: u64,
    /// Its count.
    pub replicas: i32,
}

impl Deployments {
    /// Applies a count to exactly this version of a Deployment, even the count that is there: who applies it owns it. An answer that
    /// is lost is looked for by whoever asks, by the mark.
    ///
    /// # Errors
    ///
    /// Each says what is known of the outcome; [`WriteError::Conflict`] that the version is another.
    pub async fn scale_exactly<E>(
        &self,
        request: &WriteRequest,
        on: Exactly,
        replicas: i32,
    ) -> Result<Written<i32>, WriteError<E>> {
        let retries = self.retries(request);
        let mark = request.mark.as_deref();
        let sending = Sending {
            field_manager: of_count(&request.field_manager, Timestamp::now(), mark),
            method: Method::PATCH,
            path: "/scale",
            content_type: APPLY,
            body: body(request, &on, replicas)?,
            judged: on.version,
        };
        loop {
            self.reachable()?;
            let scale = match self.send::<Scale, E>(&retries, &sending).await? {
                Attempt::Done(scale) => scale,
                Attempt::Again(Again::Conflict(_)) => return Err(WriteError::Conflict),
                Attempt::Again(again) => {
                    retries.wait(again).await?;
                    continue;
                }
                Attempt::Unanswered(Unanswered { why }) => return Err(WriteError::Unknown(why)),
            };
            let made = version(&scale.metadata.resource_version).unwrap_or(0);
            return Ok(Written {
                uid: scale.metadata.uid,
                previous: on.replicas,
                now: scale.spec.replicas,
                resource_version: made,
                seen: self.seen(request, on.version, made).await,
            });
        }
    }

    /// Whether the Deployment has a lease that goes back to another count. This server's copy may lag, so the cluster is asked; one
    /// that doesn't say may have one.
    async fn goes_back(&self, request: &WriteRequest) -> bool {
        let Some(leases) = &self.leases else {
            return false;
        };
        let (namespace, name) = request.names();
        match leases.read(namespace, name).await {
            Ok(stored) => stored.is_some_and(|it| it.lease.replicas != it.lease.previous),
            Err(_) => true,
        }
    }

    /// Sets the count of one Deployment to what `judge` says, 0 or more, if it lets it, and waits until the store shows it.
    ///
    /// The write holds only for the version that was judged: if somebody else was faster it is judged again on the newer one.
    ///
    /// # Errors
    ///
    /// Each says what is known of the outcome.
    pub async fn scale<E>(
        &self,
        request: &WriteRequest,
        judge: impl Fn(Record<'_>) -> Result<i32, E>,
    ) -> Result<Written<i32>, WriteError<E>> {
        let retries = self.retries(request);
        let mark = request.mark.as_deref();
        let manager = of_count(&request.field_manager, Timestamp::now(), mark);
        loop {
            let (on, replicas) = {
                let snapshot = self.status.store().snapshot();
                let record = snapshot
                    .get(&request.namespace, &request.name)
                    .ok_or(WriteError::NotFound)?;
                let replicas = judge(record).map_err(WriteError::Judged)?;
                let on = Exactly {
                    uid: record.uid(),
                    version: record.resource_version(),
                    replicas: record.replicas(),
                };
                (on, replicas)
            };
            let (uid, judged, previous) = (on.uid, on.version, on.replicas);
            self.reachable()?;
            // Applied, so that it has an owner: of a replaced Scale with 0 replicas, and of each one after it, Kubernetes keeps none.
            // Whoever applied what is there already would be one owner more: only where that tells that a lease's count is its no more.
            let (method, content_type) = if replicas == previous && !self.goes_back(request).await {
                (Method::PUT, "application/json")
            } else {
                (Method::PATCH, APPLY)
            };
            let sending = Sending {
                field_manager: manager.clone(),
                method,
                path: "/scale",
                content_type,
                body: body(request, &on, replicas)?,
                judged,
            };
            let (uid, now, made) = match self.send::<Scale, E>(&retries, &sending).await? {
                Attempt::Done(Scale { metadata, spec, .. }) => {
                    let made = version(&metadata.resource_version).unwrap_or(0);
                    (metadata.uid, spec.replicas, made)
                }
                Attempt::Again(again) => {
                    retries.wait(again).await?;
                    continue;
                }
                Attempt::Unanswered(unanswered) => {
                    let holds = |now: &DeploymentObject| now.replicas() == replicas;
                    let now = self
                        .read_again(request, (uid, judged), unanswered, holds)
                        .await?;
                    (uid, replicas, now.resource_version())
                }
            };
            return Ok(Written {
                uid,
                previous,
                now,
                resource_version: made,
                seen: self.seen(request, judged, made).await,
            });
        }
    }
}

/// A Scale that holds only for what was judged.
fn body<E>(request: &WriteRequest, on: &Exactly, replicas: i32) -> Result<Bytes, WriteError<E>> {
    let scale = Scale {
        api_version: "autoscaling/v1".into(),
        kind: "Scale".into(),
        metadata: ScaleMeta {
            name: request.name.clone(),
            namespace: request.namespace.clone(),
            uid: on.uid,
            resource_version: on.version.to_string(),
        },
        spec: ScaleSpec { replicas },
    };
    let body = serde_json::to_vec(&scale).map_err(|e| WriteError::Refused(e.to_string()))?;
    Ok(body.into())
}
