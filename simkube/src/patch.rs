//! Patches: JSON merge patches, and the strategic ones that know the lists of a Pod template.

use serde_json::Value;

use crate::json;

/// Lists whose items are merged by their `name`; others are replaced. Of the directives, `$patch: replace` alone is simulated.
const BY_NAME: &[&str] = &["containers", "initContainers", "env", "volumes"];

/// The media type of what is applied server-side.
pub(crate) const APPLY: &str = "application/apply-patch+yaml";

/// A change to an object.
#[derive(Clone, Debug)]
pub(crate) enum Patch {
    /// RFC 7386.
    Merge(Value),
    /// `application/strategic-merge-patch+json`.
    Strategic(Value),
}

impl Patch {
    /// What makes one of a body of this media type, if that is simulated.
    pub(crate) fn of(media_type: &str) -> Option<fn(Value) -> Self> {
        match media_type {
            // What is applied to a Scale is one number.
            "application/merge-patch+json" | APPLY => Some(Self::Merge),
            "application/strategic-merge-patch+json" => Some(Self::Strategic),
            _ => None,
        }
    }

    pub(crate) fn apply(&self, target: &mut Value) {
        match self {
            Self::Merge(patch) => json::merge(target, patch.clone()),
            Self::Strategic(patch) => merge(target, patch),
        }
    }
}

fn merge(target: &mut Value, patch: &Value) {
    let (Some(into), Some(patch)) = (target.as_object_mut(), patch.as_object()) else {
        *target = patch.clone();
        return;
    };
    if patch
        .get("$patch")
        .is_some_and(|directive| directive == "replace")
    {
        let mut whole = patch.clone();
        whole.remove("$patch");
        *into = whole;
        return;
    }
    for (key, value) in patch {
        match (into.get_mut(key), value) {
            (_, Value::Null) => {
                into.remove(key);
            }
            (Some(Value::Array(list)), Value::Array(items)) if BY_NAME.contains(&key.as_str()) => {
                for item in items {
                    match list.iter_mut().find(|one| one["name"] == item["name"]) {
                        Some(one) => merge(one, item),
                        None => list.push(item.clone()),
                    }
                }
            }
            (Some(one), _) => merge(one, value),
            (None, _) => {
                into.insert(key.clone(), value.clone());
            }
        }
    }
}
