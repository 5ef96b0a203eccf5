//! Revisions: the ReplicaSets that keep a Deployment's Pod templates, as its controller numbers them. They are told from the Deployments,
//! have their versions and make no events of their own.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::cluster::Shared;
use crate::json;
use crate::object::Object;
use crate::route::Query;
use crate::selector::Selector;
use crate::state::Scope;
use crate::status::Status;

/// Where the number is, on the ReplicaSet and on the Deployment.
pub(crate) const REVISION: &str = "deployment.kubernetes.io/revision";
const HASH: &str = "pod-template-hash";
/// `spec.revisionHistoryLimit` if it isn't given.
const KEPT: u64 = 10;

/// A template that a Deployment had.
#[derive(Debug)]
struct Past {
    number: u32,
    template: Value,
}

/// Past templates by the Deployments' uids, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Revisions(HashMap<Uuid, Vec<Past>>);

impl Revisions {
    /// Numbers the template of what takes the place of `before`; one that was there before gets a new number.
    pub(crate) fn number(&mut self, object: &mut Object, before: &Object) {
        if object.spec == before.spec {
            return;
        }
        let spec = json::spec(object);
        let (template, was) = (&spec["template"], json::spec(before)["template"].take());
        if *template == was {
            return;
        }
        let past = self.0.entry(before.uid).or_default();
        // Greater numbers are of a time that a restored cluster doesn't know.
        past.retain(|one| one.number < before.revision && one.template != *template);
        past.push(Past {
            number: before.revision,
            template: was,
        });
        let most = spec["revisionHistoryLimit"].as_u64().unwrap_or(KEPT);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        past.drain(..past.len().saturating_sub(most));
        object.revision = before.revision + 1;
    }

    /// Forgets those of a Deployment that is gone.
    pub(crate) fn forget(&mut self, uid: Uuid) {
        self.0.remove(&uid);
    }

    /// The ReplicaSets of a Deployment, oldest first.
    fn of(&self, object: &Object) -> Vec<Value> {
        let Some(present) = object.numbered() else {
            return Vec::new();
        };
        let past = self.0.get(&object.uid).into_iter().flatten();
        let past = past.filter(|one| one.number <= present);
        let mut all: Vec<_> = past
            .map(|one| replica_set(object, one.number, one.template.clone(), 0))
            .collect();
        if present == object.revision {
            let template = json::spec(object)["template"].take();
            all.push(replica_set(object, present, template, object.desired()));
        }
        all
    }
}

fn replica_set(object: &Object, number: u32, mut template: Value, replicas: i32) -> Value {
    let mut hasher = DefaultHasher::new();
    template.to_string().hash(&mut hasher);
    let hash = format!("{:010x}", hasher.finish() >> 24);
    template["metadata"]["labels"][HASH] = hash.as_str().into();
    json!({
        "kind": "ReplicaSet", "apiVersion": "apps/v1",
        "metadata": {
            "name": format!("{}-{hash}", object.name()), "namespace": object.namespace(),
            "resourceVersion": object.resource_version.to_string(),
            "labels": template["metadata"]["labels"],
            "annotations": { REVISION: number.to_string() },
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "Deployment", "name": object.name(), "uid": object.uid.to_string(),
                "controller": true, "blockOwnerDeletion": true,
            }],
        },
        "spec": { "replicas": replicas, "selector": { "matchLabels": template["metadata"]["labels"] }, "template": template },
        "status": { "replicas": replicas },
    })
}

/// A page of the list of a namespace; the continue token is the place of the next one.
pub(crate) fn list(shared: &Shared, namespace: &str, query: &Query) -> Result<Value, Status> {
    let selector = Selector::parse(query.get("labelSelector"), "")?;
    let limit = query.number("limit")?.and_then(|n| usize::try_from(n).ok());
    let limit = limit.filter(|n| *n > 0).unwrap_or(usize::MAX);
    let start: usize = match query.get("continue") {
        "" => 0,
        token => {
            let invalid = |_| Status::bad_request("invalid continue token");
            token.parse().map_err(invalid)?
        }
    };
    let mut state = shared.state();
    let (version, scope) = (state.version, Scope::new(Some(namespace)));
    let deployments = state.page_at(version, &scope, None, None, |_| true);
    let deployments = deployments.unwrap_or_default().objects;
    let all = deployments.iter().flat_map(|one| state.revisions.of(one));
    let labelled = |set: &Value| {
        let labels = &set["metadata"]["labels"];
        selector.takes(|key| labels[key].as_str())
    };
    let mut items: Vec<Value> = all.filter(labelled).skip(start).collect();
    let next = match items.len() > limit {
        true => (start + limit).to_string(),
        false => String::new(),
    };
    items.truncate(limit);
    Ok(json!({
        "kind": "ReplicaSetList", "apiVersion": "apps/v1",
        "metadata": { "resourceVersion": version.to_string(), "continue": next },
        "items": items,
    }))
}
