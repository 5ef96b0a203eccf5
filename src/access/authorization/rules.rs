//! The form of a rule, and what is wrong with one.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_saphyr::Spanned;

use super::{List, PolicyError, Text, at, line, schema, wrong};
use crate::{
    access::{Bounds, Digest, Effect, ImageRules, Rule, Verb, Verbs, policy::Glob},
    image_reference::is_tag,
    name,
    selector::LabelSelector,
    yaml::given,
};

/// A rule of mode `policy`: whom it is about, what of, and what it decides.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RuleFile {
    /// What answers and logs call it; no other rule has this name.
    #[schemars(with = "String", extend("pattern" = "\\S"))]
    pub(super) name: Text,
    /// What it decides.
    #[serde(default)]
    effect: Effect,
    /// Principals by name, or by group (`group:NAME`); `*` stands for something or nothing.
    #[schemars(with = "schema::Names")]
    subjects: List,
    /// What it is about.
    #[schemars(with = "schema::Verbs")]
    verbs: List,
    /// Namespaces, by name or pattern; without it all.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "schema::Names")]
    namespaces: Option<List>,
    /// Deployments, by name or pattern; without it all.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "schema::Names")]
    deployments: Option<List>,
    /// Deployments with these labels, in Kubernetes' selector syntax; without it with any.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "String", extend("pattern" = "\\S"))]
    label_selector: Option<Text>,
    /// Which counts may be set.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "BoundsFile")]
    bounds: Option<Spanned<BoundsFile>>,
    /// Which images may be set.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "ImagesFile")]
    images: Option<Spanned<ImagesFile>>,
}

/// Counts that a rule allows.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
struct BoundsFile {
    /// The least.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "i32", range(min = 0))]
    min: Option<Spanned<i64>>,
    /// The largest.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "i32", range(min = 0))]
    max: Option<Spanned<i64>>,
    /// The most by which one write may change a count.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "i32", range(min = 1))]
    max_step: Option<Spanned<i64>>,
    /// `false`: 0 is refused, whatever `min` is. `true`: 0 is allowed, whatever `min` is.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "bool")]
    allow_zero: Option<bool>,
}

/// Images that a rule allows.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
struct ImagesFile {
    /// Registries, or repositories, or what those begin with.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "schema::Names")]
    registries: Option<List>,
    /// Tags, by name or pattern.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "schema::Names")]
    tags: Option<List>,
    /// Tags that are refused, by name or pattern.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "schema::Names")]
    deny_tags: Option<List>,
    /// Whether an image must be named by its digest.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Digest")]
    digest: Option<Digest>,
}

impl RuleFile {
    /// The rule, whose place in the policy, from 1, is this.
    pub(super) fn read(self, position: usize) -> Result<Rule, PolicyError> {
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
            subjects: each("subjects", subjects, str::parse)?,
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

pub(super) fn verbs(list: List) -> Result<Verbs, PolicyError> {
    let read = each("verbs", list, |text| match text {
        "*" => Ok(Verbs::ALL),
        verb => match verb.parse() {
            Ok(verb) => Ok([verb].into_iter().collect()),
            Err(error) => Err(format!("{error}, and \"*\" for all")),
        },
    })?;
    Ok(read.iter().copied().fold(Verbs::default(), Verbs::with))
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

/// A registry, perhaps with the start of a repository's path.
fn repository(text: &str) -> Result<Box<str>, String> {
    let (host, path) = text
        .split_once('/')
        .map_or((text, None), |(host, path)| (host, Some(path)));
    let is_host = host == "localhost" || host.contains(['.', ':']);
    let host_fits = host
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.:[]".contains(&b));
    if host == "index.docker.io" {
        return Err(format!(
            "{text:?} is an older name of docker.io: write that"
        ));
    }
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
