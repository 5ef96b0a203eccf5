//! The configuration's `authorization`: its form, and what is wrong with one.
//!
//! Whatever could mean more than was meant is an error: an empty list, a key without a value, a pattern that no name matches.

mod rules;
mod schema;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use self::rules::{RuleFile, verbs};
use super::{Policy, Rule, Verbs};
use crate::yaml::given;

/// How it is decided who may do what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authorization {
    /// Any client of a known CA may do this to every Deployment: [`Verbs::USUAL`], and what was enabled.
    Any(Verbs),
    /// The configuration's rules decide.
    Policy(Policy),
    /// The cluster decides (SubjectAccessReview).
    Kubernetes(KubernetesNames),
}

/// What callers are named to the cluster.
///
/// The prefixes keep certificates from naming users and groups that the cluster knows otherwise; neither may be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesNames {
    /// What stands before a principal's name.
    pub user_prefix: String,
    /// What stands before a group's name.
    pub group_prefix: String,
}

/// Something that `authorization` can't be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{why}", rule.as_ref().map(|name| format!("rule {name:?}: ")).unwrap_or_default())]
pub struct PolicyError {
    /// The line, from 1, where it is known.
    pub line: Option<u64>,
    /// The rule in which it stands.
    pub rule: Option<String>,
    /// What is wrong, and what to do.
    pub why: String,
}

/// `authorization`, as it stands in the configuration file.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("allOf" = schema::each_for_its_mode()))]
pub struct AuthorizationFile {
    /// Who decides.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Mode", extend("default" = Mode::Any))]
    mode: Option<Spanned<Mode>>,
    /// Verbs beside get, list, watch and scale that any client of a known CA may use: for mode `any`.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "schema::Verbs")]
    enable: Option<List>,
    /// Rules, of which the first that matches decides: for mode `policy`.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Vec<RuleFile>", length(min = 1))]
    rules: Option<Spanned<Vec<RuleFile>>>,
    /// What callers are named to the cluster: for mode `kubernetes`.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "KubernetesFile")]
    kubernetes: Option<Spanned<KubernetesFile>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum Mode {
    /// Any client of a known CA may do everything that is enabled.
    Any,
    /// The rules decide.
    Policy,
    /// The cluster decides (SubjectAccessReview).
    Kubernetes,
}

type Text = Spanned<String>;
type List = Spanned<Vec<Text>>;

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KubernetesFile {
    /// What stands before a principal's name.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "schema::Prefix", extend("default" = KubernetesNames::PREFIX))]
    user_prefix: Option<Text>,
    /// What stands before a group's name.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "schema::Prefix", extend("default" = KubernetesNames::PREFIX))]
    group_prefix: Option<Text>,
}

impl Default for Authorization {
    fn default() -> Self {
        Self::Any(Verbs::USUAL)
    }
}

impl Authorization {
    /// The mode's word in the configuration.
    pub fn mode(&self) -> &'static str {
        match self {
            Self::Any(_) => "any",
            Self::Policy(_) => "policy",
            Self::Kubernetes(_) => "kubernetes",
        }
    }
}

impl AuthorizationFile {
    /// What it says.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, with its line and its rule.
    pub fn read(self) -> Result<Authorization, PolicyError> {
        let Self {
            mode,
            enable,
            rules,
            kubernetes,
        } = self;
        let given = mode.as_ref().map_or(Mode::Any, |mode| mode.value);
        let unused = |line, key, wanted| {
            Err(wrong(
                line,
                format!(
                    "{key} is for mode {wanted} and would decide nothing here: set mode: {wanted}, or leave {key} out"
                ),
            ))
        };
        match (&enable, &rules, &kubernetes) {
            (Some(enable), ..) if given != Mode::Any => unused(line(enable), "enable", "any"),
            (_, Some(rules), _) if given != Mode::Policy => unused(line(rules), "rules", "policy"),
            (.., Some(names)) if given != Mode::Kubernetes => {
                unused(line(names), "kubernetes", "kubernetes")
            }
            _ => Ok(()),
        }?;
        match given {
            Mode::Any => {
                let enabled = enable.map(verbs).transpose()?.unwrap_or_default();
                Ok(Authorization::Any(Verbs::USUAL.with(enabled)))
            }
            Mode::Policy => match rules {
                Some(rules) => read_rules(rules).map(Authorization::Policy),
                None => Err(wrong(
                    mode.as_ref().and_then(line),
                    "mode policy needs rules: without one nobody may do anything",
                )),
            },
            Mode::Kubernetes => kubernetes
                .map_or_else(
                    || Ok(KubernetesNames::default()),
                    |names| names.value.read(),
                )
                .map(Authorization::Kubernetes),
        }
    }
}

fn read_rules(rules: Spanned<Vec<RuleFile>>) -> Result<Policy, PolicyError> {
    if rules.value.is_empty() {
        return at(
            &rules,
            "rules is an empty list: without a rule nobody may do anything",
        );
    }
    let mut read: Vec<Rule> = Vec::with_capacity(rules.value.len());
    for rule in rules.value {
        let (name, place) = (rule.name.value.clone(), line(&rule.name));
        let in_rule = |error: PolicyError| PolicyError {
            rule: Some(name.clone()),
            line: error.line.or(place),
            ..error
        };
        if let Some(first) = read.iter().find(|earlier| *earlier.name == *name) {
            let why = format!(
                "rule {} has this name already: give each rule a name of its own",
                first.position
            );
            return Err(in_rule(wrong(place, why)));
        }
        read.push(rule.read(read.len() + 1).map_err(in_rule)?);
    }
    Ok(Policy::new(read))
}

impl KubernetesFile {
    fn read(self) -> Result<KubernetesNames, PolicyError> {
        let prefix = |key: &str, given: Option<Text>| match given {
            None => Ok(KubernetesNames::PREFIX.to_owned()),
            Some(text) if text.value.is_empty() => at(
                &text,
                format!(
                    "{key} is empty, so that a certificate could name any user of the cluster: give a prefix"
                ),
            ),
            Some(text) if text.value.starts_with("system:") => at(
                &text,
                format!(
                    "{key} {:?} belongs to Kubernetes itself: give another",
                    text.value
                ),
            ),
            Some(text) => Ok(text.value),
        };
        Ok(KubernetesNames {
            user_prefix: prefix("userPrefix", self.user_prefix)?,
            group_prefix: prefix("groupPrefix", self.group_prefix)?,
        })
    }
}

impl KubernetesNames {
    const PREFIX: &str = "headcount:";
}

impl Default for KubernetesNames {
    fn default() -> Self {
        Self {
            user_prefix: Self::PREFIX.to_owned(),
            group_prefix: Self::PREFIX.to_owned(),
        }
    }
}

fn line<T>(place: &Spanned<T>) -> Option<u64> {
    Some(place.referenced.line()).filter(|line| *line > 0)
}

fn wrong(line: Option<u64>, why: impl Into<String>) -> PolicyError {
    PolicyError {
        line,
        rule: None,
        why: why.into(),
    }
}

fn at<T, U>(place: &Spanned<T>, why: impl Into<String>) -> Result<U, PolicyError> {
    Err(wrong(line(place), why))
}

#[cfg(test)]
mod tests;
