//! HorizontalPodAutoscalers: listed and watched, set by tests. Nobody here acts on them.

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::objects::Kind;

/// HorizontalPodAutoscalers.
pub(crate) static KIND: Kind = Kind {
    group: "autoscaling",
    api_version: "autoscaling/v2",
    kind: "HorizontalPodAutoscaler",
    resource: "horizontalpodautoscalers",
    of: |shared| &shared.autoscalers,
};

impl Cluster {
    /// Creates or replaces a HorizontalPodAutoscaler with this spec and these owner references, which are JSON as Kubernetes has
    /// them; its version.
    pub fn set_autoscaler(&self, namespace: &str, name: &str, spec: Value, owners: Value) -> u64 {
        let mut object = json!({
            "kind": KIND.kind, "apiVersion": KIND.api_version,
            "metadata": { "namespace": namespace, "name": name, "ownerReferences": owners },
            "spec": spec, "status": { "currentReplicas": 0, "desiredReplicas": 0 },
        });
        let shared = &self.shared;
        let mut all = shared.autoscalers.lock();
        all.put(shared, namespace, name, &mut object);
        let version = object["metadata"]["resourceVersion"].as_str();
        version
            .and_then(|version| version.parse().ok())
            .unwrap_or(0)
    }

    /// Deletes a HorizontalPodAutoscaler; the version that this made, or `None` if it is absent.
    pub fn delete_autoscaler(&self, namespace: &str, name: &str) -> Option<u64> {
        let shared = &self.shared;
        shared.autoscalers.lock().remove(shared, namespace, name)
    }

    /// Ends the open watches of HorizontalPodAutoscalers; with `expired`, later ones can't go on from an older version than now.
    pub fn end_autoscaler_watches(&self, expired: bool) {
        self.shared.autoscalers.end_watches(&self.shared, expired);
    }
}
