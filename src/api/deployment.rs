//! `GET /namespaces/{namespace}/deployments/{name}`: all that is told of one Deployment.
//!
//! The store has little of it: it is read from Kubernetes when somebody asks.

use std::collections::BTreeMap;

use http::{Response, StatusCode, request::Parts};
use serde::Serialize;
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    Api, ApiError, Body,
    also_set_by::{AlsoSetBy, Sticking},
    authorization,
    deployments::{caught_up, not_modified},
    headers::{self, describe},
    lease, limits,
    path::valid_names,
    preconditions,
    replicas::{no_such, version_in},
    request::min_resource_version,
    rollout::{self, Pods, Rollout, Since, State},
};
use crate::{
    access::{Bounds, Caller, Verb},
    kubernetes::{Condition, Container, Details, FieldOwner},
    leases::Lease,
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
    // Nothing is sent for what isn't managed.
    let stored = api.deployments.stored_version(names);
    let stored = stored.ok_or_else(|| no_such(names))?;
    let patience = rollout::preferred_wait(&request.headers);
    let (found, age, rollout) = match patience {
        Some(patience) => {
            let since = Since {
                version: stored,
                ..Since::default()
            };
            rollout::wait(api, caller, names, since, Instant::now() + patience).await?
        }
        None => {
            let _turn = limits::turn(api, caller).await?;
            let by = caller.allowance.id();
            let read = api.deployments.details(namespace, name, stored, by).await;
            let (found, age) = read.map_err(|error| ApiError::of_read(error, names))?;
            let rollout = Rollout::of(&found);
            (found, age, rollout)
        }
    };
    // Its labels may have changed since the request was judged.
    authorization::permit(caller, Verb::Get, names, &found.labels)?;
    let status = if patience.is_some() && rollout.status == State::Progressing {
        StatusCode::ACCEPTED
    } else {
        StatusCode::OK
    };
    let sticking = Sticking::of(api, names, &found);
    let bounds = match authorization::bounds(caller, names, &found) {
        // Boxed: who doesn't ask doesn't carry it around.
        Some(_) if Box::pin(authorization::may_not_scale(caller, names)).await => None,
        bounds => bounds,
    };
    let leases = api.deployments.leases().and_then(|leases| leases.known());
    let stored = leases.as_ref().and_then(|known| known.of(namespace, name));
    let lease = stored.map(|stored| &stored.lease);
    let lease = lease.filter(|lease| lease.uid == found.uid);
    let detail = Detail::of(names, &found, rollout, sticking, bounds, lease);
    // A struct of strings and numbers always has a JSON form.
    let body = serde_json::to_vec(&detail).unwrap_or_default();
    let tag = preconditions::detail_tag(found.uid, found.resource_version, &body);
    let known = status == StatusCode::OK && preconditions::not_modified(&request.headers, &tag);
    let mut response = if known {
        not_modified()
    } else {
        Body::json(status, body)
    };
    describe(response.headers_mut(), tag, found.resource_version, age);
    if let Some(patience) = patience {
        let applied = headers::text(rollout::applied(patience));
        response.headers_mut().insert("preference-applied", applied);
    }
    Ok(response)
}

/// A Deployment, as its callers see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Detail<'a> {
    namespace: &'a str,
    name: &'a str,
    uid: Uuid,
    resource_version: String,
    generation: i64,
    observed_generation: i64,
    replicas: Pods,
    paused: bool,
    rollout: Rollout,
    revision: Option<u64>,
    containers: &'a [Container],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    init_containers: &'a [Container],
    labels: &'a BTreeMap<String, String>,
    conditions: &'a [Condition],
    last_set_by: Option<SetBy<'a>>,
    also_set_by: Vec<AlsoSetBy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<lease::Shown<'a>>,
    will_stick: Option<bool>,
    /// Left out for a caller that may set no count of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    bounds: Option<Bounds>,
}

/// Who set the count last.
#[derive(Serialize)]
struct SetBy<'a> {
    manager: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<&'a str>,
    at: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    subresource: &'a str,
}

impl<'a> Detail<'a> {
    fn of(
        (namespace, name): (&'a str, &'a str),
        found: &'a Details,
        rollout: Rollout,
        sticking: Sticking,
        bounds: Option<Bounds>,
        lease: Option<&'a Lease>,
    ) -> Self {
        let status = &found.status;
        Self {
            namespace,
            name,
            uid: found.uid,
            resource_version: found.resource_version.to_string(),
            generation: found.generation,
            observed_generation: status.observed_generation,
            replicas: rollout.pods,
            paused: found.paused,
            rollout,
            revision: found.revision(),
            containers: &found.containers,
            init_containers: &found.init_containers,
            labels: &found.labels,
            conditions: &status.conditions,
            last_set_by: found.last_set_by.as_ref().map(SetBy::of),
            also_set_by: sticking.also_set_by,
            lease: lease.map(|lease| lease::Shown::of(lease, None)),
            will_stick: sticking.will_stick,
            bounds,
        }
    }
}

impl<'a> SetBy<'a> {
    fn of(owner: &'a FieldOwner) -> Self {
        Self {
            manager: if owner.is_ours() {
                "headcount"
            } else {
                &owner.manager
            },
            principal: owner.principal.as_deref(),
            at: owner.time.as_deref(),
            subresource: &owner.subresource,
        }
    }
}
