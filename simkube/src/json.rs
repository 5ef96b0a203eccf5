//! JSON as kube-apiserver writes it, and back.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::object::{Object, Pairs, Spec};
use crate::revision::REVISION;
use crate::selector::label_text;
use crate::status::{APPS, Status};

/// The annotation of the bookmark that ends the synthetic events of a streamed list.
pub(crate) const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// What every object carries as `managedFields`, padded to a size.
#[derive(Debug)]
pub(crate) struct ManagedFields {
    raw: Vec<u8>,
    value: Value,
}

impl ManagedFields {
    /// Fields of about `bytes` bytes; none at all for 0.
    pub(crate) fn new(bytes: usize) -> Self {
        if bytes == 0 {
            return Self {
                raw: Vec::new(),
                value: Value::Null,
            };
        }
        let mut env = Map::new();
        let mut value = Self::around(&env);
        while value.to_string().len() < bytes {
            // About 70 bytes each, so a few dozen are enough for the usual sizes.
            for _ in 0..(bytes / 2000).max(1) {
                let key = format!("k:{{\"name\":\"VARIABLE_{:04}\"}}", env.len());
                env.insert(key, json!({ ".": {}, "f:name": {}, "f:value": {} }));
            }
            value = Self::around(&env);
        }
        Self {
            raw: value.to_string().into_bytes(),
            value,
        }
    }

    fn around(env: &Map<String, Value>) -> Value {
        json!({
            "f:metadata": { "f:labels": { ".": {}, "f:app": {} } },
            "f:spec": {
                "f:progressDeadlineSeconds": {}, "f:revisionHistoryLimit": {}, "f:selector": {},
                "f:template": { "f:spec": { "f:containers": { "k:{\"name\":\"main\"}": {
                    ".": {}, "f:env": env, "f:image": {}, "f:name": {},
                } } } },
            },
        })
    }

    pub(crate) fn raw(&self) -> &[u8] {
        &self.raw
    }
}

/// One of the conditions that a Deployment's status shows.
pub(crate) struct Condition {
    pub(crate) kind: &'static str,
    pub(crate) holds: bool,
    pub(crate) reason: &'static str,
    pub(crate) message: &'static str,
    pub(crate) at: i64,
}

/// The conditions that follow from the counts.
pub(crate) fn conditions(object: &Object) -> impl Iterator<Item = Condition> {
    let status = &object.status;
    // Wider than the counts: four times the largest of them must fit.
    let available = i64::from(status.available) * 4 >= i64::from(object.desired()) * 3;
    let conditions = [
        Condition {
            kind: "Available",
            holds: available,
            reason: if available {
                "MinimumReplicasAvailable"
            } else {
                "MinimumReplicasUnavailable"
            },
            message: if available {
                "Deployment has minimum availability."
            } else {
                "Deployment does not have minimum availability."
            },
            at: object.created,
        },
        Condition {
            kind: "Progressing",
            holds: true,
            reason: if status.available == status.replicas {
                "NewReplicaSetAvailable"
            } else {
                "ReplicaSetUpdated"
            },
            message: "ReplicaSet is progressing.",
            at: object.created + i64::from(status.touched),
        },
    ];
    conditions
        .into_iter()
        .filter(|_| status.observed_generation > 0)
}

/// The label that selects the pods of a Deployment made by `NewDeployment`.
pub(crate) fn plain_labels(object: &Object) -> (&'static str, &str) {
    // The label "app" if there is one, since a selector is what its author would have written.
    (
        "app",
        label_text(object.labels.get("app").unwrap_or(object.name())),
    )
}

/// `spec` without `replicas`.
pub(crate) fn spec(object: &Object) -> Value {
    match &object.spec {
        Spec::Given(spec) => Value::clone(spec),
        Spec::Plain { image } => {
            let (key, value) = plain_labels(object);
            json!({
                "selector": { "matchLabels": { key: value } },
                "template": {
                    "metadata": { "labels": { key: value } },
                    "spec": {
                        "containers": [{
                            "name": "main", "image": &**image, "imagePullPolicy": "IfNotPresent", "resources": {},
                            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                        }],
                        "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
                        "securityContext": {}, "terminationGracePeriodSeconds": 30,
                    },
                },
                "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "25%", "maxUnavailable": "25%" } },
                "revisionHistoryLimit": 10,
                "progressDeadlineSeconds": 600,
            })
        }
    }
}

