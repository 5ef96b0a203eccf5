//! Writes of whole Deployments and of namespaces.

use std::ops::Bound;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::cluster::Shared;
use crate::json::{self, Desired};
use crate::object::{NewDeployment, Object, SetBy, Spec};
use crate::patch::Patch;
use crate::scale::{check_place, check_version};
use crate::state::Namespace;
use crate::status::{APPS, DEPLOYMENTS, Status};

/// How a write is made.
pub(crate) struct Options<'a> {
    /// Change nothing.
    pub(crate) dry: bool,
    /// `fieldManager`.
    pub(crate) manager: &'a str,
    /// Whether what is written is applied.
    pub(crate) applies: bool,
}

impl Options<'_> {
    /// Who sets a count by it; without a name, kube-apiserver takes one from the User-Agent.
    pub(crate) fn set_by(&self, subresource: &'static str, at: i64) -> SetBy {
        let manager = match self.manager {
            "" => "unknown",
            manager => manager,
        };
        SetBy {
            manager: manager.to_owned(),
            applied: self.applies,
            subresource,
            at,
        }
    }
}

/// Creates a Deployment from a whole object.
pub(crate) fn create(
    shared: &Shared,
    namespace: &str,
    body: &Value,
    dry: bool,
) -> Result<Arc<Object>, Status> {
    let desired = Desired::from_value(body)?;
    if !desired.namespace.is_empty() && desired.namespace != namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    if !desired.resource_version.is_empty() {
        let body = "Forbidden: resourceVersion should not be set on objects to be created";
        return Err(Status::invalid(
            APPS,
            "Deployment",
            &desired.name,
            "metadata.resourceVersion",
            "FieldValueForbidden",
            body,
        ));
    }
    if desired.name.is_empty() {
        let body = "Required value: name or generateName is required";
        return Err(Status::invalid(
            APPS,
            "Deployment",
            "",
            "metadata.name",
            "FieldValueRequired",
            body,
        ));
    }
    let now = shared.now();
    let mut state = shared.state();
    if !state.namespaces.contains_key(namespace) {
        return Err(Status::not_found("", "namespaces", namespace));
    }
    if state.get(namespace, &desired.name).is_some() {
        return Err(Status::already_exists(APPS, DEPLOYMENTS, &desired.name));
    }
    let mut object = state.draft(
        &NewDeployment::new(namespace, desired.name.as_str()).ready(false),
        now,
    );
    // Kubernetes fills the default in when it stores an object.
    object.replicas = Some(desired.replicas.unwrap_or(1));
    object.labels = desired.labels;
    object.annotations = desired.annotations;
    object.finalizers = desired.finalizers;
    let mut spec = desired.spec;
    fill_defaults(&mut spec);
    object.spec = Spec::Given(Arc::new(spec));
    if dry {
        return Ok(Arc::new(object));
    }
    let name = desired.name;
    let object = state
        .insert(object, now)
        .ok_or_else(|| Status::already_exists(APPS, DEPLOYMENTS, &name))?;
    drop(state);
    shared.announce(&object);
    Ok(object)
}

/// What kube-apiserver writes into a spec that leaves it out.
fn fill_defaults(spec: &mut Value) {
    fill(
        spec,
        &json!({
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "25%", "maxUnavailable": "25%" } },
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
            "template": { "spec": {
                "dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
                "securityContext": {}, "terminationGracePeriodSeconds": 30,
            } },
        }),
    );
    let containers = spec
        .pointer_mut("/template/spec/containers")
        .and_then(Value::as_array_mut);
    for container in containers.into_iter().flatten() {
        fill(
            container,
            &json!({
                "imagePullPolicy": "Always", "resources": {},
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
            }),
        );
    }
}

/// Adds what is missing; leaves what is there.
fn fill(target: &mut Value, defaults: &Value) {
    if target.is_null() {
        *target = defaults.clone();
    }
    if let (Some(target), Some(defaults)) = (target.as_object_mut(), defaults.as_object()) {
        for (key, default) in defaults {
            fill(target.entry(key).or_insert(Value::Null), default);
        }
    }
}

