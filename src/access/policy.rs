//! Rules → decisions: the first rule that matches the caller, the verb and the Deployment decides; where none does, it is denied.
//!
//! Pure: reads no file, keeps no state, asks nobody.

mod glob;
mod rule;
mod unreachable;

use std::{collections::BTreeSet, sync::Arc};

use serde::Serialize;

pub(super) use glob::Glob;
pub(crate) use rule::Subject;
pub use rule::{Effect, Mismatch, Rule};
pub use unreachable::Unreachable;

use super::{Bounds, BoundsViolation, ImageRules, SetBy, Verb, Verbs};
use crate::{selector::Labels, store::AnnotationBounds};

/// Ordered rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    rules: Box<[Arc<Rule>]>,
}

/// What one caller may do: the rules that are about it. Made once a connection and generation of the policy; cheap to clone.
#[derive(Debug, Clone)]
pub struct Permissions {
    /// `None`: every Deployment, without bounds.
    rules: Option<Arc<[Arc<Rule>]>>,
    /// What may be allowed for some Deployment; without rules, for every one.
    ever: Verbs,
    /// Whether a rule has a label selector.
    labels: bool,
}

/// Whether something may be done, and which rule says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision<'p> {
    allowed: bool,
    rule: Option<&'p Rule>,
}

/// A decision, and why the rules before did not decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation<'p> {
    /// The rules that don't match, in order, up to the one that decides.
    pub passed_over: Vec<(&'p Rule, Mismatch)>,
    /// The decision.
    pub decision: Decision<'p>,
}

/// What a rule allows or denies to a caller, without whom else it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleSummary<'p> {
    /// The rule's name; none in mode `any`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<&'p str>,
    /// What it decides.
    pub effect: Effect,
    /// The verbs.
    pub verbs: Verbs,
    /// Patterns of namespaces; none: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<Vec<String>>,
    /// Patterns of Deployments' names; none: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployments: Option<Vec<String>>,
    /// Which Deployments by their labels; none: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_selector: Option<&'p str>,
    /// Which counts may be set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bounds: Option<Bounds>,
    /// Which images may be set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<&'p ImageRules>,
}

impl Policy {
    pub(super) fn new(rules: Vec<Rule>) -> Self {
        Self {
            rules: rules.into_iter().map(Arc::new).collect(),
        }
    }

    /// What the principal of this name and these groups may do.
    pub fn permissions(&self, name: &str, groups: &[String]) -> Permissions {
        let mine: Arc<[_]> = self
            .rules
            .iter()
            .filter(|rule| rule.is_about(name, groups))
            .map(Arc::clone)
            .collect();
        let (mut ever, mut closed) = (Verbs::default(), Verbs::default());
        for rule in mine.iter() {
            match rule.effect {
                Effect::Allow => ever = ever.with(rule.verbs.without(closed)),
                Effect::Deny if rule.is_in_all_namespaces() && rule.takes_every_deployment() => {
                    closed = closed.with(rule.verbs);
                }
                Effect::Deny => {}
            }
        }
        Permissions {
            labels: mine.iter().any(|rule| rule.selector.is_some()),
            rules: Some(mine),
            ever,
        }
    }

    /// The decision, and why each rule before the one that decides didn't match. Without labels the Deployment doesn't exist.
    pub fn explain(
        &self,
        (name, groups): (&str, &[String]),
        verb: Verb,
        namespace: &str,
        deployment: &str,
        labels: Option<&dyn Labels>,
    ) -> Explanation<'_> {
        let mut passed_over = Vec::new();
        for rule in &self.rules {
            let mismatch = if rule.is_about(name, groups) {
                rule.mismatch(verb, namespace, deployment, labels)
            } else {
                Some(Mismatch::Subject)
            };
            match mismatch {
                Some(mismatch) => passed_over.push((&**rule, mismatch)),
                None => {
                    return Explanation {
                        passed_over,
                        decision: Decision::of(rule),
                    };
                }
            }
        }
        Explanation {
            passed_over,
            decision: Decision::DENIED,
        }
    }

    /// The keys of the labels that some rule looks at: what must be known of a Deployment.
    pub fn label_keys(&self) -> BTreeSet<&str> {
        let selectors = self.rules.iter().filter_map(|rule| rule.selector.as_ref());
        selectors.flat_map(|selector| selector.keys()).collect()
    }

    /// The rules, in order.
    pub fn rules(&self) -> impl ExactSizeIterator<Item = &Rule> {
        self.rules.iter().map(|rule| &**rule)
    }
}

impl Permissions {
    /// These verbs for every Deployment, without bounds: mode `any`.
    pub fn any(verbs: Verbs) -> Self {
        Self {
            rules: None,
            ever: verbs,
            labels: false,
        }
    }

