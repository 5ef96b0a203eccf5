//! `PUT /namespaces/{namespace}/deployments/{name}/lease`: takes a lease, or renews the one that is there.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    super::{
        Api, ApiError,
        json::{count, one_object},
        preconditions,
        replicas::Replicas,
        write::{Failure, Parameter, Write, log_write},
    },
    Count, Representation, counts, leases, length, second,
    taking::Taking,
    told,
};
use crate::{
    access::Verb,
    kubernetes::{WriteError, WriteRequest, Written},
    leases::Lease,
};

/// The count that is leased, and for how long: what a body asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::api) struct Wish {
    /// 0 or more.
    #[serde(rename = "replicaCount", deserialize_with = "count")]
    pub(in crate::api) replicas: i32,
    /// In seconds.
    #[serde(rename = "durationSeconds")]
    pub(in crate::api) seconds: u32,
}

/// A count that is set for so long.
pub(in crate::api) struct LeasedReplicas;

impl Parameter for LeasedReplicas {
    type Wish = Wish;
    type State = Count;
    const VERB: Verb = Verb::Scale;
    const NOUN: &'static str = "lease";
    const REQUESTED: &'static str = "lease.requested";
    const APPLIED: &'static str = "lease.taken";
    const FAILED: &'static str = "lease.failed";
    const EVENT: &'static str = "LeasedByHeadcount";
    const DONE: &'static str = "Replica count leased";
    const UPDATED: &'static str = r#"{"message":"Replica count leased."}"#;
    const UPDATED_UNSEEN: &'static str =
        r#"{"message":"Replica count leased; this server's copy has not caught up yet."}"#;

    fn wish(&self, body: &[u8]) -> Result<Wish, ApiError> {
        one_object(body).map_err(ApiError::BadLeaseBody)
    }

    fn value(wish: &Wish) -> Value {
        wish.replicas.into()
    }

    fn further(wish: &Wish) -> Option<(&'static str, Value)> {
        Some(("duration_seconds", wish.seconds.into()))
    }

    fn known(&self, api: &Api, names: (&str, &str)) -> Value {
        Replicas.known(api, names)
    }

    fn values(&self, written: &Written<Count>) -> (Value, Value) {
        counts(written)
    }

    fn outcome(&self, written: &Written<Count>) -> Vec<(&'static str, Value)> {
        let (before, now) = (&written.previous.lease, &written.now.lease);
        let mut fields = Vec::new();
        if let Some(lease) = now {
            fields.push(("until", second(lease.until()).into()));
            fields.push(("back_to", lease.previous.into()));
        }
        if let Some(lease) = before {
            fields.push(("renews", lease.holder.as_str().into()));
            fields.push(("renews_until", second(lease.until()).into()));
            fields.push(("renews_reason", lease.reason.as_deref().into()));
        }
        fields
    }

    fn changed(&self, written: &Written<Count>) -> bool {
        written.previous != written.now
    }

    fn told(&self, written: &Written<Count>) -> String {
        told(written)
    }

    fn shown(&self, wish: &Wish) -> String {
        format!("{} replicas for {} s", wish.replicas, wish.seconds)
    }

    async fn set(&self, write: &Write<Self>) -> Result<Written<Count>, WriteError<ApiError>> {
        let leases = leases(&write.api).map_err(WriteError::Judged)?;
        length(leases, write.wish.seconds).map_err(WriteError::Judged)?;
        Taking::new(write, leases).run().await
    }

    fn tag(&self, written: &Written<Count>) -> String {
        preconditions::count_tag(written.uid, written.now.replicas)
    }

    fn pods(&self, written: &Written<Count>) -> u64 {
        let (before, now) = (written.previous.replicas, written.now.replicas);
        before.abs_diff(now).into()
    }

    fn updated(&self, written: &Written<Count>) -> Bytes {
        match &written.now.lease {
            Some(lease) => {
                let until = second(lease.until());
                json!({ "message": format!("Replica count leased until {until}.") })
                    .to_string()
                    .into()
            }
            None => Bytes::from_static(Self::UPDATED.as_bytes()),
        }
    }

    fn representation<'a>(
        &'a self,
        request: &'a WriteRequest,
        written: &'a Written<Count>,
    ) -> impl Serialize + 'a {
        Representation::of(request.names(), written)
    }

    fn count(&self, written: &Written<Count>) -> Option<i32> {
        Some(written.now.replicas)
    }

    fn lease_before<'a>(
        &self,
        _: Option<&'a Lease>,
        written: &'a Written<Count>,
    ) -> Option<&'a Lease> {
        written.previous.lease.as_ref()
    }

    fn log_applied(&self, write: &Write<Self>, written: &Written<Count>, result: &'static str) {
        let (namespace, name) = write.request.names();
        let (from, to) = (written.previous.replicas, written.now.replicas);
        let until = written
            .now
            .lease
            .as_ref()
            .map(|lease| second(lease.until()));
        let until = until.unwrap_or_default();
        let back_to = written.now.lease.as_ref().map(|lease| lease.previous);
        let before = written.previous.lease.as_ref().map(|lease| &*lease.holder);
        let dry = write.line_begins();
        log_write!(info, "lease.taken", write.origin, (namespace, name),
            { from, to, until = %until, back_to, renews = before, result, resource_version = written.resource_version },
            "{dry}Deployment {namespace}/{name} set from {from} to {to} replicas until {until}");
    }

    fn log_failed(&self, failure: &Failure<'_, Self>) {
        let (namespace, name) = failure.names;
        let wish = failure.wish.map(|wish| self.shown(wish));
        log_write!(warn, "lease.failed", failure.origin, (namespace, name),
            { to = wish, result = failure.result, error = %failure.error },
            "{}", failure.message);
    }
}