/// The whole object, with `kind` and `apiVersion`.
pub(crate) fn deployment(object: &Object, managed: &ManagedFields) -> Value {
    let mut metadata = json!({
        "name": object.name(),
        "namespace": object.namespace(),
        "uid": object.uid.to_string(),
        "generation": object.generation,
        "creationTimestamp": rfc3339(object.created),
    });
    // A dry run makes an object without one.
    if object.resource_version > 0 {
        metadata["resourceVersion"] = object.resource_version.to_string().into();
    }
    if let Some(at) = object.deleted {
        metadata["deletionTimestamp"] = rfc3339(at).into();
        metadata["deletionGracePeriodSeconds"] = 0.into();
    }
    if !object.labels.is_empty() {
        metadata["labels"] = pairs(&object.labels);
    }
    if !object.annotations.is_empty() {
        metadata["annotations"] = pairs(&object.annotations);
    }
    if let Some(number) = object.numbered() {
        metadata["annotations"][REVISION] = number.to_string().into();
    }
    if !object.finalizers.is_empty() {
        metadata["finalizers"] = object
            .finalizers
            .iter()
            .map(|f| Value::from(&**f))
            .collect();
    }
    if !managed.raw.is_empty() {
        let mut all = vec![json!({
            "manager": "simkube", "operation": "Update", "apiVersion": "apps/v1", "time": rfc3339(object.created),
            "fieldsType": "FieldsV1", "fieldsV1": managed.value,
        })];
        all.extend(object.set_by.iter().map(|by| {
            let mut entry = json!({
                "manager": by.manager, "operation": by.operation(), "apiVersion": "apps/v1",
                "fieldsType": "FieldsV1", "fieldsV1": { "f:spec": { "f:replicas": {} } }, "subresource": by.subresource,
            });
            // kube-apiserver keeps no time of what came through a subresource.
            if by.subresource.is_empty() {
                entry["time"] = rfc3339(by.at).into();
            }
            entry
        }));
        metadata["managedFields"] = all.into();
    }
    let mut spec = spec(object);
    if let Some(replicas) = object.replicas {
        spec["replicas"] = replicas.into();
    }
    json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec, "status": status(object) })
}

fn status(object: &Object) -> Value {
    let status = &object.status;
    let mut value = json!({});
    let counts = [
        ("observedGeneration", status.observed_generation),
        ("replicas", i64::from(status.replicas)),
        ("updatedReplicas", i64::from(status.updated)),
        ("readyReplicas", i64::from(status.ready)),
        ("availableReplicas", i64::from(status.available)),
        (
            "unavailableReplicas",
            i64::from(status.replicas - status.available),
        ),
    ];
    for (name, count) in counts.into_iter().filter(|(_, count)| *count != 0) {
        value[name] = count.into();
    }
    let conditions: Vec<Value> = conditions(object)
        .map(|c| {
            json!({
                "type": c.kind, "status": if c.holds { "True" } else { "False" },
                "reason": c.reason, "message": c.message,
                "lastUpdateTime": rfc3339(c.at), "lastTransitionTime": rfc3339(object.created),
            })
        })
        .collect();
    if !conditions.is_empty() {
        value["conditions"] = conditions.into();
    }
    value
}

/// A bookmark's object.
pub(crate) fn bookmark(resource_version: u64, initial_events_end: bool) -> Value {
    let mut metadata = json!({ "resourceVersion": resource_version.to_string() });
    if initial_events_end {
        metadata["annotations"] = json!({ INITIAL_EVENTS_END: "true" });
    }
    json!({
        "kind": "Deployment", "apiVersion": "apps/v1", "metadata": metadata,
        "spec": {
            "replicas": 0, "selector": null, "strategy": {},
            "template": { "metadata": {}, "spec": { "containers": null } },
        },
        "status": {},
    })
}

/// The `Scale` of a Deployment. `spec.replicas` is left out when it is 0, as Kubernetes does.
pub(crate) fn scale(object: &Object, selector: &str) -> Value {
    let mut spec = json!({});
    if let Some(replicas) = object.replicas.filter(|n| *n != 0) {
        spec["replicas"] = replicas.into();
    }
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": object.name(),
            "namespace": object.namespace(),
            "uid": object.uid.to_string(),
            "resourceVersion": object.resource_version.to_string(),
            "creationTimestamp": rfc3339(object.created),
        },
        "spec": spec,
        "status": { "replicas": object.status.replicas, "selector": selector },
    })
}

fn pairs(pairs: &Pairs) -> Value {
    pairs
        .iter()
        .map(|(k, v)| (k.to_owned(), Value::from(v)))
        .collect::<Map<_, _>>()
        .into()
}

pub(crate) fn rfc3339(seconds: i64) -> String {
    Timestamp::from_second(seconds)
        .unwrap_or_default()
        .to_string()
}

