//! May this caller do this? The question, and an answer with its reasons.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use crate::{
    access::{
        Authorization, Bounds, Decision, Effect, Explanation, Permissions, Policy, Rule, Verb,
        Verbs,
    },
    image_reference::{ImageReference, ReferenceError},
    name, selector,
    selector::Labels,
    store::{Annotation, AnnotationBounds},
};

/// What a caller wants to do.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) subject: String,
    pub(super) groups: Vec<String>,
    pub(super) verb: Verb,
    pub(super) namespace: String,
    /// `None`: every Deployment of the namespace.
    pub(super) deployment: Option<String>,
    pub(super) exists: bool,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    /// The count that is, and the one that is to be set.
    pub(super) counts: Option<(i32, i32)>,
    pub(super) image: Option<String>,
}

/// Whether it may, and why.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    pub(super) allowed: bool,
    /// One sentence.
    pub(super) why: String,
    /// The rule that decided, or within whose bounds it isn't.
    pub(super) rule: Option<RuleName>,
    /// The rules before it.
    pub(super) passed_over: Vec<PassedOver>,
    /// The counts that the rule, the server and the annotations allow together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bounds: Option<Bounds>,
}

/// A rule that didn't match.
#[derive(Debug, Clone, Serialize)]
pub(super) struct PassedOver {
    #[serde(flatten)]
    pub(super) rule: RuleName,
    pub(super) why: String,
}

/// A rule's name and its place in the policy, from 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct RuleName {
    pub(super) name: String,
    pub(super) position: usize,
}

/// A question that has no answer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum QuestionError {
    #[error("the subject is empty, and nobody has an empty name: give the name that whoami tells")]
    NoSubject,
    #[error("{0:?} is no namespace: it is a lower-case name of at most 63 characters")]
    Namespace(String),
    #[error("{0:?} is no Deployment's name: it is a lower-case name of at most 253 characters")]
    Deployment(String),
    #[error("{0}={1} is no label, which looks like team=web or example.com/team=web")]
    Label(String, String),
    #[error(
        "there is no annotation {0}: those that count are headcount/min-replicas, headcount/max-replicas and headcount/protected"
    )]
    Annotation(String),
    #[error(
        "a missing Deployment has neither labels nor annotations nor a count: leave them out, or say that it exists"
    )]
    Missing,
    #[error(
        "counts are judged for the verb scale alone, from 0 to 2147483647, and need the Deployment's name"
    )]
    Counts,
    #[error("from and to belong together: give both, or neither to judge no count")]
    OneCount,
    #[error("an image is judged for the verb image alone, and needs the Deployment's name")]
    ImageVerb,
    #[error("{0:?} is no image: {1}")]
    Image(String, ReferenceError),
    #[error(
        "it depends on the Deployment, of which some are allowed and some are denied: name one"
    )]
    Depends,
    #[error(
        "authorization.mode is kubernetes, so that the cluster decides: ask it with `kubectl auth can-i`"
    )]
    Kubernetes,
}

impl Question {
    /// The answer.
    ///
    /// # Errors
    ///
    /// When the question makes no sense, or isn't the configuration's to decide.
    pub(super) fn ask(
        &self,
        authorization: &Authorization,
        server: &Bounds,
    ) -> Result<Answer, QuestionError> {
        self.check()?;
        match (authorization, &self.deployment) {
            (Authorization::Kubernetes(_), _) => Err(QuestionError::Kubernetes),
            (Authorization::Any(verbs), _) => Ok(self.in_mode_any(*verbs, server)),
            (Authorization::Policy(policy), Some(deployment)) => {
                Ok(self.by_rules(policy, deployment, server))
            }
            (Authorization::Policy(policy), None) => self.of_namespace(policy),
        }
    }

    fn check(&self) -> Result<(), QuestionError> {
        if self.subject.is_empty() {
            return Err(QuestionError::NoSubject);
        }
        if !name::is_namespace(&self.namespace) {
            return Err(QuestionError::Namespace(self.namespace.clone()));
        }
        if let Some(name) = self.deployment.as_ref().filter(|n| !name::is_deployment(n)) {
            return Err(QuestionError::Deployment(name.clone()));
        }
        let is_label = |key: &str, value: &str| selector::is_key(key) && selector::is_value(value);
        if let Some((key, value)) = self.labels.iter().find(|(k, v)| !is_label(k, v)) {
            return Err(QuestionError::Label(key.clone(), value.clone()));
        }
        let known = |key: &str| Annotation::ALL.iter().any(|a| a.key() == key);
        let misspelt = |key: &&String| key.starts_with("headcount/") && !known(key);
        if let Some(key) = self.annotations.keys().find(misspelt) {
            return Err(QuestionError::Annotation(key.clone()));
        }
        let described = !self.labels.is_empty() || !self.annotations.is_empty();
        if !self.exists && (described || self.counts.is_some()) {
            return Err(QuestionError::Missing);
        }
        let named = self.deployment.is_some();
        if let Some((from, to)) = self.counts
            && (self.verb != Verb::Scale || from < 0 || to < 0 || !named)
        {
            return Err(QuestionError::Counts);
        }
        match &self.image {
            Some(_) if self.verb != Verb::Image || !named => Err(QuestionError::ImageVerb),
            Some(image) => match ImageReference::parse(image) {
                Ok(_) => Ok(()),
                Err(why) => Err(QuestionError::Image(image.clone(), why)),
            },
            None => Ok(()),
        }
    }

