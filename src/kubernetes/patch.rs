//! What is set by a patch of the Deployment itself: an image, a restart, a pause, an earlier revision's template.

use std::{sync::Arc, time::Duration};

use http::Method;
use serde_json::{Value, json};

use super::{
    details::{DeploymentObject, Details, RESTARTED_AT},
    revisions::Revision,
    write::{Again, Attempt, Deployments, Sending, WriteError, WriteRequest, Written},
};

/// How long an API server is left alone that shows an older state than before, as one that is being restored does.
const PAUSE: Duration = Duration::from_millis(200);

/// What a write of the Deployment itself comes to.
type Outcome<E> = Result<Written<Arc<Details>>, WriteError<E>>;

impl Deployments {
    /// Sets the image of one container, or init container, if `judge` lets it, and waits until the store shows it.
    ///
    /// `permit` is asked before the container is looked for: whoever it refuses learns nothing of the Deployment.
    ///
    /// # Errors
    ///
    /// Each says what is known of the outcome.
    pub async fn set_image<E>(
        &self,
        request: &WriteRequest,
        container: &str,
        image: &str,
        permit: impl Fn(&Details) -> Result<(), E>,
        judge: impl Fn(&Details) -> Result<(), E>,
    ) -> Outcome<E> {
        let change = |now: &Details| {
            permit(now).map_err(WriteError::Judged)?;
            // A patch would add what isn't there.
            if now.get(container).is_none() {
                return Err(WriteError::NoSuchContainer(container.into()));
            }
            judge(now).map_err(WriteError::Judged)?;
            let regular = now.containers.iter().any(|c| c.name == container);
            let list = if regular {
                "containers"
            } else {
                "initContainers"
            };
            let pod = json!({ list: [{ "name": container, "image": image }] });
            Ok(json!({ "template": { "spec": pod } }))
        };
        let holds = |now: &DeploymentObject| now.image(container) == Some(image);
        self.patch(request, change, holds).await
    }

    /// Restarts a Deployment's Pods, if `judge` lets it: marks their template with the time `at`, as `kubectl rollout restart` does.
    ///
    /// # Errors
    ///
    /// Each says what is known of the outcome.
    pub async fn restart<E>(
        &self,
        request: &WriteRequest,
        at: &str,
        judge: impl Fn(&Details) -> Result<(), E>,
    ) -> Outcome<E> {
        let change = |now: &Details| {
            judge(now).map_err(WriteError::Judged)?;
            let marked = json!({ "annotations": { RESTARTED_AT: at } });
            Ok(json!({ "template": { "metadata": marked } }))
        };
        let holds = |now: &DeploymentObject| now.restarted_at() == Some(at);
        self.patch(request, change, holds).await
    }

    /// Holds a Deployment's rollouts, or lets them go on, if `judge` lets it.
    ///
    /// # Errors
    ///
    /// Each says what is known of the outcome.
    pub async fn set_paused<E>(
        &self,
        request: &WriteRequest,
        paused: bool,
        judge: impl Fn(&Details) -> Result<(), E>,
    ) -> Outcome<E> {
        let change = |now: &Details| {
            judge(now).map_err(WriteError::Judged)?;
            Ok(json!({ "paused": paused }))
        };
        let holds = |now: &DeploymentObject| now.paused() == paused;
        self.patch(request, change, holds).await
    }

    /// Gives a Deployment the Pod template of an earlier revision of its own, if `judge` lets it.
    ///
    /// # Errors
    ///
    /// Each says what is known of the outcome.
    pub async fn roll_back<E>(
        &self,
        request: &WriteRequest,
        to: &Revision,
        judge: impl Fn(&Details) -> Result<(), E>,
    ) -> Outcome<E> {
        let change = |now: &Details| {
            if now.uid != to.owner {
                // Another one of the same name: its revisions are others.
                return Err(WriteError::Conflict);
            }
            judge(now).map_err(WriteError::Judged)?;
            let mut template = to.template.clone();
            if let Some(template) = template.as_object_mut() {
                // The whole of it, or what the newer one has beside it would stay.
                template.insert("$patch".into(), "replace".into());
            }
            Ok(json!({ "template": template }))
        };
        // It has its defaults already: the API server gave them when it was a Deployment's before.
        let holds = |now: &DeploymentObject| now.has_template(&to.template);
        self.patch(request, change, holds).await
    }

    /// Patches a Deployment, and waits until the store shows it. `change` judges what is there, and says what of the `spec` is to be
    /// another; `holds` tells of a Deployment whether it came to that.
    ///
    /// The store says whether the Deployment is managed, and what is read whether it still is. That is judged, and the write
    /// holds only for the version that was: if somebody else was faster it is read and judged again. It doesn't wait for the store to have the same version,
    /// since a busy Deployment would have changed again by then.
    async fn patch<E>(
        &self,
        request: &WriteRequest,
        change: impl Fn(&Details) -> Result<Value, WriteError<E>>,
        holds: impl Fn(&DeploymentObject) -> bool,
    ) -> Outcome<E> {
        let (namespace, name) = request.names();
        let retries = self.retries(request);
        let mut refused = 0;
        loop {
            let stored = self.stored_version((namespace, name));
            let stored = stored.ok_or(WriteError::NotFound)?;
            let at_least = stored.max(refused + 1);
            let (previous, _) = self
                .details(namespace, name, at_least, &request.caller)
                .await?;
            let judged = previous.resource_version;
            let attempt = if judged < stored {
                let why = "it shows an older state than it did before".to_owned();
                Attempt::Again(Again::Later(PAUSE, why))
            } else if judged <= refused {
                Attempt::Again(Again::Unexplained(PAUSE))
            } else {
                let spec = change(&previous)?;
                self.reachable()?;
                let sending = Sending {
                    field_manager: request.field_manager.clone(),
                    method: Method::PATCH,
                    path: "",
                    content_type: "application/strategic-merge-patch+json",
                    body: conditional(&previous, &spec).into(),
                    judged,
                };
                self.send::<DeploymentObject, E>(&retries, &sending).await?
            };
            let now: Details = match attempt {
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
                    let read = (previous.uid, judged);
                    self.read_again(request, read, unanswered, &holds)
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
fn conditional(judged: &Details, spec: &Value) -> String {
    json!({
        "metadata": { "uid": judged.uid, "resourceVersion": judged.resource_version.to_string() },
        "spec": spec,
    })
    .to_string()
}
