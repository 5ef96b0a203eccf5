//! A lease as the Kubernetes object that keeps it.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Lease, State};
use crate::{name, pki::hexadecimal};

/// The label by which leases are listed, and its value.
pub const KIND_LABEL: (&str, &str) = ("headcount/lease", "count");

const NAMESPACE: &str = "headcount/namespace";
const NAME: &str = "headcount/name";
const UID: &str = "headcount/uid";
const MARK: &str = "headcount/mark";
const REPLICAS: &str = "headcount/replicas";
const PREVIOUS: &str = "headcount/previous";
const STATE: &str = "headcount/state";
const VERSION: &str = "headcount/version";
const REASON: &str = "headcount/reason";
const ENDED_BY: &str = "headcount/ended-by";

/// The name of the object that keeps a Deployment's lease: there is one at most.
pub fn object_name(namespace: &str, name: &str) -> String {
    // Neither has a slash: where one ends is plain.
    let hash = digest(&SHA256, format!("{namespace}/{name}").as_bytes());
    format!("count-{}", hexadecimal(&hash.as_ref()[..16]))
}

/// Why an object isn't taken for a lease; it is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotALease(String);

/// A lease and the version of the object that keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The lease.
    pub lease: Lease,
    /// The object's uid.
    pub uid: Uuid,
    /// The object's resourceVersion.
    pub version: u64,
}

#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    uid: Uuid,
    resource_version: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(skip_serializing_if = "Option::is_none")]
    holder_identity: Option<String>,
    lease_duration_seconds: Option<u32>,
    acquire_time: Option<String>,
    renew_time: Option<String>,
}

impl Stored {
    /// Reads a coordination.k8s.io/v1 Lease.
    ///
    /// # Errors
    ///
    /// It isn't one that this program writes.
    pub fn read(object: &Value) -> Result<Self, NotALease> {
        let Object { metadata, spec } =
            Object::deserialize(object).map_err(|error| NotALease(error.to_string()))?;
        let Metadata {
            name: own,
            uid,
            resource_version,
            annotations,
        } = metadata;
        let version = resource_version.parse();
        let version = version.map_err(|_| NotALease("its resourceVersion is no number".into()))?;
        let given = |key: &str| {
            let value = annotations.get(key).map(String::as_str);
            value.ok_or_else(|| NotALease(format!("its annotation {key} is missing")))
        };
        let wrong = |key: &str| NotALease(format!("its annotation {key} can't be read"));
        let count = |key: &str| {
            let count: i32 = given(key)?.parse().map_err(|_| wrong(key))?;
            (count >= 0).then_some(count).ok_or_else(|| wrong(key))
        };
        let (namespace, name) = (given(NAMESPACE)?, given(NAME)?);
        if !name::is_namespace(namespace) {
            return Err(wrong(NAMESPACE));
        }
        if !name::is_deployment(name) {
            return Err(wrong(NAME));
        }
        if own != object_name(namespace, name) {
            let name = object_name(namespace, name);
            return Err(NotALease(format!(
                "one of this Deployment is called {name}"
            )));
        }
        let mark = given(MARK)?;
        let digits = mark.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if mark.len() != 16 || !digits {
            return Err(wrong(MARK));
        }
        let state = match given(STATE)? {
            "pending" => State::Pending {
                version: given(VERSION)?.parse().map_err(|_| wrong(VERSION))?,
            },
            "held" => State::Held,
            "ending" => State::Ending,
            _ => return Err(wrong(STATE)),
        };
        let time = |given: Option<String>, field: &str| {
            let time = given.and_then(|time| time.parse::<Timestamp>().ok());
            time.ok_or_else(|| NotALease(format!("its {field} is missing or can't be read")))
        };
        let seconds = spec.lease_duration_seconds.filter(|seconds| *seconds > 0);
        let seconds =
            seconds.ok_or_else(|| NotALease("its leaseDurationSeconds is missing".into()))?;
        let lease = Lease {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: given(UID)?.parse().map_err(|_| wrong(UID))?,
            mark: mark.to_owned(),
            replicas: count(REPLICAS)?,
            previous: count(PREVIOUS)?,
            state,
            reason: annotations.get(REASON).cloned(),
            holder: spec.holder_identity.unwrap_or_default(),
            ended_by: annotations.get(ENDED_BY).map(|by| by.as_str().into()),
            taken: time(spec.acquire_time, "acquireTime")?,
            renewed: time(spec.renew_time, "renewTime")?,
            seconds,
        };
        Ok(Self {
            lease,
            uid,
            version,
        })
    }

    /// The object that says this of a lease, on the condition that it still is what was read.
    pub fn replaced_by(&self, lease: &Lease) -> Value {
        let mut object = lease.object();
        object["metadata"]["uid"] = self.uid.to_string().into();
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        object
    }
}

impl Lease {
    /// A new object that keeps it; its namespace is where it is created.
    pub fn object(&self) -> Value {
        let mut annotations = BTreeMap::from([
            (NAMESPACE, self.namespace.clone()),
            (NAME, self.name.clone()),
            (UID, self.uid.to_string()),
            (MARK, self.mark.clone()),
            (REPLICAS, self.replicas.to_string()),
            (PREVIOUS, self.previous.to_string()),
            (STATE, self.state.name().to_owned()),
        ]);
        if let State::Pending { version } = self.state {
            annotations.insert(VERSION, version.to_string());
        }
        if let Some(reason) = &self.reason {
            annotations.insert(REASON, reason.clone());
        }
        if let Some(by) = &self.ended_by {
            annotations.insert(ENDED_BY, by.to_string());
        }
        let spec = Spec {
            // Kubernetes takes none that is empty.
            holder_identity: (!self.holder.is_empty()).then(|| self.holder.clone()),
            lease_duration_seconds: Some(self.seconds),
            acquire_time: Some(format!("{:.6}", self.taken)),
            renew_time: Some(format!("{:.6}", self.renewed)),
        };
        json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": object_name(&self.namespace, &self.name),
                "labels": {"app.kubernetes.io/managed-by": "headcount", KIND_LABEL.0: KIND_LABEL.1},
                "annotations": annotations,
            },
            "spec": spec,
        })
    }
}
