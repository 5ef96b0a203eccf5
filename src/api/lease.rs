//! `/namespaces/{namespace}/deployments/{name}/lease`: a count for so long. What a lease is stands in [`crate::leases`].

mod cancel;
mod ended;
mod extend;
pub(super) mod overtaken;
mod take;
mod taking;

use std::time::Duration;

use http::{Response, StatusCode, request::Parts};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{
    Api, ApiError, Body,
    authorization::{self, LabelsOf},
    deployments::caught_up,
    list_parameters::{no_such_parameter, pairs},
    path::valid_names,
    preconditions,
    replicas::{no_such, version_in},
    request::min_resource_version,
    write::{Parameter, Write},
};
use crate::{
    access::{Bounds, BoundsViolation, Caller, SetBy, Verb, WriteRules},
    kubernetes::{Details, Found, LeaseObjects, WriteError, Written},
    leases::{Lease, Refusal, SHORTEST},
};

pub(super) use cancel::Cancellation;
pub(crate) use ended::{record, tell as tell_of_end};
pub(super) use extend::Extension;
pub(super) use take::{LeasedReplicas, Wish};

/// How long a change of a lease is tried again that others were faster than.
const RETRY_FOR: Duration = Duration::from_secs(5);
/// How long the next attempt waits, at most.
const PAUSE: Duration = Duration::from_millis(100);

/// A lease, as its callers see it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shown<'a> {
    namespace: &'a str,
    name: &'a str,
    replica_count: i32,
    previous_replica_count: i32,
    holder: &'a str,
    state: &'static str,
    taken_at: String,
    until: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining_seconds: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl<'a> Shown<'a> {
    /// At a time, or without what changes with each second.
    pub(super) fn of(lease: &'a Lease, now: Option<Timestamp>) -> Self {
        let remaining = |now| lease.until().duration_since(now).as_secs().max(0);
        Self {
            namespace: &lease.namespace,
            name: &lease.name,
            replica_count: lease.replicas,
            previous_replica_count: lease.previous,
            holder: &lease.holder,
            state: lease.state.name(),
            taken_at: second(lease.taken),
            until: second(lease.until()),
            remaining_seconds: now.map(remaining),
            reason: lease.reason.as_deref(),
        }
    }
}

/// A time in whole seconds, not later than it is.
pub(super) fn second(time: Timestamp) -> String {
    let whole = Timestamp::from_second(time.as_second());
    whole.unwrap_or(time).to_string()
}

/// The leases of this server.
pub(super) fn leases(api: &Api) -> Result<&LeaseObjects, ApiError> {
    let leases = api.deployments.leases().ok_or(ApiError::LeasesOff)?;
    Ok(leases)
}

/// Answers with the lease of one Deployment, out of this server's copy.
pub(super) async fn get(
    api: &Api,
    caller: &Caller,
    names: (&str, &str),
    request: &Parts,
) -> Result<Response<Body>, ApiError> {
    valid_names(names)?;
    if let Some((parameter, _)) = pairs(request.uri.query().unwrap_or_default()).next() {
        return Err(no_such_parameter(
            &parameter,
            "the read of a lease takes none",
        ));
    }
    let (namespace, name) = names;
    let leases = leases(api)?;
    let wanted = min_resource_version(&request.headers)?;
    caught_up(api, caller, wanted, version_in(namespace)).await?;
    let snapshot = api.status.store().present();
    let record = snapshot
        .get(namespace, name)
        .ok_or_else(|| no_such(names))?;
    if caller.permissions.looks_at_labels() {
        authorization::permit(caller, Verb::Get, names, &LabelsOf(record))?;
    }
    let known = leases.known().ok_or(ApiError::LeasesUnknown)?;
    let stored = known.of(namespace, name);
    // Of another Deployment by this name it says nothing.
    let stored = stored.filter(|stored| stored.lease.uid == record.uid());
    let stored = stored.ok_or(ApiError::NoLease)?;
    let shown = Shown::of(&stored.lease, Some(leases.now()));
    // A struct of strings and numbers always has a JSON form.
    let body = serde_json::to_vec(&shown).unwrap_or_default();
    Ok(Body::json(StatusCode::OK, body))
}

/// A Deployment's count and its lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) replicas: i32,
    pub(super) lease: Option<Lease>,
}

impl Count {
    /// As Events have it.
    fn text(&self) -> String {
        match &self.lease {
            Some(lease) => format!("{} until {}", self.replicas, second(lease.until())),
            None => self.replicas.to_string(),
        }
    }
}

/// Before and after a change of a lease, as records have it: the counts.
fn counts(written: &Written<Count>) -> (Value, Value) {
    let (before, now) = (&written.previous, &written.now);
    (before.replicas.into(), now.replicas.into())
}

/// Before and after a change of a lease, as Events have it.
fn told(written: &Written<Count>) -> String {
    format!("{} → {}", written.previous.text(), written.now.text())
}

/// What callers are told of a lease that was written, if they ask for it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Representation<'a> {
    namespace: &'a str,
    name: &'a str,
    replica_count: i32,
    previous_replica_count: i32,
    changed: bool,
    resource_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reverted: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<Shown<'a>>,
}

