//! SelfSubjectAccessReviews and SelfSubjectRulesReviews: what whoever calls this API may do in it.

use std::sync::Mutex;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::cluster::{Shared, lock};
use crate::json;
use crate::review::Attributes;
use crate::status::Status;

const API_VERSION: &str = "authorization.k8s.io/v1";
pub(crate) const ACCESS: &str = "SelfSubjectAccessReview";
pub(crate) const RULES: &str = "SelfSubjectRulesReview";

/// One rule of what callers of this API may do; `*` stands for everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnRule {
    /// The namespace in which it holds; none: in all of them.
    pub namespace: Option<String>,
    /// The API group.
    pub group: String,
    /// The resource, with a subresource after a slash.
    pub resource: String,
    /// RBAC's verbs.
    pub verbs: Vec<String>,
}

impl OwnRule {
    /// A rule that holds in all namespaces.
    pub fn new(group: &str, resource: &str, verbs: &[&str]) -> Self {
        Self {
            namespace: None,
            group: group.to_owned(),
            resource: resource.to_owned(),
            verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        }
    }

    /// The same in one namespace alone.
    #[must_use]
    pub fn within(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    fn holds_in(&self, namespace: &str) -> bool {
        self.namespace.as_ref().is_none_or(|own| own == namespace)
    }

    fn allows(&self, asked: &Attributes, resource: &str) -> bool {
        let is = |rule: &str, asked: &str| rule == "*" || rule == asked;
        self.holds_in(&asked.namespace)
            && is(&self.group, &asked.group)
            && is(&self.resource, resource)
            && self.verbs.iter().any(|verb| is(verb, &asked.verb))
    }
}

/// What callers may do; they aren't held to it, only told.
#[derive(Debug)]
pub(crate) struct OwnRules(Mutex<Vec<OwnRule>>);

impl Default for OwnRules {
    fn default() -> Self {
        Self(Mutex::new(vec![OwnRule::new("*", "*", &["*"])]))
    }
}

impl OwnRules {
    pub(crate) fn set(&self, rules: Vec<OwnRule>) {
        *lock(&self.0) = rules;
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    resource_attributes: Option<Attributes>,
    namespace: String,
}

/// Answers a POST of either kind: the review, with its status.
pub(crate) fn answer(shared: &Shared, kind: &str, mut body: Value) -> Result<Value, Status> {
    json::expect_kind(&body, kind, API_VERSION)?;
    let spec: Spec = serde_json::from_value(body["spec"].clone()).map_err(|error| {
        Status::bad_request(format!(
            "{kind} in version \"v1\" cannot be handled as a {kind}: json: {error}"
        ))
    })?;
    let rules = lock(&shared.own_rules.0);
    let status = if kind == ACCESS {
        let Some(asked) = spec.resource_attributes else {
            return Err(Status::bad_request("spec.resourceAttributes is missing"));
        };
        let slash = if asked.subresource.is_empty() {
            ""
        } else {
            "/"
        };
        let resource = format!("{}{slash}{}", asked.resource, asked.subresource);
        json!({ "allowed": rules.iter().any(|rule| rule.allows(&asked, &resource)) })
    } else {
        if spec.namespace.is_empty() {
            return Err(Status::bad_request("no namespace on request"));
        }
        let held = rules.iter().filter(|rule| rule.holds_in(&spec.namespace));
        let rules: Vec<_> = held
            .map(|rule| json!({ "verbs": rule.verbs, "apiGroups": [rule.group], "resources": [rule.resource] }))
            .collect();
        json!({ "resourceRules": rules, "nonResourceRules": [], "incomplete": false })
    };
    body["metadata"] = json!({});
    body["status"] = status;
    Ok(body)
}
