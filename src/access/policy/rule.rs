//! One rule: whom, what and which Deployments it is about.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::glob::Glob;
use crate::{
    access::{Bounds, ImageRules, Verb, Verbs},
    selector::{LabelSelector, Labels},
    telemetry::log::hides,
};

/// What a rule that matches decides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    /// It may be done, within the rule's bounds.
    #[default]
    Allow,
    /// It may not be done.
    Deny,
}

/// A rule of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub(in crate::access) name: Box<str>,
    /// Its place in the policy, from 1.
    pub(in crate::access) position: usize,
    pub(in crate::access) effect: Effect,
    pub(in crate::access) subjects: Box<[Subject]>,
    pub(in crate::access) verbs: Verbs,
    /// `None`: all.
    pub(in crate::access) namespaces: Option<Box<[Glob]>>,
    /// `None`: all.
    pub(in crate::access) deployments: Option<Box<[Glob]>>,
    pub(in crate::access) selector: Option<LabelSelector>,
    pub(in crate::access) bounds: Option<Bounds>,
    pub(in crate::access) images: Option<ImageRules>,
}

/// Whom a rule, or a limit, is about.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(extend("minLength" = 1))]
pub(crate) enum Subject {
    /// Principals whose name matches.
    Name(Glob),
    /// Principals with a group that matches.
    Group(Glob),
}

/// Why a rule doesn't match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    /// It is about other callers.
    Subject,
    /// It is about other verbs.
    Verb,
    /// It is about other namespaces.
    Namespace,
    /// It is about Deployments of other names.
    Deployment,
    /// Its label selector selects other Deployments.
    Labels,
    /// It allows by label, and a Deployment that doesn't exist has none.
    Missing,
}

impl Subject {
    pub(crate) fn matches(&self, name: &str, groups: &[String]) -> bool {
        match self {
            Self::Name(glob) => glob.matches(name),
            Self::Group(glob) => groups.iter().any(|group| glob.matches(group)),
        }
    }
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let group = text.strip_prefix("group:");
        let pattern = group.unwrap_or(text);
        if pattern.is_empty() {
            return Err("a subject is empty, and nobody has an empty name: give a name, a pattern, group:NAME, or \"*\" for all".into());
        }
        if pattern.chars().any(hides) {
            return Err(format!(
                "the subject {text:?} has a control character, or another that hides or turns text, which no name has"
            ));
        }
        let glob = Glob::new(pattern);
        Ok(match group {
            Some(_) => Self::Group(glob),
            None => Self::Name(glob),
        })
    }
}

impl TryFrom<String> for Subject {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl Rule {
    /// Its name, which no other rule of the policy has.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its place in the policy, from 1.
    pub fn position(&self) -> usize {
        self.position
    }

    /// What it decides when it matches.
    pub fn effect(&self) -> Effect {
        self.effect
    }

    /// Which counts it allows to set.
    pub fn bounds(&self) -> Bounds {
        self.bounds.unwrap_or_default()
    }

    /// Which images it allows to set; `None`: all.
    pub fn images(&self) -> Option<&ImageRules> {
        self.images.as_ref()
    }

    pub(super) fn is_about(&self, name: &str, groups: &[String]) -> bool {
        self.subjects
            .iter()
            .any(|subject| subject.matches(name, groups))
    }

    /// Why it doesn't match this of one of its subjects; `None` when it does. Without labels the Deployment doesn't exist.
    #[inline]
    pub(super) fn mismatch(
        &self,
        verb: Verb,
        namespace: &str,
        deployment: &str,
        labels: Option<&dyn Labels>,
    ) -> Option<Mismatch> {
        if !self.verbs.contains(verb) {
            return Some(Mismatch::Verb);
        }
        if !self.is_in(namespace) {
            return Some(Mismatch::Namespace);
        }
        if !among(self.deployments.as_deref(), deployment) {
            return Some(Mismatch::Deployment);
        }
        match (&self.selector, labels) {
            (Some(selector), Some(labels)) if !selector.selects(labels) => Some(Mismatch::Labels),
            // Missing and forbidden are to look alike: what doesn't exist might have been denied, and isn't allowed.
            (Some(_), None) if self.effect == Effect::Allow => Some(Mismatch::Missing),
            _ => None,
        }
    }

    pub(super) fn matches_but_for_labels(
        &self,
        verb: Verb,
        namespace: &str,
        deployment: &str,
    ) -> bool {
        self.verbs.contains(verb)
            && self.is_in(namespace)
            && among(self.deployments.as_deref(), deployment)
    }

    pub(super) fn is_in(&self, namespace: &str) -> bool {
        among(self.namespaces.as_deref(), namespace)
    }

    pub(super) fn is_in_all_namespaces(&self) -> bool {
        all(self.namespaces.as_deref())
    }

    /// Whether it matches every Deployment of the namespaces that it is about, existing or not.
    pub(super) fn takes_every_deployment(&self) -> bool {
        all(self.deployments.as_deref()) && self.selector.is_none()
    }
}

fn among(globs: Option<&[Glob]>, text: &str) -> bool {
    globs.is_none_or(|globs| globs.iter().any(|glob| glob.matches(text)))
}

fn all(globs: Option<&[Glob]>) -> bool {
    globs.is_none_or(|globs| globs.iter().any(Glob::matches_everything))
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Subject => "it is about other subjects",
            Self::Verb => "it is about other verbs",
            Self::Namespace => "it is about other namespaces",
            Self::Deployment => "it is about Deployments of other names",
            Self::Labels => "its label selector doesn't select the Deployment",
            Self::Missing => "it allows by label, and a missing Deployment has no labels",
        })
    }
}
