//! `GET` and `PUT /namespaces/{namespace}/deployments/{name}/replicas`: one count.

use std::time::Duration;

use http::{Response, StatusCode, request::Parts};
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{
    Api, ApiError, Body,
    also_set_by::{self, also_set_by},
    authorization::{self, LabelsOf},
    deployments::{caught_up, not_modified},
    headers::describe,
    path::valid_names,
    preconditions,
    request::{min_resource_version, replica_count},
    write::{Failure, Parameter, Write, log_write},
};
use crate::{
    access::{Caller, Verb},
    kubernetes::{Details, WriteError, WriteRequest, Written},
    leases::Lease,
    store::{Record, Snapshot},
};

pub(super) async fn get(
    api: &Api,
    caller: &Caller,
    names: (&str, &str),
    request: &Parts,
) -> Result<Response<Body>, ApiError> {
    valid_names(names)?;
    let (namespace, name) = names;
    let wanted = min_resource_version(&request.headers)?;
    caught_up(api, caller, wanted, version_in(namespace)).await?;
    let snapshot = api.status.store().present();
    let record = snapshot
        .get(namespace, name)
        .ok_or_else(|| no_such(names))?;
    if caller.permissions.looks_at_labels() {
        // It may have become another's while the version was waited for.
        authorization::permit(caller, Verb::Get, names, &LabelsOf(record))?;
    }
    let tag = preconditions::count_tag(record.uid(), record.replicas());
    let mut response = if preconditions::not_modified(&request.headers, &tag) {
        not_modified()
    } else {
        Body::json(StatusCode::OK, record.json())
    };
    describe(
        response.headers_mut(),
        tag,
        record.resource_version(),
        api.status.age(),
    );
    also_set_by::describe(response.headers_mut(), &also_set_by(api, &record));
    Ok(response)
}

/// The version of a namespace in a synced store, which has none only for one that isn't managed: nothing to wait for.
pub(super) fn version_in(namespace: &str) -> impl Fn(&Snapshot) -> u64 {
    move |now| match now.resource_version_in(namespace) {
        0 => u64::MAX,
        version => version,
    }
}

pub(super) fn no_such((namespace, name): (&str, &str)) -> ApiError {
    ApiError::NoSuchDeployment {
        namespace: namespace.into(),
        name: name.into(),
    }
}

/// Judges a write of a count on the record that it is conditional on.
pub(super) fn judge<P: Parameter>(
    write: &Write<P>,
    record: &Record<'_>,
    count: i32,
) -> Result<(), ApiError> {
    let caller = write.caller()?;
    let names = (record.namespace(), record.name());
    let decision = authorization::permit(&caller, Verb::Scale, names, &LabelsOf(*record))?;
    write.decided(&decision);
    if record.deleting() {
        return Err(ApiError::BeingDeleted);
    }
    preconditions::judge(&write.headers, record)?;
    authorization::judge_count(&decision, &caller, record, count)?;
    write.charge(&caller, record.replicas().abs_diff(count).into())?;
    write.judged_on(record.uid(), record.replicas());
    Ok(())
}

/// How long a count that is set on what is read anew is tried again when others are faster.
const RETRY_FOR: Duration = Duration::from_secs(5);
/// How long the next attempt waits.
const PAUSE: Duration = Duration::from_millis(20);

/// Sets a count where the store doesn't know all that decides. Each attempt begins with a reading, of which `known` says what has
/// come of it already, or that nothing has; then the count is written only if it is still that version which was read, or fails.
pub(super) async fn set_as_read<P: Parameter>(
    write: &Write<P>,
    request: &WriteRequest,
    known: impl Fn(&Details) -> Result<Option<Written<i32>>, ApiError>,
    count: impl Fn(i32) -> Result<i32, ApiError>,
) -> Result<Written<i32>, WriteError<ApiError>> {
    let (deployments, names) = (&write.api.deployments, request.names());
    let (deadline, mut at_least) = (Instant::now() + RETRY_FOR, 0);
    loop {
        let stored = deployments.stored_version(names);
        let stored = stored.ok_or(WriteError::NotFound)?;
        let version = stored.max(at_least);
        let read = deployments.details(names.0, names.1, version, &request.caller);
        let (found, _) = read.await?;
        if let Some(written) = known(&found).map_err(WriteError::Judged)? {
            return Ok(written);
        }
        let judge = |record: Record<'_>| {
            if record.resource_version() > found.resource_version {
                // It may have come of it since.
                return Err(ApiError::Conflict);
            }
            let count = count(record.replicas())?;
            judge(write, &record, count)?;
            Ok(count)
        };
        match deployments.scale(request, judge).await {
            Err(WriteError::Judged(ApiError::Conflict)) if Instant::now() < deadline => {
                at_least = found.resource_version + 1;
                sleep(PAUSE).await;
            }
            done => return done,
        }
    }
}

