//! Leases of `coordination.k8s.io/v1`: created, read, replaced, deleted, listed and watched. Their spec is kept as it comes.

use serde_json::Value;

use crate::cluster::{Cluster, Shared};
use crate::json;
use crate::objects::Kind;
use crate::status::Status;
use crate::write;

/// Leases.
pub(crate) static KIND: Kind = Kind {
    group: "coordination.k8s.io",
    api_version: "coordination.k8s.io/v1",
    kind: "Lease",
    resource: "leases",
    of: |shared| &shared.leases,
};

impl Cluster {
    /// All Leases of a namespace, as JSON, by name.
    pub fn leases(&self, namespace: &str) -> Vec<Value> {
        self.shared.leases.lock().of(namespace)
    }

    /// Deletes a Lease as somebody else would; the version that this made, or `None` if it is absent.
    pub fn delete_lease(&self, namespace: &str, name: &str) -> Option<u64> {
        let shared = &self.shared;
        shared.leases.lock().remove(shared, namespace, name)
    }

    /// Changes a Lease as somebody else would; `false` if it is absent.
    pub fn change_lease(
        &self,
        namespace: &str,
        name: &str,
        change: impl FnOnce(&mut Value),
    ) -> bool {
        let shared = &self.shared;
        let mut all = shared.leases.lock();
        let Some(mut object) = all.get(namespace, name).cloned() else {
            return false;
        };
        change(&mut object);
        all.put(shared, namespace, name, &mut object);
        true
    }

    /// Ends the open watches of Leases; with `expired`, later ones can't go on from an older version than now.
    pub fn end_lease_watches(&self, expired: bool) {
        self.shared.leases.end_watches(&self.shared, expired);
    }
}

fn not_found(name: &str) -> Status {
    Status::not_found(KIND.group, KIND.resource, name)
}

/// Answers a GET.
pub(crate) fn get(shared: &Shared, namespace: &str, name: &str) -> Result<Value, Status> {
    let all = shared.leases.lock();
    all.get(namespace, name)
        .cloned()
        .ok_or_else(|| not_found(name))
}

/// The name in a body, and what is wrong with the rest.
fn read(body: &Value, namespace: &str) -> Result<String, Status> {
    json::expect_kind(body, KIND.kind, KIND.api_version)?;
    let metadata = &body["metadata"];
    let name = json::text(metadata, "name")?;
    let invalid = |field: &str, why: &str| {
        Status::invalid(
            KIND.group,
            KIND.kind,
            &name,
            field,
            "FieldValueInvalid",
            why,
        )
    };
    if name.is_empty() {
        let why = "Required value: name or generateName is required";
        return Err(invalid("metadata.name", why));
    }
    if let Some(other) = metadata["namespace"]
        .as_str()
        .filter(|own| *own != namespace)
    {
        return Err(Status::bad_request(format!(
            "the namespace of the provided object does not match the namespace sent on the request: {other}"
        )));
    }
    if let Some(seconds) = body["spec"]["leaseDurationSeconds"]
        .as_i64()
        .filter(|n| *n <= 0)
    {
        let why = format!("Invalid value: {seconds}: must be greater than 0");
        return Err(invalid("spec.leaseDurationSeconds", &why));
    }
    Ok(name)
}

/// Answers a POST.
pub(crate) fn create(
    shared: &Shared,
    namespace: &str,
    mut body: Value,
    dry: bool,
) -> Result<Value, Status> {
    let name = read(&body, namespace)?;
    let given = body["metadata"]["resourceVersion"].as_str();
    if given.is_some_and(|given| !given.is_empty()) {
        return Err(Status::new(
            500,
            "InternalError",
            "resourceVersion should not be set on objects to be created",
        ));
    }
    if !shared.state().namespaces.contains_key(namespace) {
        return Err(Status::not_found("", "namespaces", namespace));
    }
    let mut all = shared.leases.lock();
    if all.get(namespace, &name).is_some() {
        return Err(Status::already_exists(KIND.group, KIND.resource, &name));
    }
    body["metadata"]["namespace"] = namespace.into();
    body["metadata"]["creationTimestamp"] = json::rfc3339(shared.now()).into();
    let unique = shared.state().version;
    body["metadata"]["uid"] = uuid::Uuid::from_u64_pair(3, unique).to_string().into();
    if !dry {
        all.put(shared, namespace, &name, &mut body);
    }
    Ok(body)
}

/// Answers a PUT: as others' do, it may be conditional on a resourceVersion and a uid.
pub(crate) fn replace(
    shared: &Shared,
    namespace: &str,
    name: &str,
    mut body: Value,
    dry: bool,
) -> Result<Value, Status> {
    let named = read(&body, namespace)?;
    if named != name {
        return Err(Status::bad_request(format!(
            "the name of the object ({named}) does not match the name on the URL ({name})"
        )));
    }
    let mut all = shared.leases.lock();
    let known = all.get(namespace, name).ok_or_else(|| not_found(name))?;
    for field in ["resourceVersion", "uid"] {
        let wanted = body["metadata"][field].as_str().unwrap_or_default();
        if wanted.is_empty() || known["metadata"][field] == wanted {
            continue;
        }
        let why = if field == "uid" {
            let found = &known["metadata"]["uid"];
            format!(
                "Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}"
            )
        } else {
            "the object has been modified; please apply your changes to the latest version and try again".to_owned()
        };
        return Err(Status::conflict((KIND.group, KIND.resource), name, &why));
    }
    for field in ["uid", "creationTimestamp", "namespace"] {
        body["metadata"][field] = known["metadata"][field].clone();
    }
    body["metadata"]["resourceVersion"] = known["metadata"]["resourceVersion"].clone();
    // What changes nothing makes no version.
    if !dry && body != *known {
        all.put(shared, namespace, name, &mut body);
    }
    Ok(body)
}

/// Answers a DELETE.
pub(crate) fn delete(
    shared: &Shared,
    namespace: &str,
    name: &str,
    options: &Value,
    dry: bool,
) -> Result<Status, Status> {
    let mut all = shared.leases.lock();
    let known = all.get(namespace, name).ok_or_else(|| not_found(name))?;
    let text = |field: &str| {
        known["metadata"][field]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let (uid, version) = (text("uid"), text("resourceVersion"));
    write::judge_preconditions((KIND.group, KIND.kind), name, options, &uid, &version)?;
    if !dry {
        all.remove(shared, namespace, name);
    }
    Ok(Status::success(KIND.group, KIND.resource, name, &uid))
}