/// Replaces a Deployment by a whole object.
pub(crate) fn replace(
    shared: &Shared,
    namespace: &str,
    name: &str,
    body: &Value,
    options: &Options<'_>,
) -> Result<Arc<Object>, Status> {
    let desired = Desired::from_value(body)?;
    check_place(&body["metadata"], namespace, name)?;
    update(shared, namespace, name, options, |_| Ok(desired))
}

/// Merges a patch into a Deployment.
pub(crate) fn patch(
    shared: &Shared,
    namespace: &str,
    name: &str,
    patch: &Patch,
    options: &Options<'_>,
) -> Result<Arc<Object>, Status> {
    update(shared, namespace, name, options, |object| {
        let mut whole = json::deployment(object, &shared.managed_fields);
        // A version in the patch is a precondition; without one there is none.
        if let Some(metadata) = whole["metadata"].as_object_mut() {
            metadata.remove("resourceVersion");
        }
        patch.apply(&mut whole);
        check_place(&whole["metadata"], namespace, name)?;
        let desired = Desired::from_value(&whole).map_err(|why| why.of_patch(&whole))?;
        // Before the uid: an object that was created again is a conflict for who knows the version of the one before.
        check_version(&desired.resource_version, object)?;
        if desired.uid != object.uid.to_string() {
            let body = format!("Invalid value: \"{}\": field is immutable", desired.uid);
            return Err(Status::invalid(
                APPS,
                "Deployment",
                name,
                "metadata.uid",
                "FieldValueInvalid",
                &body,
            ));
        }
        Ok(desired)
    })
}

fn update(
    shared: &Shared,
    namespace: &str,
    name: &str,
    options: &Options<'_>,
    desired: impl FnOnce(&Object) -> Result<Desired, Status>,
) -> Result<Arc<Object>, Status> {
    let now = shared.now();
    let mut state = shared.state();
    let before = state
        .get(namespace, name)
        .ok_or_else(|| Status::not_found(APPS, DEPLOYMENTS, name))?;
    let desired = desired(&before)?;
    let uid = before.uid.to_string();
    if !desired.uid.is_empty() && desired.uid != uid {
        return Err(Status::other_uid(&before.key, name, &desired.uid, &uid));
    }
    check_version(&desired.resource_version, &before)?;
    let mut after = Object::clone(&before);
    after.labels = desired.labels;
    after.annotations = desired.annotations;
    after.finalizers = desired.finalizers;
    after.replicas = Some(desired.replicas.unwrap_or(1));
    if after.replicas != before.replicas {
        after.set_by = [options.set_by("", now)].into();
    }
    let spec_changed = desired.spec != json::spec(&before);
    if spec_changed {
        after.spec = Spec::Given(Arc::new(desired.spec));
    }
    if after.same_content(&before) {
        return Ok(before);
    }
    if spec_changed || after.replicas != before.replicas {
        after.generation += 1;
    }
    if options.dry {
        return Ok(Arc::new(after));
    }
    if after.deleted.is_some() && after.finalizers.is_empty() {
        let gone = state.remove(before);
        drop(state);
        shared.announce(&gone);
        return Ok(Arc::new(after));
    }
    let object = state.replace(after, before);
    drop(state);
    shared.announce(&object);
    Ok(object)
}

/// Judges what `DeleteOptions` make a deletion conditional on.
pub(crate) fn judge_preconditions(
    kind: (&str, &str),
    name: &str,
    options: &Value,
    uid: &str,
    version: &str,
) -> Result<(), Status> {
    let preconditions = &options["preconditions"];
    if let Some(wanted) = preconditions["uid"]
        .as_str()
        .filter(|wanted| *wanted != uid)
    {
        let why = format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). \
             The object might have been deleted and then recreated"
        );
        return Err(Status::not_to_delete(kind, name, &why));
    }
    if let Some(wanted) = preconditions["resourceVersion"]
        .as_str()
        .filter(|wanted| *wanted != version)
    {
        let why = format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record ({version}). \
             The object might have been modified"
        );
        return Err(Status::not_to_delete(kind, name, &why));
    }
    Ok(())
}

