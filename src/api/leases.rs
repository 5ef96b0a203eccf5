//! `GET /leases`: the leases of all Deployments that the caller may see, those that end first before the others.

use std::sync::Arc;

use http::{HeaderValue, Response, StatusCode, header, request::Parts};

use super::{
    Api, ApiError, Body,
    authorization::{self, Sight},
    deployments::caught_up,
    lease::{Shown, leases},
    list_parameters::{no_such_parameter, pairs},
    path::valid_namespace,
};
use crate::{
    access::{Caller, Verb},
    leases::Lease,
    store::Snapshot,
};

/// Answers out of this server's copy.
pub(super) async fn list(
    api: &Api,
    caller: &Arc<Caller>,
    request: &Parts,
) -> Result<Response<Body>, ApiError> {
    let namespace = namespace(request.uri.query())?;
    if let Some(namespace) = &namespace {
        authorization::authorize_namespace(caller, Verb::List, namespace)?;
        valid_namespace(namespace)?;
    }
    let leases = leases(api)?;
    caught_up(api, caller, None, Snapshot::resource_version).await?;
    let snapshot = api.status.store().snapshot();
    let sight = Sight::of(caller, Verb::List, namespace.as_deref(), &snapshot).await?;
    let known = leases.known().ok_or(ApiError::LeasesUnknown)?;
    let mut sees = sight.over(&snapshot);
    let mut shown = Vec::new();
    for stored in known.all() {
        let lease = &stored.lease;
        if namespace
            .as_ref()
            .is_some_and(|only| *only != lease.namespace)
        {
            continue;
        }
        // Of one whose Deployment is gone nobody can tell who may see it; it ends soon.
        let record = snapshot.get(&lease.namespace, &lease.name);
        let Some(record) = record.filter(|record| record.uid() == lease.uid) else {
            continue;
        };
        if sees(&record).ok_or(ApiError::NotSynced)? {
            shown.push(lease);
        }
    }
    let reserved = api.reserve(shown.iter().map(|lease| size(lease)).sum())?;
    shown.sort_by_key(|lease| lease.until());
    let now = leases.now();
    let shown: Vec<_> = shown
        .iter()
        .map(|lease| Shown::of(lease, Some(now)))
        .collect();
    // Structs of strings and numbers always have a JSON form.
    let body = serde_json::to_vec(&shown).unwrap_or_default();
    let body = Body::reserved(body.into(), reserved);
    let mut response = Body::respond(StatusCode::OK, body);
    if known.unreadable().next().is_some() {
        let warning = HeaderValue::from_static(
            "299 - \"some Lease objects of this server can't be read and aren't shown: its log says which and why\"",
        );
        response.headers_mut().insert(header::WARNING, warning);
    }
    Ok(response)
}

/// What showing a lease takes, at most: its words, each character escaped, and all else there is of it.
fn size(lease: &Lease) -> usize {
    let reason = lease.reason.as_deref().unwrap_or_default();
    let words = lease.namespace.len() + lease.name.len() + lease.holder.len() + reason.len();
    512 + 6 * words
}

/// The namespace that is asked for, if one is.
fn namespace(query: Option<&str>) -> Result<Option<String>, ApiError> {
    let mut namespace = None;
    for (name, value) in pairs(query.unwrap_or_default()) {
        // All leases in place of one namespace's would be more than was meant.
        if name != "namespace" {
            let takes = "the list of leases takes namespace, spelt so";
            return Err(no_such_parameter(&name, takes));
        }
        if namespace.replace(value).is_some() {
            return Err(ApiError::BadRequest("namespace is given once".into()));
        }
    }
    Ok(namespace)
}
