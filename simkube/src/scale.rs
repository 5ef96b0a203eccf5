//! The `scale` subresource: reads and conditional writes of one number.

use std::sync::Arc;

use serde_json::Value;

use crate::cluster::Shared;
use crate::json;
use crate::object::Object;
use crate::patch::Patch;
use crate::status::{APPS, DEPLOYMENTS, Status};
use crate::write::Options;

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
    Merge(Patch),
}

/// Answers a PUT.
pub(crate) fn replace(
    shared: &Shared,
    namespace: &str,
    name: &str,
    body: &Value,
    options: &Options<'_>,
) -> Result<Arc<Object>, Status> {
    write(shared, namespace, name, &Wish::Replace(body), options)
}

/// Answers a PATCH.
pub(crate) fn patch(
    shared: &Shared,
    namespace: &str,
    name: &str,
    patch: Patch,
    options: &Options<'_>,
) -> Result<Arc<Object>, Status> {
    write(shared, namespace, name, &Wish::Merge(patch), options)
}

fn write(
    shared: &Shared,
    namespace: &str,
    name: &str,
    wish: &Wish<'_>,
    options: &Options<'_>,
) -> Result<Arc<Object>, Status> {
    if let Wish::Replace(body) = wish {
        json::expect_kind(body, "Scale", "autoscaling/v1")?;
        let metadata = &body["metadata"];
        check_place(metadata, namespace, name)?;
    }
    let now = shared.now();
    let mut state = shared.state();
    let found = state.get(namespace, name);
    let object = found.ok_or_else(|| Status::not_found(APPS, DEPLOYMENTS, name))?;
    let uid = object.uid.to_string();
    if let Wish::Replace(body) = wish {
        let wanted = json::text(&body["metadata"], "uid")?;
        if !wanted.is_empty() && wanted != uid {
            return Err(Status::other_uid(&object.key, name, &wanted, &uid));
        }
    }
    let (scale, replicas) = match wish {
        Wish::Replace(body) => (Value::clone(body), replicas(body)?),
        Wish::Merge(patch) => {
            let mut merged = json::scale(&object, "");
            patch.apply(&mut merged);
            json::expect_kind(&merged, "Scale", "autoscaling/v1")?;
            check_place(&merged["metadata"], namespace, name)?;
            let replicas = replicas(&merged).map_err(|why| why.of_patch(&merged))?;
            (merged, replicas)
        }
    };
    if replicas < 0 {
        return Err(Status::negative_replicas(
            "autoscaling",
            "Scale",
            name,
            i64::from(replicas),
        ));
    }
    let wanted = json::text(&scale["metadata"], "uid")?;
    if !wanted.is_empty() && wanted != uid {
        let why = format!(
            "Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid}"
        );
        return Err(Status::conflict((APPS, "deployments/scale"), name, &why));
    }
    let version = json::text(&scale["metadata"], "resourceVersion")?;
    check_version(&version, &object)?;
    if options.dry {
        let mut scaled = Object::clone(&object);
        scaled.replicas = Some(replicas);
        return Ok(Arc::new(scaled));
    }
    let before = object.resource_version;
    let scaled = state.scale(object, Some(replicas), Some(options.set_by("scale", now)));
    drop(state);
    if scaled.resource_version != before {
        shared.announce(&scaled);
    }
    Ok(scaled)
}

/// Absent means 0 here.
fn replicas(scale: &Value) -> Result<i32, Status> {
    match &scale["spec"]["replicas"] {
        Value::Null => Ok(0),
        number => json::int32(number, "Scale", "ScaleSpec.spec.replicas"),
    }
}

/// A version that was sent must be the present one.
pub(crate) fn check_version(version: &str, object: &Object) -> Result<(), Status> {
    if version.is_empty() {
        return Ok(());
    }
    match version.parse::<u64>() {
        Ok(version) if version == object.resource_version => Ok(()),
        Ok(_) => Err(Status::modified(object.name())),
        // Not 400: so kube-apiserver has it.
        Err(_) => {
            let message = format!("strconv.ParseUint: parsing \"{version}\": invalid syntax");
            Err(Status::new(500, "", message))
        }
    }
}

/// A body must name what the path names, but may leave the namespace out.
pub(crate) fn check_place(metadata: &Value, namespace: &str, name: &str) -> Result<(), Status> {
    let (found, place) = (
        json::text(metadata, "name")?,
        json::text(metadata, "namespace")?,
    );
    if !place.is_empty() && place != namespace {
        return Err(Status::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    if found.is_empty() {
        return Err(Status::bad_request(format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        )));
    }
    if found != name {
        return Err(Status::bad_request(format!(
            "the name of the object ({found}) does not match the name on the URL ({name})"
        )));
    }
    Ok(())
}
