//! Whether a tool that applies a Deployment from elsewhere sets its count too, as far as the Deployment itself tells.

use serde::{Deserialize, de::IgnoredAny};

use super::Details;

/// What client-side applies leave: the object as it was given (`kubectl apply`, and Argo CD unless it applies server-side).
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// An entry of managed fields that isn't of a subresource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manager {
    /// As it calls itself.
    pub name: String,
    /// Whether it applies server-side: then it owns what it states, and nothing else.
    pub applies: bool,
    /// When the entry changed last (RFC 3339).
    pub time: Option<String>,
    /// Whether it owns the count.
    pub owns_count: bool,
}

impl Details {
    /// Whether what this manager applies has a count; `None` if that can't be known.
    ///
    /// Whoever sets another count takes it from the manager that stated one, until that applies again. So a server-side apply
    /// proves that it states none if nobody owns the count, or if it is newer than the count. A manager without an entry is taken
    /// for one that does: nothing speaks against it.
    pub fn applied_count(&self, manager: &str) -> Option<bool> {
        let own: Vec<_> = self.managers.iter().filter(|m| m.name == manager).collect();
        let applied = own.iter().find(|m| m.applies);
        let Some(applied) = applied else {
            return match self.annotations.get(LAST_APPLIED) {
                Some(last) if !own.is_empty() => states_count(last),
                // Others own the defaults of what they create, too: what they own they may not have stated.
                _ if own.iter().all(|m| m.owns_count) => Some(true),
                _ => None,
            };
        };
        if applied.owns_count {
            return Some(true);
        }
        let set_at = self.last_set_by.as_ref().map(|setter| &setter.time);
        // These times sort as text, and have whole seconds.
        let newer = set_at.is_none_or(|at| at.is_some() && *at < applied.time);
        newer.then_some(false)
    }
}

fn states_count(configuration: &str) -> Option<bool> {
    #[derive(Deserialize)]
    struct Applied {
        spec: Spec,
    }
    #[derive(Deserialize)]
    struct Spec {
        replicas: Option<IgnoredAny>,
    }
    let applied: Applied = serde_json::from_str(configuration).ok()?;
    Some(applied.spec.replicas.is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const FLUX: &str = "kustomize-controller";

    fn entry(manager: &str, operation: &str, second: u32, count: bool) -> Value {
        let spec = if count {
            json!({"f:replicas": {}, "f:template": {}})
        } else {
            json!({"f:template": {}})
        };
        json!({"manager": manager, "operation": operation, "time": format!("2026-11-28T09:00:{second:02}Z"),
            "fieldsV1": {"f:spec": spec}})
    }

    fn status(manager: &str, second: u32) -> Value {
        json!({"manager": manager, "operation": "Update", "subresource": "status",
            "time": format!("2026-11-28T09:00:{second:02}Z"), "fieldsV1": {"f:status": {}}})
    }

    fn applied(manager: &str, managed: &[Value], last: Option<&str>) -> Option<bool> {
        let annotations = last.map_or(json!({}), |last| json!({ LAST_APPLIED: last }));
        let details = Details::of_json(json!({
            "metadata": {"uid": uuid::Uuid::nil(), "managedFields": managed, "annotations": annotations},
            "spec": {"replicas": 3, "template": {"spec": {"containers": []}}},
        }));
        details.unwrap().applied_count(manager)
    }

    #[test]
    fn who_applies_a_count_owns_it_and_who_owns_none_after_it_was_set_applies_none() {
        let other = |second| entry("headcount:alice", "Update", second, true);
        let flux = |second, count| entry(FLUX, "Apply", second, count);
        for (managed, expected) in [
            (vec![flux(1, true)], Some(true)),
            (vec![flux(1, true), other(2)], Some(true)),
            (vec![flux(1, false)], Some(false)),
            (vec![other(1), flux(2, false)], Some(false)),
            // Whoever set the count may have taken it from the tool.
            (vec![flux(1, false), other(2)], None),
            (vec![flux(2, false), other(2)], None),
            // Nothing is known of it.
            (vec![], Some(true)),
            (vec![other(1)], Some(true)),
            (vec![other(1), status(FLUX, 2)], Some(true)),
            (vec![entry("flux", "Apply", 2, false)], Some(true)),
        ] {
            assert_eq!(applied(FLUX, &managed, None), expected, "{managed:?}");
        }
    }

    #[test]
    fn of_a_client_side_apply_the_last_applied_object_tells() {
        let argo = |count| [entry("argocd-controller", "Update", 1, count)];
        let with = Some(r#"{"kind":"Deployment","spec":{"replicas":3}}"#);
        let without = Some(r#"{"kind":"Deployment","spec":{"replicas":null,"paused":false}}"#);
        let of = |count, last| applied("argocd-controller", &argo(count), last);
        assert_eq!(of(false, with), Some(true));
        assert_eq!(of(true, without), Some(false));
        assert_eq!(of(true, Some("{")), None);
        // It owns the defaults of what it has created.
        assert_eq!(of(true, None), Some(true));
        assert_eq!(of(false, None), None);
        let foreign = applied("argocd-controller", &[], without);
        assert_eq!(foreign, Some(true), "somebody else's apply says nothing");
    }
}
