//! The count of a Deployment, set through the `scale` subresource.

use http::Method;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    wire::version,
    write::{Deployments, Sending, WriteError, WriteRequest, Written},
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
    /// Sets the count of one Deployment, 0 or more, if `judge` lets it, and waits until the store shows it.
    ///
    /// The write holds only for the version that was judged: if somebody else was faster it is judged again on the newer one.
    ///
    /// # Errors
    ///
    /// Each says what is known of the outcome.
    pub async fn scale<E>(
        &self,
        request: &WriteRequest,
        replicas: i32,
        judge: impl Fn(Record<'_>) -> Result<(), E>,
    ) -> Result<Written<i32>, WriteError<E>> {
        let retries = self.retries(request);
        loop {
            let (scale, judged, previous) = {
                let snapshot = self.status.store().snapshot();
                let record = snapshot
                    .get(&request.namespace, &request.name)
                    .ok_or(WriteError::NotFound)?;
                judge(record).map_err(WriteError::Judged)?;
                let scale = conditional(&record, request, replicas);
                (scale, record.resource_version(), record.replicas())
            };
            self.reachable()?;
            let sending = Sending {
                method: Method::PUT,
                path: "/scale",
                content_type: "application/json",
                body: serde_json::to_vec(&scale).map_err(|e| WriteError::Refused(e.to_string()))?,
                judged,
            };
            let answer: Scale = match self.send(request, sending).await? {
                Ok(answer) => answer,
                Err(again) => {
                    retries.wait(again).await?;
                    continue;
                }
            };
            let made = version(&answer.metadata.resource_version).unwrap_or(0);
            return Ok(Written {
                uid: answer.metadata.uid,
                previous,
                now: answer.spec.replicas,
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
