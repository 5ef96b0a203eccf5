//! Event objects of core/v1: created, patched and listed, and nothing else. They have no place among the versions of the cluster.

use std::collections::BTreeMap;
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::cluster::{Shared, lock};
use crate::json;
use crate::patch::Patch;
use crate::status::Status;

const KIND: &str = "Event";
const RESOURCE: &str = "events";

/// All events, by namespace and name.
#[derive(Debug, Default)]
pub(crate) struct Events(Mutex<BTreeMap<(String, String), Value>>);

impl Events {
    pub(crate) fn all(&self) -> Vec<Value> {
        lock(&self.0).values().cloned().collect()
    }

    pub(crate) fn list(&self, namespace: &str) -> Value {
        let events = lock(&self.0);
        let items: Vec<_> = events
            .iter()
            .filter(|((of, _), _)| of == namespace)
            .map(|(_, event)| event)
            .collect();
        json!({ "kind": "EventList", "apiVersion": "v1", "metadata": {}, "items": items })
    }
}

/// Answers a POST.
pub(crate) fn create(shared: &Shared, namespace: &str, mut body: Value) -> Result<Value, Status> {
    json::expect_kind(&body, KIND, "v1")?;
    let name = body["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    let invalid =
        |field: &str, why: &str| Status::invalid("", KIND, &name, field, "FieldValueInvalid", why);
    if name.is_empty() {
        return Err(invalid(
            "metadata.name",
            "Required value: name or generateName is required",
        ));
    }
    let involved = body["involvedObject"]["namespace"]
        .as_str()
        .unwrap_or_default();
    if involved != namespace {
        let why = format!("Invalid value: \"{involved}\": does not match event.namespace");
        return Err(invalid("involvedObject.namespace", &why));
    }
    let key = (namespace.to_owned(), name.clone());
    let mut events = lock(&shared.events.0);
    if events.contains_key(&key) {
        return Err(Status::already_exists("", RESOURCE, &name));
    }
    body["metadata"]["namespace"] = namespace.into();
    body["metadata"]["uid"] = uuid::Uuid::from_u64_pair(2, events.len() as u64)
        .to_string()
        .into();
    events.insert(key, body.clone());
    Ok(body)
}

/// Answers a PATCH.
pub(crate) fn patch(
    shared: &Shared,
    namespace: &str,
    name: &str,
    patch: &Patch,
) -> Result<Value, Status> {
    let mut events = lock(&shared.events.0);
    let key = (namespace.to_owned(), name.to_owned());
    let event = events
        .get_mut(&key)
        .ok_or_else(|| Status::not_found("", RESOURCE, name))?;
    patch.apply(event);
    Ok(event.clone())
}
