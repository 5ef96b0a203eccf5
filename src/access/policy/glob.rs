//! Patterns in which `*` stands for any run of characters, the empty one included, and everything else for itself.

use std::fmt;

/// A pattern: the texts between its stars, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Glob(Box<[Box<str>]>);

impl Glob {
    pub(crate) fn new(pattern: &str) -> Self {
        Self(pattern.split('*').map(Box::from).collect())
    }

    /// Whether it matches the whole text, byte for byte. The time grows with the text's length times the pattern's at most.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let [first, rest @ ..] = &*self.0 else {
            return false;
        };
        let Some((last, middle)) = rest.split_last() else {
            return text == &**first;
        };
        let Some(mut text) = text
            .strip_prefix(&**first)
            .and_then(|text| text.strip_suffix(&**last))
        else {
            return false;
        };
        // The leftmost place leaves most to those behind, so that no other needs to be tried.
        for part in middle {
            let Some(at) = text.find(&**part) else {
                return false;
            };
            text = &text[at + part.len()..];
        }
        true
    }

    /// Whether it is nothing but stars.
    pub(crate) fn matches_everything(&self) -> bool {
        self.0.len() > 1 && self.0.iter().all(|part| part.is_empty())
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("*"))
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