    fn in_mode_any(&self, verbs: Verbs, server: &Bounds) -> Answer {
        let permissions = Permissions::any(verbs);
        let decision = permissions.decide(self.verb, &self.namespace, "", None);
        let verb = self.verb;
        let why = if decision.is_allowed() {
            format!("mode any allows {verb} to any client of a known CA")
        } else {
            format!("mode any doesn't allow {verb} unless it is enabled: --enable {verb}")
        };
        self.bounded(decision, why, Vec::new(), server)
    }

    fn by_rules(&self, policy: &Policy, deployment: &str, server: &Bounds) -> Answer {
        let labels: Option<&dyn Labels> = if self.exists {
            Some(&self.labels)
        } else {
            None
        };
        let Explanation {
            passed_over,
            decision,
        } = policy.explain(
            (&self.subject, &self.groups),
            self.verb,
            &self.namespace,
            deployment,
            labels,
        );
        let passed_over = passed_over.into_iter().map(|(rule, why)| PassedOver {
            rule: RuleName::of(rule),
            why: why.to_string(),
        });
        let why = match decision.rule() {
            None => "no rule matches, and what no rule allows is denied".to_owned(),
            Some(rule) if rule.effect() == Effect::Allow => {
                format!("{} allows it", RuleName::of(rule))
            }
            Some(rule) => format!("{} denies it", RuleName::of(rule)),
        };
        self.bounded(decision, why, passed_over.collect(), server)
    }

    fn of_namespace(&self, policy: &Policy) -> Result<Answer, QuestionError> {
        let permissions = policy.permissions(&self.subject, &self.groups);
        let allowed = permissions
            .sees_namespace(self.verb, &self.namespace)
            .ok_or(QuestionError::Depends)?;
        let verb = self.verb;
        Ok(Answer {
            allowed,
            why: if allowed {
                format!("{verb} is allowed for every Deployment of the namespace")
            } else {
                format!("{verb} is denied for every Deployment of the namespace")
            },
            rule: None,
            passed_over: Vec::new(),
            bounds: None,
        })
    }

    /// The answer once an allowed change is judged by the bounds, too.
    fn bounded(
        &self,
        decision: Decision<'_>,
        why: String,
        passed_over: Vec<PassedOver>,
        server: &Bounds,
    ) -> Answer {
        let value = |which: Annotation| self.annotations.get(which.key()).map(String::as_bytes);
        let [min, max, protected] = Annotation::ALL.map(value);
        let annotations = AnnotationBounds::read(min, max, protected);
        let violation = if decision.is_allowed() {
            self.violation(decision, &annotations, server)
        } else {
            None
        };
        let rules = decision.rule().map(Rule::bounds).unwrap_or_default();
        let bounds = server
            .narrowed_by(&rules)
            .narrowed_by(&annotations.bounds());
        Answer {
            allowed: decision.is_allowed() && violation.is_none(),
            why: match violation {
                Some(violation) => format!("{why}, but {violation}"),
                None => why,
            },
            rule: decision.rule().map(RuleName::of),
            passed_over,
            bounds: (self.verb == Verb::Scale && decision.is_allowed()).then_some(bounds),
        }
    }

    fn violation(
        &self,
        decision: Decision<'_>,
        annotations: &AnnotationBounds,
        server: &Bounds,
    ) -> Option<String> {
        if matches!(self.verb, Verb::Get | Verb::List | Verb::Watch) {
            return None;
        }
        let within = match self.counts {
            Some((from, to)) => decision.judge_count(from, to, annotations, server),
            None => annotations.judge_change(),
        };
        if let Err(violation) = within {
            return Some(violation.to_string());
        }
        let image = ImageReference::parse(self.image.as_ref()?).ok()?;
        let judged = decision
            .images()?
            .judge(image.repository(), image.tag(), image.digest());
        judged.err().map(|violation| violation.to_string())
    }
}

impl RuleName {
    fn of(rule: &Rule) -> Self {
        Self {
            name: rule.name().to_owned(),
            position: rule.position(),
        }
    }
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {} ({:?})", self.position, self.name)
    }
}
