//! Which images may be set: the repositories, tags and digests of a rule.
//!
//! Judges references whose repository was made whole (`nginx` is `docker.io/library/nginx`) and never reads one itself.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::policy::Glob;

/// Which images a rule allows; what isn't given allows all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageRules {
    /// Registries or repositories: the repository is one of these or lies below one.
    #[serde(skip_serializing_if = "Option::is_none")]
    registries: Option<Box<[Box<str>]>>,
    /// The tag must be there and match one of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Box<[Glob]>>,
    /// The tag, if it is there, must match none of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    deny_tags: Option<Box<[Glob]>>,
    digest: Digest,
}

/// Whether an image must be named by its digest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Digest {
    /// It may be.
    #[default]
    Allowed,
    /// It must be.
    Required,
}

/// Why an image may not be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageViolation {
    /// It is in a repository that isn't allowed.
    #[error("images of {repository} aren't allowed; allowed is what lies below {}", allowed.join(", "))]
    Repository {
        /// Its registry and repository.
        repository: String,
        /// Those that are allowed.
        allowed: Vec<String>,
    },
    /// It has no tag.
    #[error("the image has no tag, and must have one of {}", .0.join(", "))]
    NoTag(Vec<String>),
    /// Its tag isn't among those allowed.
    #[error("the tag {tag:?} isn't allowed; allowed is {}", allowed.join(", "))]
    Tag {
        /// The tag.
        tag: String,
        /// The patterns of which it must match one.
        allowed: Vec<String>,
    },
    /// Its tag is among those refused.
    #[error("the tag {tag:?} isn't allowed: {pattern} is refused")]
    DeniedTag {
        /// The tag.
        tag: String,
        /// The pattern that it matches.
        pattern: String,
    },
    /// It isn't named by its digest.
    #[error("the image must be named by its digest, as in {repository}@sha256:…")]
    NoDigest {
        /// Its registry and repository.
        repository: String,
    },
}

impl ImageRules {
    pub(super) fn new(
        registries: Option<Box<[Box<str>]>>,
        tags: Option<Box<[Glob]>>,
        deny_tags: Option<Box<[Glob]>>,
        digest: Digest,
    ) -> Self {
        Self {
            registries,
            tags,
            deny_tags,
            digest,
        }
    }

