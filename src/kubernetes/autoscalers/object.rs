//! HorizontalPodAutoscalers in JSON: the few fields that are read, and what is kept of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::Deserialize;

use super::{Autoscaler, AutoscalerKind};
use crate::name;

/// Namespace and name of a HorizontalPodAutoscaler.
pub(super) type Key = (Box<str>, Box<str>);

/// What is kept of a HorizontalPodAutoscaler.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) deployment: Box<str>,
    pub(super) autoscaler: Autoscaler,
}

/// Objects by their keys; those that scale something else than Deployments aren't kept.
pub(super) type Objects = BTreeMap<Key, Arc<Target>>;

/// Names of namespaces.
pub(super) type Namespaces = BTreeSet<Box<str>>;

/// What is kept of a namespace, in the order of the objects' names.
pub(super) fn of_namespace(objects: &Objects, namespace: &str) -> Vec<Arc<Target>> {
    let from: Key = (namespace.into(), "".into());
    let own = objects
        .range(from..)
        .take_while(|((n, _), _)| **n == *namespace);
    own.map(|(_, target)| Arc::clone(target)).collect()
}

/// Applies an event; the namespace if something changed there that is kept.
pub(super) fn apply(objects: &mut Objects, object: Object, deleted: bool) -> Option<Box<str>> {
    let key = object.key();
    let target = object.target().filter(|_| !deleted);
    let news = match target {
        // Their status changes all the time, which is no news here.
        Some((_, target)) if objects.get(&key).is_some_and(|known| **known == target) => false,
        Some((_, target)) => {
            objects.insert(key.clone(), Arc::new(target));
            true
        }
        None => objects.remove(&key).is_some(),
    };
    news.then_some(key.0)
}

