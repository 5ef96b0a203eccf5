//! `GET /history`: the latest changes of counts that this server saw, whoever made them.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hasher as _},
    sync::Arc,
};

use http::{Response, StatusCode, header, request::Parts};
use jiff::Timestamp;
use serde::Serialize;

use super::{
    Api, ApiError, Body,
    authorization::{self, Sight},
    deployments::{caught_up, not_modified},
    headers::describe,
    list_parameters::{no_such_parameter, pairs},
    path::{shown, valid_name, valid_namespace},
    preconditions,
    request::min_resource_version,
};
use crate::{
    access::{Caller, Verb},
    leases::Why,
    store::{CountChange, CountSetter, Snapshot},
};

/// The most changes of one answer, which is as many as are kept.
const MOST_LIMIT: usize = 1000;
/// The changes of an answer that isn't asked for another number.
const LIMIT: usize = 100;
/// More than the JSON of any one change, in bytes.
const LARGEST: usize = 1024;

#[derive(Serialize)]
struct Answer<'a> {
    since: Option<String>,
    changes: Vec<Change<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Change<'a> {
    time: String,
    namespace: &'a str,
    name: &'a str,
    from: i32,
    to: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<By<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease: Option<&'static str>,
    resource_version: String,
}

#[derive(Serialize)]
struct By<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    principal: Option<&'a str>,
    manager: &'a str,
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    namespace: Option<String>,
    name: Option<String>,
    limit: usize,
}

pub(super) async fn get(
    api: &Api,
    caller: &Arc<Caller>,
    request: &Parts,
) -> Result<Response<Body>, ApiError> {
    let asked = Asked::read(request.uri.query().unwrap_or_default())?;
    let namespace = asked.namespace.as_deref();
    if let Some(namespace) = namespace {
        authorization::authorize_namespace(caller, Verb::List, namespace)?;
        valid_namespace(namespace)?;
    }
    if let Some(name) = &asked.name {
        valid_name(name)?;
    }
    let wanted = min_resource_version(&request.headers)?;
    let version = |now: &Snapshot| match namespace {
        Some(namespace) => now.resource_version_in(namespace),
        None => now.resource_version(),
    };
    caught_up(api, caller, None, version).await?;
    let store = api.status.store();
    // Who may see nothing has nobody wait.
    let sight = Sight::of(caller, Verb::List, namespace, &store.snapshot()).await?;
    if let Some(namespace) = namespace
        && store.snapshot().resource_version_in(namespace) == 0
    {
        return Err(ApiError::NoSuchNamespace(namespace.into()));
    }
    caught_up(api, caller, wanted, version).await?;
    // What changed is remembered before it is shown: nothing that this state shows is missing from what is read after it.
    let snapshot = store.snapshot();
    let history = store.history();
    let asked_for: Vec<_> = history.latest().filter(|c| asked.is_about(c)).collect();
    // Those of namespaces that have no Deployments any more, too.
    let gone: BTreeSet<&str> = asked_for.iter().map(|c| &*c.namespace).collect();
    let gone: Vec<&str> = gone.into_iter().collect();
    let sight = match sight {
        Sight::Namespaces(_) => {
            Sight::of_past(caller, Verb::List, namespace, &snapshot, &gone).await?
        }
        sight => sight,
    };
    let mut changes = Vec::new();
    for change in asked_for {
        let names = (&*change.namespace, &*change.name);
        if sight
            .sees_past(&snapshot, names, change.uid)
            .ok_or(ApiError::NotSynced)?
        {
            changes.push(Change::of(change));
        }
        if changes.len() == asked.limit {
            break;
        }
    }
    let reserved = api.reserve(changes.len() * LARGEST)?;
    let answer = Answer {
        since: history.since.map(time),
        changes,
    };
    let text = serde_json::to_vec(&answer).map_err(|_| ApiError::Panicked)?;
    let mut fingerprint = DefaultHasher::new();
    fingerprint.write(&text);
    let tag = preconditions::list_tag(fingerprint.finish());
    let known = request.headers.contains_key(header::IF_NONE_MATCH)
        && preconditions::not_modified(&request.headers, &tag);
    let mut response = match known {
        true => not_modified(),
        false => Body::respond(StatusCode::OK, Body::reserved(text.into(), reserved)),
    };
    describe(
        response.headers_mut(),
        tag,
        version(&snapshot),
        api.status.age(),
    );
    Ok(response)
}

fn time(at: Timestamp) -> String {
    format!("{at:.3}")
}

impl<'a> Change<'a> {
    fn of(change: &'a CountChange) -> Self {
        let by = |setter: &'a CountSetter| By {
            principal: setter.principal.as_deref(),
            manager: &setter.manager,
        };
        let returned = change.by.as_ref().and_then(|by| by.ends_lease);
        Self {
            time: time(change.at),
            namespace: &change.namespace,
            name: &change.name,
            from: change.from,
            to: change.to,
            by: change.by.as_ref().map(by),
            lease: returned.map(|why| match why {
                Why::TimeOver => "ended",
                Why::ByHand => "cancelled",
            }),
            resource_version: change.resource_version.to_string(),
        }
    }
}

impl Asked {
    fn read(query: &str) -> Result<Self, ApiError> {
        let bad = |why: String| Err(ApiError::BadRequest(why));
        let mut read = Self {
            namespace: None,
            name: None,
            limit: LIMIT,
        };
        let mut given = Vec::new();
        for (name, value) in pairs(query) {
            match &*name {
                _ if given.contains(&name) => return bad(format!("{name} is given once")),
                "namespace" => read.namespace = Some(value),
                "name" => read.name = Some(value),
                "limit" => {
                    let digits = value.bytes().all(|b| b.is_ascii_digit());
                    let limit = value.parse().ok().filter(|_| digits);
                    let limit = limit.filter(|limit| (1..=MOST_LIMIT).contains(limit));
                    let Some(limit) = limit else {
                        return bad(format!(
                            "limit is {}; it must be a whole number from 1 to {MOST_LIMIT}",
                            shown(&value)
                        ));
                    };
                    read.limit = limit;
                }
                _ => {
                    let takes = "the history takes namespace, name and limit, spelt so";
                    return Err(no_such_parameter(&name, takes));
                }
            }
            given.push(name);
        }
        Ok(read)
    }

    fn is_about(&self, change: &CountChange) -> bool {
        let is = |asked: &Option<String>, is: &str| asked.as_deref().is_none_or(|a| a == is);
        is(&self.namespace, &change.namespace) && is(&self.name, &change.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_misspelt_or_out_of_range_is_refused() {
        for bad in [
            "Limit=1",
            "limit=0",
            "limit=1001",
            "limit=+1",
            "limit=",
            "limit=1&limit=2",
            "since=1",
            "namespace=a&namespace=b",
        ] {
            assert!(
                matches!(Asked::read(bad), Err(ApiError::BadRequest(_))),
                "{bad}"
            );
        }
        let read = Asked::read("namespace=web&limit=1000").unwrap();
        assert_eq!((read.namespace.as_deref(), read.limit), (Some("web"), 1000));
        assert_eq!(Asked::read("").unwrap().limit, LIMIT);
    }
}
