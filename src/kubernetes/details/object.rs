//! A Deployment as the API server tells it in JSON: the parts that are read.

use std::collections::BTreeMap;

use serde::{Deserialize, de::IgnoredAny};
use serde_json::Value;
use uuid::Uuid;

use super::{Container, Details, Manager, Status};
use crate::kubernetes::{field_manager::FieldOwner, wire::version};

/// The part of an apps/v1 Deployment that is read.
#[derive(Debug, Deserialize)]
pub(in crate::kubernetes) struct DeploymentObject {
    metadata: Metadata,
    spec: DeploymentSpec,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Deserialize)]
pub(super) struct DeploymentList {
    #[serde(default)]
    pub(super) items: Vec<DeploymentObject>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    uid: Uuid,
    #[serde(default)]
    resource_version: String,
    deletion_timestamp: Option<IgnoredAny>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    generation: i64,
    #[serde(default)]
    managed_fields: Vec<ManagedFields>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ManagedFields {
    #[serde(default)]
    manager: String,
    #[serde(default)]
    operation: String,
    time: Option<String>,
    #[serde(default)]
    subresource: String,
    #[serde(default, rename = "fieldsV1")]
    fields: OwnedFields,
}

/// Whether the count is among somebody's fields.
#[derive(Debug, Default, Deserialize)]
pub(in crate::kubernetes) struct OwnedFields {
    #[serde(default, rename = "f:spec")]
    spec: OwnedSpec,
}

impl OwnedFields {
    /// Whether the count is one of them.
    pub(in crate::kubernetes) fn have_count(&self) -> bool {
        self.spec.replicas.is_some()
    }
}

#[derive(Debug, Default, Deserialize)]
struct OwnedSpec {
    #[serde(rename = "f:replicas")]
    replicas: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
struct DeploymentSpec {
    /// Absent means 1.
    replicas: Option<i32>,
    #[serde(default)]
    paused: bool,
    #[serde(default)]
    selector: LabelSelector,
    template: Template,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LabelSelector {
    match_labels: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(try_from = "Value")]
struct Template {
    read: ReadTemplate,
    whole: Value,
}

impl TryFrom<Value> for Template {
    type Error = serde_json::Error;

    fn try_from(whole: Value) -> Result<Self, Self::Error> {
        let read = ReadTemplate::deserialize(&whole)?;
        Ok(Self { read, whole })
    }
}

#[derive(Debug, Deserialize)]
struct ReadTemplate {
    #[serde(default)]
    metadata: TemplateMetadata,
    spec: PodSpec,
}

#[derive(Debug, Default, Deserialize)]
struct TemplateMetadata {
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// When a restart was asked for last: `kubectl rollout restart` sets it too.
pub(in crate::kubernetes) const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodSpec {
    containers: Vec<Container>,
    #[serde(default)]
    init_containers: Vec<Container>,
}

impl From<DeploymentObject> for Details {
    fn from(object: DeploymentObject) -> Self {
        let resource_version = object.resource_version();
        let DeploymentObject {
            metadata,
            spec,
            status,
        } = object;
        let (replicas, paused) = (spec.replicas, spec.paused);
        let mut template = spec.template.read.metadata.annotations;
        let pod = spec.template.read.spec;
        let entries = metadata.managed_fields.iter();
        let managers = entries.filter(|entry| entry.subresource.is_empty());
        let managers = managers.map(|entry| Manager {
            name: entry.manager.clone(),
            applies: entry.operation == "Apply",
            time: entry.time.clone(),
            owns_count: entry.fields.have_count(),
        });
        let managers = managers.collect();
        let owners = metadata.managed_fields.into_iter();
        let owners = owners.filter(|owner| owner.fields.have_count());
        let owners = owners.map(|o| FieldOwner::new(o.manager, o.time, o.subresource));
        let owners: Vec<_> = owners.collect();
        let sole_mark = match &*owners {
            [owner] => owner.mark.clone(),
            _ => None,
        };
        let marks = owners.iter().map(|owner| owner.mark.clone()).collect();
        // Several may own it, if they set the same; these times sort as text.
        let setter = owners.into_iter().max_by(|a, b| a.time.cmp(&b.time));
        Self {
            uid: metadata.uid,
            resource_version,
            deleting: metadata.deletion_timestamp.is_some(),
            // What the API server takes for one that isn't given.
            replicas: replicas.unwrap_or(1),
            generation: metadata.generation,
            paused,
            restarted_at: template.remove(RESTARTED_AT),
            status,
            last_set_by: setter,
            sole_mark,
            marks,
            managers,
            labels: metadata.labels,
            selector: spec.selector.match_labels,
            annotations: metadata.annotations,
            containers: pod.containers,
            init_containers: pod.init_containers,
        }
    }
}

impl DeploymentObject {
    pub(in crate::kubernetes) fn uid(&self) -> Uuid {
        self.metadata.uid
    }

    pub(in crate::kubernetes) fn resource_version(&self) -> u64 {
        version(&self.metadata.resource_version).unwrap_or(0)
    }

    /// The image of the container or init container of this name.
    pub(in crate::kubernetes) fn image(&self, container: &str) -> Option<&str> {
        let pod = &self.spec.template.read.spec;
        let mut all = pod.containers.iter().chain(&pod.init_containers);
        all.find(|c| c.name == container).map(|c| &*c.image)
    }

    pub(in crate::kubernetes) fn paused(&self) -> bool {
        self.spec.paused
    }

    pub(in crate::kubernetes) fn restarted_at(&self) -> Option<&str> {
        let annotations = &self.spec.template.read.metadata.annotations;
        annotations.get(RESTARTED_AT).map(String::as_str)
    }

    /// Whether its Pod template is this one.
    pub(in crate::kubernetes) fn has_template(&self, template: &Value) -> bool {
        self.spec.template.whole == *template
    }

    pub(in crate::kubernetes) fn replicas(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set_by(managers: &[&str]) -> Details {
        let entries = managers.iter().map(|manager| {
            json!({"manager": manager, "operation": "Apply", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}})
        });
        let object = json!({
            "metadata": {"uid": "8a5d3f3c-4a34-4c1c-9d4e-0f3f6ad7a001", "managedFields": entries.collect::<Vec<_>>()},
            "spec": {"replicas": 3, "template": {"spec": {"containers": []}}},
        });
        Details::of_json(object).unwrap()
    }

    #[test]
    fn a_count_has_the_mark_of_its_write_until_somebody_else_sets_it_even_to_the_same() {
        let marked = "headcount:a@2026-11-28T09:00:00Z#0123456789abcdef";
        let mark = Some("0123456789abcdef");
        assert_eq!(set_by(&[marked]).sole_mark.as_deref(), mark);
        for others in [
            vec![],
            vec!["kubectl"],
            vec!["headcount:a@2026-11-28T09:00:00Z"],
            vec![marked, "kubectl"],
            vec!["headcount:b@2026-11-28T09:01:00Z", marked],
        ] {
            assert_eq!(set_by(&others).sole_mark, None, "{others:?}");
        }
    }
}
