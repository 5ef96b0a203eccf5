//! `PUT /namespaces/{namespace}/deployments/{name}/paused`: rollouts are held, or go on.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Api, ApiError,
    json::one_object,
    preconditions,
    write::{Failure, Parameter, Write, log_write},
};
use crate::{
    access::Verb,
    kubernetes::{Details, WriteError, WriteRequest, Written},
};

/// Whether rollouts are held, as a parameter that is set.
pub(super) struct Paused;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    paused: bool,
}

impl Parameter for Paused {
    type Wish = bool;
    type State = bool;
    const VERB: Verb = Verb::Pause;

    const NOUN: &'static str = "pause";
    const REQUESTED: &'static str = "pause.requested";
    const APPLIED: &'static str = "pause.applied";
    const FAILED: &'static str = "pause.failed";
    const EVENT: &'static str = "PausedByHeadcount";
    const DONE: &'static str = "Pause set";
    const UPDATED: &'static str = r#"{"message":"Pause set."}"#;
    const UPDATED_UNSEEN: &'static str =
        r#"{"message":"Pause set; this server's copy has not caught up yet."}"#;

    fn wish(&self, body: &[u8]) -> Result<bool, ApiError> {
        let wanted: Wanted = one_object(body).map_err(ApiError::BadPausedBody)?;
        Ok(wanted.paused)
    }

    fn value(wish: &bool) -> Value {
        (*wish).into()
    }

    fn known(&self, api: &Api, (namespace, name): (&str, &str)) -> Value {
        let known = api.deployments.last_details(namespace, name);
        known.map(|now| now.paused).into()
    }

    fn values(&self, written: &Written<bool>) -> (Value, Value) {
        (written.previous.into(), written.now.into())
    }

    fn told(&self, written: &Written<bool>) -> String {
        if written.now { "paused" } else { "resumed" }.into()
    }

    fn event(wish: &bool) -> &'static str {
        if *wish {
            Self::EVENT
        } else {
            "ResumedByHeadcount"
        }
    }

    fn shown(&self, wish: &bool) -> String {
        if *wish { "paused" } else { "resumed" }.into()
    }

    async fn set(&self, write: &Write<Self>) -> Result<Written<bool>, WriteError<ApiError>> {
        let judge = |now: &Details| write.judge(now, false, |_| Ok(()));
        let deployments = &write.api.deployments;
        let written = deployments
            .set_paused(&write.request, write.wish, judge)
            .await?;
        Ok(written.map(|now| now.paused))
    }

    fn tag(&self, written: &Written<bool>) -> String {
        preconditions::version_tag(written.uid, written.resource_version)
    }

    fn pods(&self, _: &Written<bool>) -> u64 {
        0
    }

    fn representation<'a>(
        &'a self,
        request: &'a WriteRequest,
        written: &'a Written<bool>,
    ) -> impl Serialize + 'a {
        Representation {
            namespace: &request.namespace,
            name: &request.name,
            paused: written.now,
            previously_paused: written.previous,
            changed: written.previous != written.now,
            resource_version: written.resource_version.to_string(),
        }
    }

    fn log_applied(&self, write: &Write<Self>, written: &Written<bool>, result: &'static str) {
        let (namespace, name) = write.request.names();
        let (from, to) = (written.previous, written.now);
        let dry = write.line_begins();
        log_write!(info, "pause.applied", write.origin, (namespace, name),
            { from, to, result, resource_version = written.resource_version },
            "{dry}Deployment {namespace}/{name} {}", self.shown(&write.wish));
    }

    fn log_failed(&self, failure: &Failure<'_, Self>) {
        let (namespace, name) = failure.names;
        let known = failure.api.deployments.last_details(namespace, name);
        let from = known.map(|now| now.paused);
        log_write!(warn, "pause.failed", failure.origin, (namespace, name),
            { from, to = failure.wish.copied(), result = failure.result, error = %failure.error },
            "{}", failure.message);
    }
}

/// What was written, for those who ask for it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Representation<'a> {
    namespace: &'a str,
    name: &'a str,
    paused: bool,
    previously_paused: bool,
    changed: bool,
    resource_version: String,
}
