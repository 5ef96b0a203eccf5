//! The configuration's `authorization`: its form, and what is wrong with one.
//!
//! Whatever could mean more than was meant is an error: an empty list, a key without a value, a pattern that no name matches.

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{
    Bounds, Digest, Effect, ImageRules, Policy, Rule, Verb, Verbs,
    policy::{Glob, Subject},
};
use crate::{name, selector::LabelSelector, yaml::given};

/// How it is decided who may do what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authorization {
    /// Any client of a known CA may get, list, watch and scale every Deployment, and what was enabled.
    Any {
        /// What may be done beyond that.
        enabled: Verbs,
    },
    /// The configuration's rules decide.
    Policy(Policy),
    /// The cluster decides (SubjectAccessReview).
    Kubernetes(KubernetesNames),
}

/// What callers are named to the cluster.
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
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuthorizationFile {
    #[serde(default, deserialize_with = "given")]
    mode: Option<Spanned<Mode>>,
    #[serde(default, deserialize_with = "given")]
    enable: Option<List>,
    #[serde(default, deserialize_with = "given")]
    rules: Option<Spanned<Vec<RuleFile>>>,
    #[serde(default, deserialize_with = "given")]
    kubernetes: Option<Spanned<KubernetesFile>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Mode {
    Any,
    Policy,
    Kubernetes,
}

type Text = Spanned<String>;
type List = Spanned<Vec<Text>>;

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RuleFile {
    name: Text,
    #[serde(default)]
    effect: Effect,
    subjects: List,
    verbs: List,
    #[serde(default, deserialize_with = "given")]
    namespaces: Option<List>,
    #[serde(default, deserialize_with = "given")]
    deployments: Option<List>,
    #[serde(default, deserialize_with = "given")]
    label_selector: Option<Text>,
    #[serde(default, deserialize_with = "given")]
    bounds: Option<Spanned<BoundsFile>>,
    #[serde(default, deserialize_with = "given")]
    images: Option<Spanned<ImagesFile>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct BoundsFile {
    #[serde(default, deserialize_with = "given")]
    min: Option<Spanned<i64>>,
    #[serde(default, deserialize_with = "given")]
    max: Option<Spanned<i64>>,
    #[serde(default, deserialize_with = "given")]
    max_step: Option<Spanned<i64>>,
    #[serde(default, deserialize_with = "given")]
    allow_zero: Option<bool>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ImagesFile {
    #[serde(default, deserialize_with = "given")]
    registries: Option<List>,
    #[serde(default, deserialize_with = "given")]
    tags: Option<List>,
    #[serde(default, deserialize_with = "given")]
    deny_tags: Option<List>,
    #[serde(default, deserialize_with = "given")]
    digest: Option<Digest>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KubernetesFile {
    #[serde(default, deserialize_with = "given")]
    user_prefix: Option<Text>,
    #[serde(default, deserialize_with = "given")]
    group_prefix: Option<Text>,
}

impl Default for Authorization {
    fn default() -> Self {
        Self::Any {
            enabled: Verbs::default(),
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
            Mode::Any => Ok(Authorization::Any {
                enabled: enable.map(verbs).transpose()?.unwrap_or_default(),
            }),
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

impl RuleFile {
    fn read(self, position: usize) -> Result<Rule, PolicyError> {
        let Self {
            name,
            effect,
            subjects,
            verbs: given_verbs,
            namespaces,
            deployments,
            label_selector,
            bounds,
            images,
        } = self;
        if name.value.trim().is_empty() || name.value.chars().any(char::is_control) {
            return at(
                &name,
                "a rule's name is text on one line: it is named in answers and logs",
            );
        }
        let verbs = verbs(given_verbs)?;
        for (place, key, verb) in [
            (bounds.as_ref().map(line), "bounds", Verb::Scale),
            (images.as_ref().map(line), "images", Verb::Image),
        ] {
            let Some(line) = place else { continue };
            if effect == Effect::Deny {
                let why = format!(
                    "{key} bound what is allowed, and this rule denies: leave them out, or set effect: allow"
                );
                return Err(wrong(line, why));
            }
            if !verbs.contains(verb) {
                let why = format!(
                    "{key} bound the verb {verb}, and this rule isn't about it: leave them out, or add {verb} to verbs"
                );
                return Err(wrong(line, why));
            }
        }
        let selector = |text: Text| match text.value.parse::<LabelSelector>() {
            Ok(selector) => Ok(selector),
            Err(_) if text.value.trim().is_empty() => at(
                &text,
                "labelSelector is empty: leave it out for Deployments with any labels",
            ),
            Err(why) => at(&text, format!("labelSelector {:?}: {why}", text.value)),
        };
        Ok(Rule {
            name: name.value.into(),
            position,
            effect,
            subjects: each("subjects", subjects, subject)?,
            verbs,
            namespaces: optional("namespaces", namespaces, |text| {
                pattern(text, "namespace", name::is_namespace)
            })?,
            deployments: optional("deployments", deployments, |text| {
                pattern(text, "Deployment", name::is_deployment)
            })?,
            selector: label_selector.map(selector).transpose()?,
            bounds: bounds.map(read_bounds).transpose()?,
            images: images.map(read_images).transpose()?,
        })
    }
}

fn verbs(list: List) -> Result<Verbs, PolicyError> {
    let read = each("verbs", list, |text| match text {
        "*" => Ok(Verbs::ALL),
        verb => match verb.parse() {
            Ok(verb) => Ok([verb].into_iter().collect()),
            Err(error) => Err(format!("{error}, and \"*\" for all")),
        },
    })?;
    Ok(read.iter().copied().fold(Verbs::default(), Verbs::with))
}

fn subject(text: &str) -> Result<Subject, String> {
    let group = text.strip_prefix("group:");
    let pattern = group.unwrap_or(text);
    if pattern.is_empty() {
        return Err("a subject is empty, and nobody has an empty name: give a name, a pattern, group:NAME, or \"*\" for all".into());
    }
    if pattern.chars().any(char::is_control) {
        return Err(format!(
            "the subject {text:?} has a control character, which no name has"
        ));
    }
    let glob = Glob::new(pattern);
    Ok(match group {
        Some(_) => Subject::Group(glob),
        None => Subject::Name(glob),
    })
}

/// A pattern that some name matches: `*` stands for something or nothing.
fn pattern(text: &str, of: &str, is: fn(&str) -> bool) -> Result<Glob, String> {
    let glob = Glob::new(text);
    let mut plain = text.to_owned();
    while plain.contains("**") {
        plain = plain.replace("**", "*");
    }
    if is(&plain.replace('*', "a")) || is(&plain.replace('*', "")) {
        return Ok(glob);
    }
    Err(format!(
        "{text:?} matches no {of}: give a name or a pattern with *, as in \"team-*\""
    ))
}

fn read_bounds(bounds: Spanned<BoundsFile>) -> Result<Bounds, PolicyError> {
    let count = |key: &str, least: i32, number: &Option<Spanned<i64>>| match number {
        None => Ok(None),
        Some(number) => match i32::try_from(number.value) {
            Ok(count) if count >= least => Ok(Some(count)),
            _ => at(
                number,
                format!(
                    "{key} {} can't be: it is {least} to {}",
                    number.value,
                    i32::MAX
                ),
            ),
        },
    };
    let file = &bounds.value;
    let read = Bounds {
        min: count("min", 0, &file.min)?,
        max: count("max", 0, &file.max)?,
        max_step: count("maxStep", 1, &file.max_step)?,
        allow_zero: file.allow_zero,
    };
    if read == Bounds::default() {
        return at(
            &bounds,
            "bounds are empty and bound nothing: leave them out, or give min, max, maxStep or allowZero",
        );
    }
    match read {
        Bounds {
            min: Some(min),
            max: Some(max),
            ..
        } if min > max => at(
            &bounds,
            format!("min {min} is above max {max}, so that no count could be set"),
        ),
        Bounds {
            max: Some(0),
            allow_zero: Some(false),
            ..
        } => at(
            &bounds,
            "max is 0 and allowZero is false, so that no count could be set",
        ),
        _ => Ok(read),
    }
}

fn read_images(images: Spanned<ImagesFile>) -> Result<ImageRules, PolicyError> {
    let ImagesFile {
        registries,
        tags,
        deny_tags,
        digest,
    } = images.value.clone();
    if registries.is_none() && tags.is_none() && deny_tags.is_none() && digest.is_none() {
        return at(
            &images,
            "images are empty and bound nothing: leave them out, or give registries, tags, denyTags or digest",
        );
    }
    let tag = |text: &str| pattern(text, "tag", is_tag);
    Ok(ImageRules::new(
        optional("registries", registries, repository)?,
        optional("tags", tags, tag)?,
        optional("denyTags", deny_tags, tag)?,
        digest.unwrap_or_default(),
    ))
}

/// Whether an image can have it as its tag (OCI distribution specification).
fn is_tag(text: &str) -> bool {
    let word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    text.len() <= 128
        && text.as_bytes().first().is_some_and(word)
        && text.bytes().all(|b| word(&b) || b"-.".contains(&b))
}

/// A registry, perhaps with the start of a repository's path.
fn repository(text: &str) -> Result<Box<str>, String> {
    let (host, path) = text
        .split_once('/')
        .map_or((text, None), |(host, path)| (host, Some(path)));
    let is_host = host == "localhost" || host.contains(['.', ':']);
    let host_fits = host
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b));
    let segment = |segment: &str| {
        let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b);
        !segment.is_empty() && segment.bytes().all(inside)
    };
    if is_host && host_fits && path.is_none_or(|path| path.split('/').all(segment)) {
        return Ok(text.into());
    }
    Err(format!(
        "{text:?} is no registry or repository, which looks like registry.example.com/shop or docker.io/library, without a pattern, tag or digest"
    ))
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

/// Every element of a list that has some.
fn each<T>(
    key: &str,
    list: List,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Box<[T]>, PolicyError> {
    if list.value.is_empty() {
        return at(
            &list,
            format!(
                "{key} is an empty list, which never means all: name some, or leave the rule or the key out"
            ),
        );
    }
    list.value
        .iter()
        .map(|text| read(&text.value).or_else(|why| at(text, format!("{key}: {why}"))))
        .collect()
}

fn optional<T>(
    key: &str,
    list: Option<List>,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<Box<[T]>>, PolicyError> {
    list.map(|list| each(key, list, read)).transpose()
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