    /// Whether an image may be set: its registry and repository, as in `docker.io/library/nginx`, its tag and its digest. Without
    /// either of the last two it is `latest`, which is what a runtime takes.
    ///
    /// # Errors
    ///
    /// The first of these that isn't as it must be: repository, tag, digest.
    pub fn judge(
        &self,
        repository: &str,
        tag: Option<&str>,
        digest: Option<&str>,
    ) -> Result<(), ImageViolation> {
        let tag = tag.or(digest.is_none().then_some("latest"));
        let below = |prefix: &str| {
            let rest = repository.strip_prefix(prefix);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if let Some(allowed) = &self.registries
            && !allowed.iter().any(|prefix| below(prefix))
        {
            return Err(ImageViolation::Repository {
                repository: repository.to_owned(),
                allowed: words(allowed),
            });
        }
        if let Some(allowed) = &self.tags {
            let Some(tag) = tag else {
                return Err(ImageViolation::NoTag(words(allowed)));
            };
            if !allowed.iter().any(|pattern| pattern.matches(tag)) {
                return Err(ImageViolation::Tag {
                    tag: tag.to_owned(),
                    allowed: words(allowed),
                });
            }
        }
        if let (Some(refused), Some(tag)) = (&self.deny_tags, tag)
            && let Some(pattern) = refused.iter().find(|pattern| pattern.matches(tag))
        {
            return Err(ImageViolation::DeniedTag {
                tag: tag.to_owned(),
                pattern: pattern.to_string(),
            });
        }
        if self.digest == Digest::Required && digest.is_none() {
            return Err(ImageViolation::NoDigest {
                repository: repository.to_owned(),
            });
        }
        Ok(())
    }
}

fn words(all: &[impl fmt::Display]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

impl Serialize for Glob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOP: &str = "registry.example.com/shop/web";

    fn rules(registries: &[&str], tags: &[&str], deny_tags: &[&str], digest: Digest) -> ImageRules {
        let globs = |all: &[&str]| {
            (!all.is_empty()).then(|| all.iter().map(|pattern| Glob::new(pattern)).collect())
        };
        let registries = registries
            .iter()
            .map(|r| Box::from(*r))
            .collect::<Box<[_]>>();
        ImageRules::new(
            (!registries.is_empty()).then_some(registries),
            globs(tags),
            globs(deny_tags),
            digest,
        )
    }

    #[test]
    fn a_repository_is_allowed_itself_and_what_lies_below_it() {
        let rules = rules(
            &["registry.example.com/shop", "docker.io/library"],
            &[],
            &[],
            Digest::Allowed,
        );
        for good in [SHOP, "registry.example.com/shop", "docker.io/library/nginx"] {
            assert_eq!(rules.judge(good, None, None), Ok(()), "{good}");
        }
        for bad in [
            "registry.example.com/shopping/web",
            "registry.example.com",
            "registry.example.com.example.org/shop/web",
            "x/registry.example.com/shop",
            "docker.io/librar",
        ] {
            let sentence = rules.judge(bad, Some("1"), None).unwrap_err().to_string();
            assert!(
                sentence.contains(bad) && sentence.contains("registry.example.com/shop,"),
                "{sentence}"
            );
        }
    }

    #[test]
    fn with_tags_an_image_needs_one_of_them() {
        let rules = rules(&[], &["v*", "stable"], &["*-rc*"], Digest::Allowed);
        assert_eq!(rules.judge(SHOP, Some("v1.2"), None), Ok(()));
        assert_eq!(rules.judge(SHOP, Some("stable"), Some("sha256:0")), Ok(()));
        for (tag, part) in [
            (
                Some("latest"),
                "\"latest\" isn't allowed; allowed is v*, stable",
            ),
            (Some("v1-rc1"), "*-rc* is refused"),
            (None, "no tag"),
        ] {
            let sentence = rules.judge(SHOP, tag, Some("sha256:0")).unwrap_err();
            assert!(sentence.to_string().contains(part), "{sentence}");
        }
    }

    #[test]
    fn refused_tags_refuse_no_image_without_a_tag() {
        let rules = rules(&[], &[], &["latest"], Digest::Allowed);
        assert_eq!(rules.judge(SHOP, None, Some("sha256:0")), Ok(()));
        assert!(rules.judge(SHOP, Some("latest"), Some("sha256:0")).is_err());
    }

    #[test]
    fn without_tag_and_digest_it_is_latest() {
        let denied = rules(&[], &[], &["latest"], Digest::Allowed);
        let sentence = denied.judge(SHOP, None, None).unwrap_err().to_string();
        assert!(sentence.contains("\"latest\" isn't allowed"), "{sentence}");
        let allowed = rules(&[], &["latest"], &[], Digest::Allowed);
        assert_eq!(allowed.judge(SHOP, None, None), Ok(()));
        assert!(allowed.judge(SHOP, None, Some("sha256:0")).is_err());
    }

    #[test]
    fn a_digest_can_be_required_and_is_allowed_otherwise() {
        let required = rules(&[], &[], &[], Digest::Required);
        assert_eq!(required.judge(SHOP, Some("1"), Some("sha256:0")), Ok(()));
        let sentence = required
            .judge(SHOP, Some("1"), None)
            .unwrap_err()
            .to_string();
        assert!(sentence.contains(&format!("{SHOP}@sha256:")), "{sentence}");
        assert_eq!(
            rules(&[], &[], &[], Digest::Allowed).judge(SHOP, None, None),
            Ok(())
        );
    }
}
