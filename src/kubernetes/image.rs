//! The image of one container, set by a patch of the Deployment itself.

use std::{sync::Arc, time::Duration};

use http::Method;
use serde_json::json;

use super::{
    containers::{Containers, DeploymentObject},
    write::{Again, Deployments, Sending, WriteError, WriteRequest, Written},
};
use crate::store::Record;

/// How long an API server is left alone that shows an older state than the store has, as one that is being restored does.
const BEHIND: Duration = Duration::from_millis(500);

impl Deployments {
    /// Sets the image of one container, or init container, if `judge` lets it, and waits until the store shows it.
    ///
    /// The write holds only for the version that was judged, of which the store's record and the containers both are: if
    /// somebody else was faster it is judged again on the newer one.
    ///
    /// # Errors
    ///
    /// Each says what is known of the outcome.
    pub async fn set_image<E>(
        &self,
        request: &WriteRequest,
        container: &str,
        image: &str,
        judge: impl Fn(Record<'_>, &Containers) -> Result<(), E>,
    ) -> Result<Written<Arc<Containers>>, WriteError<E>> {
        let WriteRequest {
            namespace, name, ..
        } = request;
        let retries = self.retries(request);
        loop {
            let known = {
                let snapshot = self.status.store().snapshot();
                let record = snapshot.get(namespace, name).ok_or(WriteError::NotFound)?;
                record.resource_version()
            };
            let (previous, _) = self.containers(namespace, name, known).await?;
            if previous.resource_version < known {
                let why = "it shows an older state than it did before".to_owned();
                retries.wait(Again::Later(BEHIND, why)).await?;
                continue;
            }
            let attempt = match self.judged(request, container, &previous, &judge)? {
                Ok(()) => {
                    let sending = Sending {
                        method: Method::PATCH,
                        path: "?fieldManager=headcount",
                        content_type: "application/strategic-merge-patch+json",
                        body: patch(&previous, container, image).into_bytes(),
                        judged: previous.resource_version,
                    };
                    self.send::<DeploymentObject, E>(request, sending).await?
                }
                Err(again) => Err(again),
            };
            let now: Containers = match attempt {
                Ok(answer) => answer.into(),
                Err(again) => {
                    retries.wait(again).await?;
                    continue;
                }
            };
            let made = now.resource_version;
            return Ok(Written {
                uid: now.uid,
                seen: self.seen(request, previous.resource_version, made).await,
                previous,
                now: Arc::new(now),
                resource_version: made,
            });
        }
    }

    /// Judges the containers together with the store's record, if both are of one version.
    fn judged<E>(
        &self,
        request: &WriteRequest,
        container: &str,
        containers: &Containers,
        judge: impl Fn(Record<'_>, &Containers) -> Result<(), E>,
    ) -> Result<Result<(), Again>, WriteError<E>> {
        let snapshot = self.status.store().snapshot();
        let record = snapshot
            .get(&request.namespace, &request.name)
            .ok_or(WriteError::NotFound)?;
        let (stored, read) = (record.resource_version(), containers.resource_version);
        if stored != read || record.uid() != containers.uid {
            // A store that is behind is waited for; when it is ahead there is more to read.
            return Ok(Err(Again::Conflict(stored.min(read))));
        }
        // A patch would add what isn't there.
        if containers.get(container).is_none() {
            return Err(WriteError::NoSuchContainer(container.into()));
        }
        judge(record, containers).map_err(WriteError::Judged)?;
        self.reachable().map(Ok)
    }
}

/// A strategic merge patch: containers merge by name, and the API server answers 409 when it is at another version. The uid
/// is there for a cluster that was restored to one where another object has the same version.
///
/// A JSON Patch with `test` operations would say as much, but a failed test is a 422 there, as an invalid image is.
fn patch(containers: &Containers, container: &str, image: &str) -> String {
    let regular = containers.containers.iter().any(|c| c.name == container);
    let list = if regular {
        "containers"
    } else {
        "initContainers"
    };
    json!({
        "metadata": { "uid": containers.uid, "resourceVersion": containers.resource_version.to_string() },
        "spec": { "template": { "spec": { list: [{ "name": container, "image": image }] } } },
    })
    .to_string()
}
