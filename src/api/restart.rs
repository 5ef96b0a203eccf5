//! `POST /namespaces/{namespace}/deployments/{name}/restart`: all of its Pods anew, as `kubectl rollout restart` does it.

use jiff::Timestamp;
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

/// A restart, as a parameter that is set: the time at which it was asked for.
pub(super) struct Restart;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

impl Parameter for Restart {
    type Wish = String;
    type State = Option<String>;
    const VERB: Verb = Verb::Restart;
    const BODY_OPTIONAL: bool = true;
    const NOUN: &'static str = "restart";
    const REQUESTED: &'static str = "restart.requested";
    const APPLIED: &'static str = "restart.applied";
    const FAILED: &'static str = "restart.failed";
    const EVENT: &'static str = "RestartedByHeadcount";
    const DONE: &'static str = "Restart begun";
    const UPDATED: &'static str = r#"{"message":"Restart begun."}"#;
    const UPDATED_UNSEEN: &'static str =
        r#"{"message":"Restart begun; this server's copy has not caught up yet."}"#;

    fn wish(&self, body: &[u8]) -> Result<String, ApiError> {
        if !body.is_empty() {
            let _: Nothing =
                one_object(body).map_err(|why| ApiError::BadOptionalBody(format!("{{}}{why}")))?;
        }
        // Whole seconds, as kubectl writes them.
        Ok(Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
    }

    fn value(wish: &String) -> Value {
        wish.as_str().into()
    }

    fn known(&self, api: &Api, (namespace, name): (&str, &str)) -> Value {
        let known = api.deployments.last_details(namespace, name);
        known.and_then(|now| now.restarted_at.clone()).into()
    }

    fn values(&self, written: &Written<Option<String>>) -> (Value, Value) {
        (written.previous.clone().into(), written.now.clone().into())
    }

    fn told(&self, _: &Written<Option<String>>) -> String {
        "restarted".into()
    }

    fn shown(&self, wish: &String) -> String {
        format!("restart at {wish}")
    }

    async fn set(
        &self,
        write: &Write<Self>,
    ) -> Result<Written<Option<String>>, WriteError<ApiError>> {
        let judge = |now: &Details| write.judge(now, true, |_| Ok(()));
        let deployments = &write.api.deployments;
        let written = deployments
            .restart(&write.request, &write.wish, judge)
            .await?;
        Ok(written.map(|now| now.restarted_at.clone()))
    }

    fn tag(&self, written: &Written<Option<String>>) -> String {
        preconditions::version_tag(written.uid, written.resource_version)
    }

    fn pods(&self, written: &Written<Option<String>>) -> u64 {
        if written.previous == written.now {
            0
        } else {
            u64::MAX
        }
    }

    fn representation<'a>(
        &'a self,
        request: &'a WriteRequest,
        written: &'a Written<Option<String>>,
    ) -> impl Serialize + 'a {
        Representation {
            namespace: &request.namespace,
            name: &request.name,
            restarted_at: written.now.as_deref(),
            previously_restarted_at: written.previous.as_deref(),
            changed: written.previous != written.now,
            resource_version: written.resource_version.to_string(),
        }
    }

    fn log_applied(
        &self,
        write: &Write<Self>,
        written: &Written<Option<String>>,
        result: &'static str,
    ) {
        let (namespace, name) = write.request.names();
        let (from, to) = (written.previous.as_deref(), written.now.as_deref());
        let dry = write.line_begins();
        log_write!(info, "restart.applied", write.origin, (namespace, name),
            { from, to, result, resource_version = written.resource_version },
            "{dry}Deployment {namespace}/{name} restarted");
    }

    fn log_failed(&self, failure: &Failure<'_, Self>) {
        let (namespace, name) = failure.names;
        let known = failure.api.deployments.last_details(namespace, name);
        let from = known.as_deref().and_then(|now| now.restarted_at.as_deref());
        log_write!(warn, "restart.failed", failure.origin, (namespace, name),
            { from, to = failure.wish.map(String::as_str), result = failure.result, error = %failure.error },
            "{}", failure.message);
    }
}

/// What was written, for those who ask for it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Representation<'a> {
    namespace: &'a str,
    name: &'a str,
    restarted_at: Option<&'a str>,
    previously_restarted_at: Option<&'a str>,
    changed: bool,
    resource_version: String,
}