/// The fields of a HorizontalPodAutoscaler that are read.
#[derive(Deserialize)]
pub(super) struct Object {
    metadata: Metadata,
    #[serde(default)]
    spec: Option<Spec>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    namespace: Box<str>,
    #[serde(default)]
    name: Box<str>,
    resource_version: String,
    #[serde(default)]
    owner_references: Vec<Reference>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    scale_target_ref: Reference,
    #[serde(default)]
    min_replicas: Option<i32>,
    max_replicas: i32,
    #[serde(default)]
    behavior: Option<Behavior>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Behavior {
    #[serde(default)]
    scale_up: Option<ScalingRules>,
    #[serde(default)]
    scale_down: Option<ScalingRules>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScalingRules {
    #[serde(default)]
    select_policy: Option<String>,
}

/// Whether it scales in this direction at all.
fn scales(rules: Option<ScalingRules>) -> bool {
    let policy = rules.and_then(|rules| rules.select_policy);
    policy.as_deref() != Some("Disabled")
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    name: Box<str>,
}

impl Reference {
    /// Whether it is of this group, in whichever version, and kind.
    fn is(&self, group: &str, kind: &str) -> bool {
        let version = self.api_version.strip_prefix(group);
        self.kind == kind && version.is_some_and(|version| version.starts_with('/'))
    }
}

impl Object {
    pub(super) fn version(&self) -> &str {
        &self.metadata.resource_version
    }

    fn key(&self) -> Key {
        (self.metadata.namespace.clone(), self.metadata.name.clone())
    }

    /// What is kept of it, if it scales a Deployment.
    pub(super) fn target(self) -> Option<(Key, Target)> {
        let key = self.key();
        let (metadata, spec) = (self.metadata, self.spec?);
        let target = spec.scale_target_ref;
        if !target.is("apps", "Deployment") {
            return None;
        }
        let mut owners = metadata.owner_references.into_iter();
        let scaled = owners.find(|owner| owner.is("keda.sh", "ScaledObject"));
        let (kind, own) = match scaled {
            Some(owner) => (AutoscalerKind::ScaledObject, owner.name),
            None => (AutoscalerKind::HorizontalPodAutoscaler, metadata.name),
        };
        // In headers and messages names stand as they are.
        if !name::is_deployment(&own) {
            return None;
        }
        let behavior = spec.behavior.unwrap_or_default();
        let autoscaler = Autoscaler {
            kind,
            name: own,
            min: spec.min_replicas.unwrap_or(1),
            max: spec.max_replicas,
            raises: scales(behavior.scale_up),
            lowers: scales(behavior.scale_down),
        };
        let deployment = target.name;
        Some((
            key,
            Target {
                deployment,
                autoscaler,
            },
        ))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(change: impl FnOnce(&mut serde_json::Value)) -> Option<Target> {
        let mut object = json!({
            "metadata": {"namespace": "shop", "name": "cart-scaler", "resourceVersion": "7"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "cart"},
                "minReplicas": 2, "maxReplicas": 10,
            },
            "status": {"currentReplicas": 3},
        });
        change(&mut object);
        let object: Object = serde_json::from_value(object).unwrap();
        object.target().map(|(_, target)| target)
    }

    #[test]
    fn only_what_scales_deployments_counts() {
        let target = object(|_| {}).unwrap();
        assert_eq!(&*target.deployment, "cart");
        assert_eq!(&*target.autoscaler.name, "cart-scaler");
        assert_eq!((target.autoscaler.min, target.autoscaler.max), (2, 10));
        for (key, other) in [
            ("kind", "StatefulSet"),
            ("apiVersion", "apps.example.org/v1"),
            ("apiVersion", "v1"),
        ] {
            let none = object(|o| o["spec"]["scaleTargetRef"][key] = other.into());
            assert_eq!(none, None, "{other}");
        }
    }

    #[test]
    fn without_a_least_count_it_is_one() {
        let target = object(|o| o["spec"]["minReplicas"] = serde_json::Value::Null).unwrap();
        assert_eq!(target.autoscaler.min, 1);
    }

    #[test]
    fn a_direction_that_is_disabled_is_not_scaled_in() {
        let directions = |behavior: serde_json::Value| {
            let target = object(|o| o["spec"]["behavior"] = behavior).unwrap();
            (target.autoscaler.raises, target.autoscaler.lowers)
        };
        let disabled = json!({"selectPolicy": "Disabled"});
        assert_eq!(directions(json!(null)), (true, true));
        assert_eq!(
            directions(json!({"scaleUp": {"selectPolicy": "Max"}, "scaleDown": null})),
            (true, true)
        );
        assert_eq!(directions(json!({ "scaleUp": disabled })), (false, true));
        assert_eq!(directions(json!({ "scaleDown": disabled })), (true, false));
    }

    #[test]
    fn it_acts_on_what_it_may_change_and_on_what_is_out_of_its_bounds() {
        let scaler = |min, max, raises, lowers| {
            let scaler = object(|_| {}).unwrap().autoscaler;
            Autoscaler {
                min,
                max,
                raises,
                lowers,
                ..scaler
            }
        };
        let acts = |scaler: &Autoscaler, counts: &[i32]| -> Vec<i32> {
            let acts = counts.iter().filter(|count| scaler.acts_on(**count));
            acts.copied().collect()
        };
        let counts = [0, 1, 2, 3, 4, 5];
        assert_eq!(acts(&scaler(2, 4, true, true), &counts), [1, 2, 3, 4, 5]);
        assert_eq!(acts(&scaler(2, 4, true, false), &counts), [1, 2, 3, 5]);
        assert_eq!(acts(&scaler(2, 4, false, true), &counts), [1, 3, 4, 5]);
        assert_eq!(acts(&scaler(2, 4, false, false), &counts), [1, 5]);
        assert_eq!(acts(&scaler(3, 3, true, true), &counts), [1, 2, 4, 5]);
        assert_eq!(acts(&scaler(0, 2, true, true), &counts), counts);
        let keda = Autoscaler {
            kind: AutoscalerKind::ScaledObject,
            ..scaler(1, 1, false, false)
        };
        assert_eq!(acts(&keda, &counts), counts);
    }

    #[test]
    fn what_keda_keeps_is_known_by_its_scaled_object() {
        let owner = json!([{"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "name": "orders", "uid": "1"}]);
        let target = object(|o| o["metadata"]["ownerReferences"] = owner).unwrap();
        assert_eq!(target.autoscaler.kind, AutoscalerKind::ScaledObject);
        assert_eq!(&*target.autoscaler.name, "orders");
        let other = json!([{"apiVersion": "example.org/v1", "kind": "ScaledObject", "name": "orders", "uid": "1"}]);
        let target = object(|o| o["metadata"]["ownerReferences"] = other).unwrap();
        assert_eq!(
            target.autoscaler.kind,
            AutoscalerKind::HorizontalPodAutoscaler
        );
    }

    #[test]
    fn a_status_alone_is_no_news() {
        let mut objects = Objects::new();
        for (max, deleted, news) in [
            (5, false, true),
            (5, false, false),
            (6, false, true),
            (6, true, true),
            (6, true, false),
        ] {
            let object = json!({
                "metadata": {"namespace": "shop", "name": "scaler", "resourceVersion": "8"},
                "spec": {
                    "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "cart"},
                    "maxReplicas": max,
                },
            });
            let object: Object = serde_json::from_value(object).unwrap();
            let changed = apply(&mut objects, object, deleted);
            assert_eq!(changed.is_some(), news, "{max} {deleted}");
        }
        assert!(objects.is_empty());
    }
}