/// JSON merge patch, RFC 7386.
pub(crate) fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Some(target) = target.as_object_mut() else {
        return;
    };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(&key);
        } else {
            merge(target.entry(key).or_insert(Value::Null), value);
        }
    }
}

/// What a client may set on a Deployment, taken from a whole object.
pub(crate) struct Desired {
    pub(crate) name: String,
    pub(crate) namespace: String,
    pub(crate) uid: String,
    pub(crate) resource_version: String,
    pub(crate) labels: Pairs,
    pub(crate) annotations: Pairs,
    pub(crate) finalizers: Arc<[Arc<str>]>,
    pub(crate) replicas: Option<i32>,
    pub(crate) spec: Value,
}

impl Desired {
    /// Reads a Deployment.
    pub(crate) fn from_value(value: &Value) -> Result<Self, Status> {
        expect_kind(value, "Deployment", "apps/v1")?;
        let metadata = &value["metadata"];
        let name = text(metadata, "name")?;
        let replicas = match &value["spec"]["replicas"] {
            Value::Null => None,
            number => Some(int32(number, "Deployment", "DeploymentSpec.spec.replicas")?),
        };
        if let Some(negative) = replicas.filter(|n| *n < 0) {
            return Err(Status::negative_replicas(
                APPS,
                "Deployment",
                &name,
                i64::from(negative),
            ));
        }
        let mut spec = value["spec"].clone();
        if let Some(spec) = spec.as_object_mut() {
            spec.remove("replicas");
        }
        let finalizers = match &metadata["finalizers"] {
            Value::Array(list) => list
                .iter()
                .filter_map(Value::as_str)
                .map(Arc::from)
                .collect(),
            _ => Arc::default(),
        };
        Ok(Self {
            namespace: text(metadata, "namespace")?,
            uid: text(metadata, "uid")?,
            resource_version: text(metadata, "resourceVersion")?,
            labels: string_map(metadata, "labels")?,
            // Its controller's: what a client says of it changes nothing.
            annotations: string_map(metadata, "annotations")?.without(REVISION),
            finalizers,
            replicas,
            spec,
            name,
        })
    }
}

/// `kind` and `apiVersion` may be absent, but not others.
pub(crate) fn expect_kind(value: &Value, kind: &str, api_version: &str) -> Result<(), Status> {
    let found = (
        value["kind"].as_str().unwrap_or(kind),
        value["apiVersion"].as_str().unwrap_or(api_version),
    );
    if value.is_object() && found == (kind, api_version) {
        return Ok(());
    }
    let version = found.1.rsplit('/').next().unwrap_or_default();
    Err(Status::bad_request(format!(
        "{0} in version \"{version}\" cannot be handled as a {kind}: no kind \"{0}\" is registered for version \"{1}\" in \
         scheme \"pkg/runtime/scheme.go:111\"",
        found.0, found.1
    )))
}

pub(crate) fn text(value: &Value, field: &str) -> Result<String, Status> {
    match &value[field] {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text.clone()),
        _ => Err(cannot_unmarshal(
            "Deployment",
            "number",
            &format!("ObjectMeta.metadata.{field}"),
            "string",
        )),
    }
}

fn string_map(metadata: &Value, field: &str) -> Result<Pairs, Status> {
    let wrong = || {
        cannot_unmarshal(
            "Deployment",
            "object",
            &format!("ObjectMeta.metadata.{field}"),
            "string",
        )
    };
    match &metadata[field] {
        Value::Null => Ok(Pairs::default()),
        Value::Object(map) => map
            .iter()
            .map(|(k, v)| Ok((k.as_str(), v.as_str().ok_or_else(wrong)?)))
            .collect(),
        _ => Err(wrong()),
    }
}

/// A whole number of 32 bits, or Go's complaint.
pub(crate) fn int32(value: &Value, kind: &str, field: &str) -> Result<i32, Status> {
    let found = match value {
        Value::String(_) => "string".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Array(_) => "array".to_owned(),
        Value::Object(_) => "object".to_owned(),
        other => format!("number {other}"),
    };
    let number = value.as_i64().and_then(|n| i32::try_from(n).ok());
    number.ok_or_else(|| cannot_unmarshal(kind, &found, field, "int32"))
}

fn cannot_unmarshal(kind: &str, found: &str, field: &str, wanted: &str) -> Status {
    Status::bad_request(format!(
        "{kind} in version \"v1\" cannot be handled as a {kind}: json: cannot unmarshal {found} into Go struct field {field} of type {wanted}"
    ))
}
