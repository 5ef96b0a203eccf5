//! The `scale` subresource: reads and conditional writes of one number.

use std::sync::Arc;

use serde_json::Value;

use crate::cluster::Shared;
use crate::json;
use crate::object::Object;
use crate::status::{APPS, DEPLOYMENTS, Status};

/// The pods' selector, as text.
pub(crate) fn selector(object: &Object) -> String {
    let spec = json::spec(object);
    let labels = spec
        .pointer("/selector/matchLabels")
        .and_then(Value::as_object);
    let pairs = labels
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()));
    pairs.collect::<Vec<_>>().join(",")
}

/// What a writer of a scale asks for.
enum Wish<'a> {
    /// PUT: the whole Scale. Its uid is checked by the storage, before the object is looked at.
    Replace(&'a Value),
    /// PATCH: merged into the present Scale.
    Merge(Value),
}

/// Answers a PUT.
pub(crate) fn replace(
    shared: &Shared,
    namespace: &str,
    name: &str,
    body: &Value,
    dry: bool,
) -> Result<Arc<Object>, Status> {
    write(shared, namespace, name, &Wish::Replace(body), dry)
}

/// Answers a PATCH.
pub(crate) fn patch(
    shared: &Shared,
    namespace: &str,
    name: &str,
    patch: Value,
    dry: bool,
) -> Result<Arc<Object>, Status> {
    write(shared, namespace, name, &Wish::Merge(patch), dry)
}

fn write(
    shared: &Shared,
    namespace: &str,
    name: &str,
    wish: &Wish<'_>,
    dry: bool,
) -> Result<Arc<Object>, Status> {
    if let Wish::Replace(body) = wish {
        json::expect_kind(body, "Scale", "autoscaling/v1")?;
        let metadata = &body["metadata"];
        check_place(metadata, namespace, name)?;
    }
    let mut state = shared.state();
    let found = state.get(namespace, name);
    if let Wish::Replace(body) = wish {
        let wanted = json::text(&body["metadata"], "uid")?;
        let uid = found
            .as_ref()
            .map(|object| object.uid.to_string())
            .unwrap_or_default();
        // Deleted meanwhile has an empty uid: a conflict rather than 404.
        if !wanted.is_empty() && wanted != uid {
            return Err(Status::other_uid(
                &format!("{namespace}/{name}"),
                name,
                &wanted,
                &uid,
            ));
        }
    }
    let object = found.ok_or_else(|| Status::not_found(APPS, DEPLOYMENTS, name))?;
    let merged;
    let scale = match wish {
        Wish::Replace(body) => *body,
        Wish::Merge(patch) => {
            let mut present = json::scale(&object, "");
            json::merge(&mut present, patch.clone());
            json::expect_kind(&present, "Scale", "autoscaling/v1")?;
            check_place(&present["metadata"], namespace, name)?;
            merged = present;
            &merged
        }
    };
    let replicas = match &scale["spec"]["replicas"] {
        Value::Null => 0,
        number => json::int32(number, "Scale", "ScaleSpec.spec.replicas")?,
    };
    if replicas < 0 {
        return Err(Status::negative_replicas(
            "autoscaling",
            "Scale",
            name,
            i64::from(replicas),
        ));
    }
    let uid = object.uid.to_string();
    let wanted = json::text(&scale["metadata"], "uid")?;
    if !wanted.is_empty() && wanted != uid {
        let why = format!(
            "Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid}"
        );
        return Err(Status::conflict("deployments/scale", name, &why));
    }
    let version = json::text(&scale["metadata"], "resourceVersion")?;
    if !version.is_empty() && version != object.resource_version.to_string() {
        return Err(Status::modified(name));
    }
    if dry {
        let mut scaled = Object::clone(&object);
        scaled.replicas = Some(replicas);
        return Ok(Arc::new(scaled));
    }
    let before = object.resource_version;
    let scaled = state.scale(object, Some(replicas));
    drop(state);
    if scaled.resource_version != before {
        shared.announce(&scaled);
    }
    Ok(scaled)
}

/// A body may leave its name and namespace out, but not name others than the path does.
pub(crate) fn check_place(metadata: &Value, namespace: &str, name: &str) -> Result<(), Status> {
    let (found, place) = (
        json::text(metadata, "name")?,
        json::text(metadata, "namespace")?,
    );
    if found != name {
        return Err(Status::bad_request(format!(
            "the name of the object ({found}) does not match the name on the URL ({name})"
        )));
    }
    if !place.is_empty() && place != namespace {
        return Err(Status::bad_request(format!(
            "the namespace of the object ({place}) does not match the namespace on the request ({namespace})"
        )));
    }
    Ok(())
}