    /// Whether this may be done to this Deployment. Without labels the Deployment doesn't exist.
    #[inline]
    pub fn decide(
        &self,
        verb: Verb,
        namespace: &str,
        deployment: &str,
        labels: Option<&dyn Labels>,
    ) -> Decision<'_> {
        let Some(rules) = &self.rules else {
            return Decision {
                allowed: self.ever.contains(verb),
                rule: None,
            };
        };
        rules
            .iter()
            .find(|rule| rule.mismatch(verb, namespace, deployment, labels).is_none())
            .map_or(Decision::DENIED, |rule| Decision::of(rule))
    }

    /// Whether this may be done to this Deployment whatever its labels are, and whether it exists or not; `None` when that
    /// makes a difference.
    pub fn decide_without_labels(
        &self,
        verb: Verb,
        namespace: &str,
        deployment: &str,
    ) -> Option<bool> {
        let Some(rules) = &self.rules else {
            return Some(self.ever.contains(verb));
        };
        // What the rules up to here say to those whose labels they match; others are decided further down.
        let mut so_far = None;
        for rule in rules.iter() {
            if !rule.matches_but_for_labels(verb, namespace, deployment) {
                continue;
            }
            let allowed = rule.effect == Effect::Allow;
            if so_far.is_some_and(|before| before != allowed) {
                return None;
            }
            so_far = Some(allowed);
            if rule.selector.is_none() {
                return so_far;
            }
        }
        (so_far != Some(true)).then_some(false)
    }

    /// Whether a Deployment's labels may make a difference.
    pub fn looks_at_labels(&self) -> bool {
        self.labels
    }

    /// Whether the verb is allowed for some Deployment that could exist.
    pub fn may_ever(&self, verb: Verb) -> bool {
        self.ever.contains(verb)
    }

    /// Whether the verb is allowed for every Deployment that could exist.
    pub fn sees_everything(&self, verb: Verb) -> bool {
        self.alike(verb, None) == Some(true)
    }

    /// Whether the verb is allowed for every Deployment of a namespace, existing or not (`true`), or for none (`false`); `None`
    /// when it depends on the Deployment.
    pub fn sees_namespace(&self, verb: Verb, namespace: &str) -> Option<bool> {
        self.alike(verb, Some(namespace))
    }

    /// The decision that is the same for all Deployments of the namespace, or of all namespaces.
    fn alike(&self, verb: Verb, namespace: Option<&str>) -> Option<bool> {
        let Some(rules) = &self.rules else {
            return Some(self.ever.contains(verb));
        };
        // What the rules up to here say to those that they match; others are decided further down.
        let mut so_far = None;
        for rule in rules.iter().filter(|rule| rule.verbs.contains(verb)) {
            if namespace.is_some_and(|namespace| !rule.is_in(namespace)) {
                continue;
            }
            let allowed = rule.effect == Effect::Allow;
            if so_far.is_some_and(|before| before != allowed) {
                return None;
            }
            so_far = Some(allowed);
            let everywhere = namespace.is_some() || rule.is_in_all_namespaces();
            if everywhere && rule.takes_every_deployment() {
                return so_far;
            }
        }
        (so_far != Some(true)).then_some(false)
    }

    /// What the caller may do, to be told to it.
    pub fn summary(&self) -> Vec<RuleSummary<'_>> {
        let Some(rules) = &self.rules else {
            if self.ever == Verbs::default() {
                return Vec::new();
            }
            return vec![RuleSummary {
                rule: None,
                effect: Effect::Allow,
                verbs: self.ever,
                namespaces: None,
                deployments: None,
                label_selector: None,
                bounds: None,
                images: None,
            }];
        };
        let words = |globs: &Option<Box<[Glob]>>| {
            let globs = globs.as_ref()?.iter();
            Some(globs.map(ToString::to_string).collect())
        };
        let summary = rules.iter().map(|rule| RuleSummary {
            rule: Some(&rule.name),
            effect: rule.effect,
            verbs: rule.verbs,
            namespaces: words(&rule.namespaces),
            deployments: words(&rule.deployments),
            label_selector: rule.selector.as_ref().map(|selector| selector.as_str()),
            bounds: rule.bounds,
            images: rule.images.as_ref(),
        });
        summary.collect()
    }
}

impl<'p> Decision<'p> {
    const DENIED: Self = Self {
        allowed: false,
        rule: None,
    };

    fn of(rule: &'p Rule) -> Self {
        Self {
            allowed: rule.effect == Effect::Allow,
            rule: Some(rule),
        }
    }

    /// Whether it may be done.
    pub fn is_allowed(&self) -> bool {
        self.allowed
    }

    /// The rule that decided; `None` when no rule matched, and in mode `any`.
    pub fn rule(&self) -> Option<&'p Rule> {
        self.rule
    }

    /// Which images may be set; `None`: all.
    pub fn images(&self) -> Option<&'p ImageRules> {
        self.rule.and_then(Rule::images)
    }

    /// Whether the count may be changed from `from`, which the write is conditional on, to `to`.
    ///
    /// # Errors
    ///
    /// The first that is violated: what forbids every change of the Deployment, the server's maximum, the rule's bounds, the annotations'.
    pub fn judge_count(
        &self,
        from: i32,
        to: i32,
        annotations: &AnnotationBounds,
        server: &Bounds,
    ) -> Result<(), BoundsViolation> {
        annotations.judge_change()?;
        server.judge(from, to, &SetBy::Server)?;
        if let Some(rule) = self.rule {
            rule.bounds()
                .judge(from, to, &SetBy::Rule(rule.name.clone()))?;
        }
        annotations.judge(from, to)
    }
}

#[cfg(test)]
mod tests;