/// Tells of a count that was set, or would have been.
pub(super) fn log_applied<P: Parameter>(
    write: &Write<P>,
    written: &Written<i32>,
    result: &'static str,
) {
    let (namespace, name) = write.request.names();
    let (from, to) = (written.previous, written.now);
    let dry = write.line_begins();
    log_write!(info, "scale.applied", write.origin, (namespace, name),
        { from, to, result, resource_version = written.resource_version },
        "{dry}Deployment {namespace}/{name} set from {from} to {to} replicas");
}

/// Tells of a count that wasn't set.
pub(super) fn log_failed<P: Parameter<Wish = i32>>(failure: &Failure<'_, P>) {
    let (namespace, name) = failure.names;
    let snapshot = failure.api.status.store().snapshot();
    let from = snapshot.get(namespace, name).map(|r| r.replicas());
    log_write!(warn, "scale.failed", failure.origin, (namespace, name),
        { from, to = failure.wish.copied(), result = failure.result, error = %failure.error },
        "{}", failure.message);
}

/// The count as a parameter that is set.
pub(super) struct Replicas;

impl Parameter for Replicas {
    type Wish = i32;
    type State = i32;
    const VERB: Verb = Verb::Scale;
    const OVERTAKES: bool = true;
    const NOUN: &'static str = "count";
    const REQUESTED: &'static str = "scale.requested";
    const APPLIED: &'static str = "scale.applied";
    const FAILED: &'static str = "scale.failed";
    const EVENT: &'static str = "ScaledByHeadcount";
    const DONE: &'static str = "Replica count updated";
    const UPDATED: &'static str = r#"{"message":"Replica count updated successfully."}"#;
    const UPDATED_UNSEEN: &'static str =
        r#"{"message":"Replica count updated; this server's copy has not caught up yet."}"#;

    fn wish(&self, body: &[u8]) -> Result<i32, ApiError> {
        replica_count(body)
    }

    fn value(wish: &i32) -> Value {
        (*wish).into()
    }

    fn known(&self, api: &Api, (namespace, name): (&str, &str)) -> Value {
        let snapshot = api.status.store().snapshot();
        snapshot.get(namespace, name).map(|r| r.replicas()).into()
    }

    fn values(&self, written: &Written<i32>) -> (Value, Value) {
        (written.previous.into(), written.now.into())
    }

    fn shown(&self, wish: &i32) -> String {
        format!("{wish} replicas")
    }

    async fn set(&self, write: &Write<Self>) -> Result<Written<i32>, WriteError<ApiError>> {
        let judge = |record: Record<'_>| judge(write, &record, write.wish).map(|()| write.wish);
        let deployments = &write.api.deployments;
        deployments.scale(&write.request, judge).await
    }

    fn tag(&self, written: &Written<i32>) -> String {
        preconditions::count_tag(written.uid, written.now)
    }

    fn pods(&self, written: &Written<i32>) -> u64 {
        written.previous.abs_diff(written.now).into()
    }

    fn representation<'a>(
        &'a self,
        request: &'a WriteRequest,
        written: &'a Written<i32>,
    ) -> impl Serialize + 'a {
        Representation {
            namespace: &request.namespace,
            name: &request.name,
            replica_count: written.now,
            previous_replica_count: written.previous,
            changed: written.now != written.previous,
            resource_version: written.resource_version.to_string(),
        }
    }

    fn count(&self, written: &Written<i32>) -> Option<i32> {
        Some(written.now)
    }

    fn lease_before<'a>(
        &self,
        known: Option<&'a Lease>,
        written: &'a Written<i32>,
    ) -> Option<&'a Lease> {
        known.filter(|lease| lease.ends_by(written.uid, written.previous, written.now))
    }

    fn log_applied(&self, write: &Write<Self>, written: &Written<i32>, result: &'static str) {
        log_applied(write, written, result);
    }

    fn log_failed(&self, failure: &Failure<'_, Self>) {
        log_failed(failure);
    }
}

/// What was written, for those who ask for it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Representation<'a> {
    namespace: &'a str,
    name: &'a str,
    replica_count: i32,
    previous_replica_count: i32,
    changed: bool,
    resource_version: String,
}
