//! The count of a Deployment, set through the `scale` subresource.

use http::Method;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    details::DeploymentObject,
    field_manager::of_count,
    wire::version,
    write::{APPLY, Attempt, Deployments, Sending, WriteError, WriteRequest, Written},
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

impl Deployments {
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
            let (scale, uid, judged, previous, replicas) = {
                let snapshot = self.status.store().snapshot();
                let record = snapshot
                    .get(&request.namespace, &request.name)
                    .ok_or(WriteError::NotFound)?;
                let replicas = judge(record).map_err(WriteError::Judged)?;
                let scale = conditional(&record, request, replicas);
                let judged = record.resource_version();
                (scale, record.uid(), judged, record.replicas(), replicas)
            };
            self.reachable()?;
            // Applied, so that it has an owner: of a replaced Scale with 0 replicas, and of each one after it, Kubernetes keeps none.
            // Whoever applied what is there already would be one owner more.
            let (method, content_type) = if replicas == previous {
                (Method::PUT, "application/json")
            } else {
                (Method::PATCH, APPLY)
            };
            let sending = Sending {
                field_manager: manager.clone(),
                method,
                path: "/scale",
                content_type,
                body: serde_json::to_vec(&scale)
                    .map_err(|e| WriteError::Refused(e.to_string()))?
                    .into(),
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

fn conditional(record: &Record<'_>, request: &WriteRequest, replicas: i32) -> Scale {
    Scale {
        api_version: "autoscaling/v1".into(),
        kind: "Scale".into(),
        metadata: ScaleMeta {
            name: request.name.clone(),
            namespace: request.namespace.clone(),
            uid: record.uid(),
            resource_version: record.resource_version().to_string(),
        },
        spec: ScaleSpec { replicas },
    }
}