impl<'a> Representation<'a> {
    fn of((namespace, name): (&'a str, &'a str), written: &'a Written<Count>) -> Self {
        let now = written.now.lease.as_ref();
        Self {
            namespace,
            name,
            replica_count: written.now.replicas,
            previous_replica_count: written.previous.replicas,
            changed: written.now.replicas != written.previous.replicas,
            resource_version: written.resource_version.to_string(),
            reverted: None,
            lease: now.map(|lease| Shown::of(lease, Some(lease.renewed))),
        }
    }
}

/// Why a change of a lease that isn't there fails: whether it is the lease alone, as far as its caller may know that.
async fn no_lease<P: Parameter>(write: &Write<P>) -> WriteError<ApiError> {
    let names = write.request.names();
    let found = match write.api.deployments.look(names).await {
        Ok(found) => found,
        Err(error) => return error.into(),
    };
    let Some(now) = there(found) else {
        return WriteError::NotFound;
    };
    let permitted = write.caller().and_then(|caller| {
        authorization::permit(&caller, Verb::Scale, names, &now.labels).map(drop)
    });
    WriteError::Judged(permitted.err().unwrap_or(ApiError::NoLease))
}

/// The time that is left for attempts which others are faster than.
struct Retries {
    until: Instant,
}

impl Retries {
    fn begin() -> Self {
        Self {
            until: Instant::now() + RETRY_FOR,
        }
    }

    /// Waits for the next attempt.
    ///
    /// # Errors
    ///
    /// There is no time left.
    async fn again<E>(&self) -> Result<(), WriteError<E>> {
        if Instant::now() >= self.until {
            return Err(WriteError::Conflict);
        }
        sleep(PAUSE.mul_f64(fastrand::f64())).await;
        Ok(())
    }
}

/// Judges a change of a lease on the Deployment as it was read.
fn judge<P: Parameter>(write: &Write<P>, now: &Details) -> Result<(), ApiError> {
    let caller = write.caller()?;
    let names = write.request.names();
    let decision = authorization::permit(&caller, Verb::Scale, names, &now.labels)?;
    write.decided(&decision);
    if now.deleting {
        return Err(ApiError::BeingDeleted);
    }
    preconditions::unless_changed(
        &write.headers,
        || preconditions::count_tag(now.uid, now.replicas),
        |tag| ApiError::PreconditionFailed {
            now: now.replicas,
            tag,
        },
    )
}

/// Judges the count that a change of a lease leaves, as one that the caller sets: a lease is no way around its rule.
fn judge_kept<P: Parameter>(write: &Write<P>, now: &Details) -> Result<(), ApiError> {
    Ok(judge_count(write, now, now.replicas, now.replicas)??)
}

/// Judges the count that the lease of somebody else brings back from this one, of whoever takes it over or has it end sooner: as
/// one that the caller sets.
fn judge_brought_back<P: Parameter>(
    write: &Write<P>,
    now: &Details,
    lease: &Lease,
    from: i32,
) -> Result<(), ApiError> {
    if !lease.holder.is_empty() && lease.holder == write.origin.caller.name() {
        return Ok(());
    }
    judge_count(write, now, from, lease.previous)?.map_err(ApiError::ReturnOutOfBounds)
}

/// What the caller's rule, the Deployment's annotations and the server say of such a change; or why it may not be made at all.
fn judge_count<P: Parameter>(
    write: &Write<P>,
    now: &Details,
    from: i32,
    to: i32,
) -> Result<Result<(), BoundsViolation>, ApiError> {
    let caller = write.caller()?;
    let names = write.request.names();
    let decision = authorization::permit(&caller, Verb::Scale, names, &now.labels)?;
    let server = Bounds::up_to(caller.rules.writes.max_replicas);
    let annotations = authorization::annotation_bounds(now);
    Ok(decision.judge_count(from, to, &annotations, &server))
}

/// Whether a lease may go back to this count: by the server's own bound and those of the Deployment's annotations. What rules let
/// its holder do doesn't matter: what was is brought back.
pub(crate) fn judge_return(rules: WriteRules, now: &Details, to: i32) -> Result<(), String> {
    let words = |violation: BoundsViolation| violation.to_string();
    let server = Bounds::up_to(rules.max_replicas);
    server
        .judge(now.replicas, to, &SetBy::Server)
        .map_err(words)?;
    let annotations = authorization::annotation_bounds(now);
    annotations.judge(now.replicas, to).map_err(words)
}

/// What a consistent reading shows, if it is there and managed.
fn there(found: Found) -> Option<Details> {
    match found {
        Found::Managed(details) => Some(*details),
        Found::Unmanaged | Found::Gone => None,
    }
}

/// So many seconds, if a lease may be that long.
pub(super) fn length(leases: &LeaseObjects, seconds: u32) -> Result<(), ApiError> {
    let longest = leases.rules().longest;
    if (SHORTEST..=longest).contains(&seconds) {
        Ok(())
    } else {
        Err(ApiError::LeaseLength { seconds, longest })
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self::LeaseRefused(match refusal {
            Refusal::BeingTaken => {
                "it is being taken or renewed at this moment: try again in a few seconds"
            }
            Refusal::Ending => {
                "it has ended, and the count before is on its way: read the count before you take another"
            }
            Refusal::Returned => {
                "it has ended, and the count before it is there again: take another if it is still wanted"
            }
            Refusal::Overtaken => {
                "somebody else has set the count since, which has ended it: read the count before you take another"
            }
        })
    }
}
