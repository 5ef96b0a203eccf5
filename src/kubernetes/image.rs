//! The image of one container, set by a patch of the Deployment itself.

use std::{sync::Arc, time::Duration};

use http::Method;
use serde_json::json;

use super::{
    containers::{Containers, DeploymentObject},
    write::{Again, Attempt, Deployments, Sending, WriteError, WriteRequest, Written},
};

/// How long an API server is left alone that shows an older state than before, as one that is being restored does.
const PAUSE: Duration = Duration::from_millis(200);

impl Deployments {
    /// Sets the image of one container, or init container, if `judge` lets it, and waits until the store shows it.
    ///
    /// `permit` is asked before the container is looked for: whoever it refuses learns nothing of the Deployment.
    ///
    /// The store says whether the Deployment is managed, and what is read whether it still is. That is judged, and the write
    /// holds only for the version that was: if somebody else was faster it is read and judged again. It doesn't wait for the store to have the same version,
    /// since a busy Deployment would have changed again by then.
    ///
    /// # Errors
    ///
    /// Each says what is known of the outcome.
    pub async fn set_image<E>(
        &self,
        request: &WriteRequest,
        container: &str,
        image: &str,
        permit: impl Fn(&Containers) -> Result<(), E>,
        judge: impl Fn(&Containers) -> Result<(), E>,
    ) -> Result<Written<Arc<Containers>>, WriteError<E>> {
        let WriteRequest {
            namespace, name, ..
        } = request;
        let retries = self.retries(request);
        let mut refused = 0;
        loop {
            let stored = {
                let snapshot = self.status.store().snapshot();
                let record = snapshot.get(namespace, name).ok_or(WriteError::NotFound)?;
                record.resource_version()
            };
            let at_least = stored.max(refused + 1);
            let (previous, _) = self
                .containers(namespace, name, at_least, &request.caller)
                .await?;
            let judged = previous.resource_version;
            let attempt = if judged < stored {
                let why = "it shows an older state than it did before".to_owned();
                Attempt::Again(Again::Later(PAUSE, why))
            } else if judged <= refused {
                Attempt::Again(Again::Unexplained(PAUSE))
            } else {
                permit(&previous).map_err(WriteError::Judged)?;
                // A patch would add what isn't there.
                if previous.get(container).is_none() {
                    return Err(WriteError::NoSuchContainer(container.into()));
                }
                judge(&previous).map_err(WriteError::Judged)?;
                self.reachable()?;
                let sending = Sending {
                    method: Method::PATCH,
                    path: "?fieldManager=headcount",
                    content_type: "application/strategic-merge-patch+json",
                    body: patch(&previous, container, image).into(),
                    judged,
                };
                self.send::<DeploymentObject, E>(&retries, &sending).await?
            };
            let now: Containers = match attempt {
                Attempt::Done(answer) => answer.into(),
                Attempt::Again(Again::Conflict(judged)) => {
                    // Nothing to wait for: the next read shows what was faster.
                    refused = judged;
                    retries.in_time()?;
                    continue;
                }
                Attempt::Again(again) => {
                    retries.wait(again).await?;
                    continue;
                }
                Attempt::Unanswered(unanswered) => {
                    let holds = |now: &DeploymentObject| now.image(container) == Some(image);
                    let read = (previous.uid, judged);
                    self.read_again(request, read, unanswered, holds)
                        .await?
                        .into()
                }
            };
            let made = now.resource_version;
            return Ok(Written {
                uid: now.uid,
                seen: self.seen(request, judged, made).await,
                previous,
                now: Arc::new(now),
                resource_version: made,
            });
        }
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
