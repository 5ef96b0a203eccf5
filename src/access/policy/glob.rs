//! Patterns in which `*` stands for any run of characters, the empty one included, and everything else for itself.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

/// A pattern: the text before the first star, and what is behind it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Glob {
    first: Box<str>,
    /// `None` without a star.
    behind: Option<Behind>,
}

/// The texts between stars, and the one behind the last.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Behind {
    middle: Box<[Box<str>]>,
    last: Box<str>,
}

impl Glob {
    pub(crate) fn new(pattern: &str) -> Self {
        let mut parts = pattern.split('*').map(Box::from);
        Self {
            first: parts.next().unwrap_or_default(),
            behind: parts.next_back().map(|last| Behind {
                middle: parts.collect(),
                last,
            }),
        }
    }

    /// Whether it matches the whole text, byte for byte. The time grows with the text's length times the pattern's at most.
    #[inline]
    pub(crate) fn matches(&self, text: &str) -> bool {
        let Some(Behind { middle, last }) = &self.behind else {
            return *text == *self.first;
        };
        starts_with(text, &self.first)
            && text.len() - self.first.len() >= last.len()
            && (last.is_empty() || text.ends_with(&**last))
            && (middle.is_empty()
                || in_order(middle, &text[self.first.len()..text.len() - last.len()]))
    }

    /// Whether it is nothing but stars.
    pub(crate) fn matches_everything(&self) -> bool {
        let Some(Behind { middle, last }) = &self.behind else {
            return false;
        };
        self.first.is_empty() && last.is_empty() && middle.iter().all(|part| part.is_empty())
    }
}

impl JsonSchema for Glob {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Pattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "minLength": 1})
    }
}

impl TryFrom<String> for Glob {
    type Error = &'static str;

    fn try_from(pattern: String) -> Result<Self, &'static str> {
        if pattern.is_empty() {
            return Err("a pattern is empty, which no name matches; write * for all");
        }
        Ok(Self::new(&pattern))
    }
}

/// Most prefixes that differ do so in the first byte, which costs less to look at than a call does.
#[inline]
fn starts_with(text: &str, prefix: &str) -> bool {
    match prefix.as_bytes() {
        [] => true,
        [first, ..] => text.as_bytes().first() == Some(first) && text.starts_with(prefix),
    }
}

/// The leftmost place of each leaves most to those behind, so that no other needs to be tried.
fn in_order(parts: &[Box<str>], mut text: &str) -> bool {
    for part in parts {
        let Some(at) = text.find(&**part) else {
            return false;
        };
        text = &text[at + part.len()..];
    }
    true
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.first)?;
        let Some(Behind { middle, last }) = &self.behind else {
            return Ok(());
        };
        for part in middle {
            write!(f, "*{part}")?;
        }
        write!(f, "*{last}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every split of the text at every star: slow, and nothing to get wrong.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['*', rest @ ..] => (0..=text.len()).any(|at| naive(rest, &text[at..])),
            [c, rest @ ..] => text.first() == Some(c) && naive(rest, &text[1..]),
        }
    }

    #[test]
    fn a_star_is_any_run_of_characters_and_nothing_else_is_special() {
        for (pattern, text) in [
            ("*", ""),
            ("*", "a/b"),
            ("a*", "a"),
            ("spiffe://example.org/ci/*", "spiffe://example.org/ci/a/b"),
            ("*-db", "shop-db"),
            ("a*b*c", "aXbYbZc"),
            ("a**c", "abc"),
            ("ä*", "äb"),
            ("a?[b]\\", "a?[b]\\"),
        ] {
            assert!(Glob::new(pattern).matches(text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("a", "A"),
            ("a", "ab"),
            ("", "a"),
            ("a*a", "a"),
            ("*ab*b", "ab"),
            ("a?c", "abc"),
            ("[ab]", "a"),
            ("spiffe://example.org/ci/*", "spiffe://example.org/cicd/a"),
        ] {
            assert!(!Glob::new(pattern).matches(text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_pattern_of_many_stars_takes_no_longer_than_its_length_times_the_texts() {
        let pattern = Glob::new(&"a*".repeat(1000).replace("a*", "*a"));
        assert!(!pattern.matches(&("a".repeat(999) + "b")));
        assert!(pattern.matches(&"a".repeat(1000)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn it_matches_what_trying_everything_matches(pattern in "[ab*]{0,8}", text in "[ab*]{0,10}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(Glob::new(&pattern).matches(&text), naive(&chars(&pattern), &chars(&text)));
            prop_assert_eq!(Glob::new(&pattern).to_string(), pattern);
        }
    }
}
