//! SubjectAccessReviews: what was asked, and who decides it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::cluster::{Shared, lock};
use crate::json;
use crate::status::Status;

pub(crate) const GROUP: &str = "authorization.k8s.io";
const KIND: &str = "SubjectAccessReview";
/// How many reviews are remembered.
const REMEMBERED: usize = 10_000;

/// Who wants to do what, as it was asked. What the question leaves out is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccessReview {
    /// The user.
    pub user: String,
    /// The groups, in their order.
    pub groups: Vec<String>,
    /// RBAC's verb.
    pub verb: String,
    /// The API group.
    pub group: String,
    /// The resource, with a subresource after a slash.
    pub resource: String,
    /// The namespace; empty for all.
    pub namespace: String,
    /// The object; empty for all.
    pub name: String,
}

/// What is decided. The default has no opinion: not allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Whether it is denied whatever others say.
    pub denied: bool,
    /// Why.
    pub reason: String,
    /// What went wrong meanwhile.
    pub evaluation_error: String,
}

impl Verdict {
    /// A yes or a no, without more words.
    pub fn allowed(allowed: bool) -> Self {
        Self {
            allowed,
            ..Self::default()
        }
    }
}

type Decide = dyn Fn(&AccessReview) -> Verdict + Send + Sync;

/// Who decides, and what was asked.
pub(crate) struct Authorizer {
    decide: Mutex<Arc<Decide>>,
    seen: Mutex<VecDeque<AccessReview>>,
}

impl Default for Authorizer {
    fn default() -> Self {
        Self {
            decide: Mutex::new(Arc::new(|_| Verdict::allowed(true))),
            seen: Mutex::default(),
        }
    }
}

impl fmt::Debug for Authorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorizer").finish_non_exhaustive()
    }
}

impl Authorizer {
    pub(crate) fn set(&self, decide: impl Fn(&AccessReview) -> Verdict + Send + Sync + 'static) {
        *lock(&self.decide) = Arc::new(decide);
    }

    pub(crate) fn seen(&self) -> Vec<AccessReview> {
        lock(&self.seen).iter().cloned().collect()
    }

    fn decide(&self, review: AccessReview) -> Verdict {
        let decide = lock(&self.decide).clone();
        let verdict = decide(&review);
        let mut seen = lock(&self.seen);
        if seen.len() == REMEMBERED {
            seen.pop_front();
        }
        seen.push_back(review);
        verdict
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    user: String,
    groups: Vec<String>,
    resource_attributes: Option<Attributes>,
    non_resource_attributes: Option<NonResourceAttributes>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct NonResourceAttributes {
    path: String,
    verb: String,
}

/// What a review is about.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Attributes {
    pub(crate) verb: String,
    pub(crate) group: String,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) namespace: String,
    name: String,
}

/// Answers a POST: the review, with its verdict.
pub(crate) fn answer(shared: &Shared, mut body: Value) -> Result<Value, Status> {
    json::expect_kind(&body, KIND, "authorization.k8s.io/v1")?;
    let spec: Spec = serde_json::from_value(body["spec"].clone()).map_err(|error| {
        Status::bad_request(format!(
            "{KIND} in version \"v1\" cannot be handled as a {KIND}: json: {error}"
        ))
    })?;
    let invalid = |field: &str, why: &str| {
        let body = format!("Invalid value: {why}");
        // Its kind stays unsaid, as kube-apiserver has it.
        Status::invalid(GROUP, "", "", field, "FieldValueInvalid", &body)
    };
    let attributes = match (spec.resource_attributes, spec.non_resource_attributes) {
        (Some(attributes), None) => attributes,
        (Some(_), Some(NonResourceAttributes { path, verb })) => {
            let found = json!({ "Path": path, "Verb": verb });
            return Err(invalid(
                "spec.nonResourceAttributes",
                &format!("{found}: cannot be specified in combination with resourceAttributes"),
            ));
        }
        (None, _) => {
            return Err(invalid(
                "spec.resourceAttributes",
                "null: exactly one of nonResourceAttributes or resourceAttributes must be specified",
            ));
        }
    };
    if spec.user.is_empty() && spec.groups.is_empty() {
        return Err(invalid(
            "spec.user",
            "\"\": at least one of user or group must be specified",
        ));
    }
    let slash = if attributes.subresource.is_empty() {
        ""
    } else {
        "/"
    };
    let verdict = shared.authorizer.decide(AccessReview {
        user: spec.user,
        groups: spec.groups,
        verb: attributes.verb,
        group: attributes.group,
        resource: format!("{}{slash}{}", attributes.resource, attributes.subresource),
        namespace: attributes.namespace,
        name: attributes.name,
    });
    body["metadata"] = json!({});
    body["status"] = json!({ "allowed": verdict.allowed });
    if verdict.denied {
        body["status"]["denied"] = true.into();
    }
    for (field, words) in [
        ("reason", verdict.reason),
        ("evaluationError", verdict.evaluation_error),
    ] {
        if !words.is_empty() {
            body["status"][field] = words.into();
        }
    }
    Ok(body)
}
