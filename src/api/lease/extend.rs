//! `PATCH /namespaces/{namespace}/deployments/{name}/lease`: a lease with another time from now on.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    super::{
        Api, ApiError,
        json::one_object,
        preconditions,
        replicas::Replicas,
        write::{Failure, Parameter, Write, log_write},
    },
    Count, Representation, Retries, counts, judge, judge_brought_back, judge_kept, leases, length,
    no_lease, second, there, told,
};
use crate::{
    access::Verb,
    kubernetes::{LeaseError, WriteError, WriteRequest, Written},
    leases::extend,
};

/// A lease's time, from now on.
pub(in crate::api) struct Extension;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wanted {
    duration_seconds: u32,
}

impl Extension {
    /// One attempt; nothing if somebody else changed the lease meanwhile.
    async fn attempt(write: &Write<Self>) -> Result<Option<Written<Count>>, WriteError<ApiError>> {
        let (namespace, name) = write.request.names();
        let leases = leases(&write.api).map_err(WriteError::Judged)?;
        let Some(stored) = leases.read(namespace, name).await? else {
            return Err(no_lease(write).await);
        };
        let found = write.api.deployments.look((namespace, name)).await?;
        let details = there(found).ok_or(WriteError::NotFound)?;
        judge(write, &details).map_err(WriteError::Judged)?;
        let seen = details.seen();
        let extended = extend(&stored.lease, Some(&seen), write.wish, leases.now());
        let extended = extended.map_err(|refusal| WriteError::Judged(refusal.into()))?;
        judge_kept(write, &details).map_err(WriteError::Judged)?;
        if extended.until() < stored.lease.until() {
            let judged = judge_brought_back(write, &details, &stored.lease, details.replicas);
            judged.map_err(WriteError::Judged)?;
        }
        if !write.request.dry_run {
            match leases.replace(&stored, &extended).await {
                Ok(_) => {}
                Err(LeaseError::Changed) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(Written {
            uid: details.uid,
            previous: Count {
                replicas: details.replicas,
                lease: Some(stored.lease),
            },
            now: Count {
                replicas: details.replicas,
                lease: Some(extended),
            },
            resource_version: details.resource_version,
            seen: true,
        }))
    }
}

impl Parameter for Extension {
    type Wish = u32;
    type State = Count;
    const VERB: Verb = Verb::Scale;
    const NOUN: &'static str = "lease";
    const REQUESTED: &'static str = "lease.requested";
    const APPLIED: &'static str = "lease.extended";
    const FAILED: &'static str = "lease.failed";
    const EVENT: &'static str = "LeaseExtendedByHeadcount";
    const DONE: &'static str = "Lease extended";
    const UPDATED: &'static str = r#"{"message":"Lease extended."}"#;
    const UPDATED_UNSEEN: &'static str = Self::UPDATED;

    fn wish(&self, body: &[u8]) -> Result<u32, ApiError> {
        let wanted: Wanted = one_object(body).map_err(ApiError::BadExtensionBody)?;
        Ok(wanted.duration_seconds)
    }

    /// It stays, whatever it is.
    fn value(_: &u32) -> Value {
        Value::Null
    }

    fn further(wish: &u32) -> Option<(&'static str, Value)> {
        Some(("duration_seconds", (*wish).into()))
    }

    fn known(&self, api: &Api, names: (&str, &str)) -> Value {
        Replicas.known(api, names)
    }

    fn values(&self, written: &Written<Count>) -> (Value, Value) {
        counts(written)
    }

    fn changed(&self, written: &Written<Count>) -> bool {
        written.previous != written.now
    }

    fn told(&self, written: &Written<Count>) -> String {
        told(written)
    }

    fn shown(&self, wish: &u32) -> String {
        format!("a lease of {wish} s from now on")
    }

    async fn set(&self, write: &Write<Self>) -> Result<Written<Count>, WriteError<ApiError>> {
        let leases = leases(&write.api).map_err(WriteError::Judged)?;
        length(leases, write.wish).map_err(WriteError::Judged)?;
        let retries = Retries::begin();
        loop {
            if let Some(written) = Self::attempt(write).await? {
                return Ok(written);
            }
            retries.again().await?;
        }
    }

    fn tag(&self, written: &Written<Count>) -> String {
        preconditions::count_tag(written.uid, written.now.replicas)
    }

    fn pods(&self, _: &Written<Count>) -> u64 {
        0
    }

    fn updated(&self, written: &Written<Count>) -> Bytes {
        let until = written.now.lease.as_ref();
        let until = until.map(|lease| second(lease.until())).unwrap_or_default();
        json!({ "message": format!("Lease extended until {until}.") })
            .to_string()
            .into()
    }

    fn representation<'a>(
        &'a self,
        request: &'a WriteRequest,
        written: &'a Written<Count>,
    ) -> impl Serialize + 'a {
        Representation::of(request.names(), written)
    }

    fn log_applied(&self, write: &Write<Self>, written: &Written<Count>, result: &'static str) {
        let (namespace, name) = write.request.names();
        let until = written.now.lease.as_ref();
        let until = until.map(|lease| second(lease.until())).unwrap_or_default();
        let dry = write.line_begins();
        log_write!(info, "lease.extended", write.origin, (namespace, name),
            { until = %until, result },
            "{dry}the lease of Deployment {namespace}/{name} goes on until {until}");
    }

    fn log_failed(&self, failure: &Failure<'_, Self>) {
        let (namespace, name) = failure.names;
        let wish = failure.wish.map(|wish| self.shown(wish));
        log_write!(warn, "lease.failed", failure.origin, (namespace, name),
            { to = wish, result = failure.result, error = %failure.error },
            "{}", failure.message);
    }
}