/// Deletes a Deployment: a `Status` when it is gone, or the object that waits for its finalizers.
pub(crate) fn delete(
    shared: &Shared,
    namespace: &str,
    name: &str,
    options: &Value,
    dry: bool,
) -> Result<Deleted, Status> {
    let now = shared.now();
    let mut state = shared.state();
    let object = state
        .get(namespace, name)
        .ok_or_else(|| Status::not_found(APPS, DEPLOYMENTS, name))?;
    let uid = object.uid.to_string();
    let version = object.resource_version.to_string();
    judge_preconditions((APPS, "Deployment"), name, options, &uid, &version)?;
    if dry {
        return Ok(Deleted::Gone(Status::success(
            APPS,
            DEPLOYMENTS,
            name,
            &uid,
        )));
    }
    let waits = !object.finalizers.is_empty();
    let left = state.delete(object, now);
    drop(state);
    shared.announce(&left);
    Ok(if waits {
        Deleted::Waits(left)
    } else {
        Deleted::Gone(Status::success(APPS, DEPLOYMENTS, name, &uid))
    })
}

/// What is left of a deleted object.
pub(crate) enum Deleted {
    Gone(Status),
    Waits(Arc<Object>),
}

/// A namespace in JSON.
pub(crate) fn namespace_json(name: &str, namespace: &Namespace) -> Value {
    json!({
        "kind": "Namespace",
        "apiVersion": "v1",
        "metadata": {
            "name": name,
            "uid": namespace.uid.to_string(),
            "resourceVersion": namespace.resource_version.to_string(),
            "creationTimestamp": json::rfc3339(namespace.created),
            "labels": { "kubernetes.io/metadata.name": name },
        },
        "spec": { "finalizers": ["kubernetes"] },
        "status": { "phase": "Active" },
    })
}

/// All namespaces in JSON.
pub(crate) fn namespaces(shared: &Shared) -> Value {
    let state = shared.state();
    let mut items: Vec<_> = state
        .namespaces
        .iter()
        .map(|(name, ns)| (name, namespace_json(name, ns)))
        .collect();
    items.sort_by_key(|(name, _)| name.as_str());
    let items: Vec<Value> = items.into_iter().map(|(_, value)| value).collect();
    let metadata = json!({ "resourceVersion": state.version.to_string() });
    json!({ "kind": "NamespaceList", "apiVersion": "v1", "metadata": metadata, "items": items })
}

/// One namespace in JSON.
pub(crate) fn namespace(shared: &Shared, name: &str) -> Result<Value, Status> {
    let state = shared.state();
    let found = state
        .namespaces
        .get(name)
        .map(|namespace| namespace_json(name, namespace));
    found.ok_or_else(|| Status::not_found("", "namespaces", name))
}

/// Creates a namespace.
pub(crate) fn create_namespace(shared: &Shared, body: &Value, dry: bool) -> Result<Value, Status> {
    json::expect_kind(body, "Namespace", "v1")?;
    let name = json::text(&body["metadata"], "name")?;
    let now = shared.now();
    let mut state = shared.state();
    if state.namespaces.contains_key(&name) {
        return Err(Status::already_exists("", "namespaces", &name));
    }
    if dry {
        return Ok(body.clone());
    }
    state.ensure_namespace(&name, now);
    drop(state);
    shared.changed.send_replace(());
    namespace(shared, &name)
}

/// Deletes a namespace and at once what is in it; a real cluster takes its time for that.
pub(crate) fn delete_namespace(shared: &Shared, name: &str, dry: bool) -> Result<Value, Status> {
    let found = namespace(shared, name)?;
    if dry {
        return Ok(found);
    }
    let mut state = shared.state();
    let prefix = format!("{name}/");
    let inside: Vec<_> = state
        .objects
        .range::<str, _>((Bound::Included(prefix.as_str()), Bound::Unbounded))
        .take_while(|(key, _)| key.starts_with(&prefix))
        .map(|(_, object)| object.clone())
        .collect();
    for object in inside {
        state.remove(object);
    }
    state.version += 1;
    state.namespaces.remove(name);
    drop(state);
    shared.changed.send_replace(());
    Ok(found)
}
