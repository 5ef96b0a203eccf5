//! Label selectors: Kubernetes' syntax and meaning (`k8s.io/apimachinery/pkg/labels`).
//!
//! Knows no objects: whoever has labels shows them through [`Labels`].

mod parser;

use std::{collections::BTreeMap, fmt};

pub use parser::SPACE;

/// What has labels.
pub trait Labels {
    /// The value of the label with this key.
    fn label(&self, key: &str) -> Option<&str>;
}

impl Labels for BTreeMap<String, String> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).map(String::as_str)
    }
}

/// A label selector, as it was written: `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1,m<2`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelSelector {
    text: Box<str>,
    requirements: Box<[Requirement]>,
}

/// A text that is no label selector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is no label selector, which looks like team=web,tier in (front,back): at character {at} {why}"
)]
pub struct NotASelector {
    /// Where, counted in characters from 1.
    at: usize,
    why: &'static str,
}

/// One of the conditions, all of which must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: Box<str>,
    condition: Condition,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    In(Box<[Box<str>]>),
    NotIn(Box<[Box<str>]>),
    Exists,
    Absent,
    GreaterThan(i64),
    LessThan(i64),
}

impl LabelSelector {
    /// Whether it selects what has these labels. `!=`, `notin` and `!key` select what lacks the label, too.
    pub fn selects(&self, labels: &dyn Labels) -> bool {
        self.requirements
            .iter()
            .all(|requirement| requirement.holds(labels.label(&requirement.key)))
    }

    /// The keys of the labels that it looks at.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.requirements
            .iter()
            .map(|requirement| &*requirement.key)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Requirement {
    fn holds(&self, value: Option<&str>) -> bool {
        let among = |values: &[Box<str>], value: &str| values.iter().any(|v| **v == *value);
        let number = |value: Option<&str>| value.and_then(|v| v.parse::<i64>().ok());
        match &self.condition {
            Condition::In(values) => value.is_some_and(|v| among(values, v)),
            Condition::NotIn(values) => !value.is_some_and(|v| among(values, v)),
            Condition::Exists => value.is_some(),
            Condition::Absent => value.is_none(),
            Condition::GreaterThan(bound) => number(value).is_some_and(|n| n > *bound),
            Condition::LessThan(bound) => number(value).is_some_and(|n| n < *bound),
        }
    }
}

/// Whether Kubernetes accepts it as a label's key: a name, perhaps behind a DNS prefix.
pub fn is_key(text: &str) -> bool {
    let (prefix, name) = text
        .split_once('/')
        .map_or((None, text), |(prefix, name)| (Some(prefix), name));
    prefix.is_none_or(crate::name::is_deployment) && !name.is_empty() && is_value(name)
}

/// Whether Kubernetes accepts it as a label's value.
pub fn is_value(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && ends(text.chars().next())
        && ends(text.chars().last())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn selects(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels: BTreeMap<_, _> = labels
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let selector: LabelSelector = selector.parse().unwrap();
        selector.selects(&labels)
    }

    #[test]
    fn selectors_are_read_as_kubernetes_reads_them() {
        for good in [
            "a",
            "!a",
            "! a",
            "a=b",
            "a = b",
            "a==b",
            "a!=b",
            "a=",
            "a in (b)",
            "a in(b)",
            "a\tin (b)",
            "a in ()",
            "a in (b, c),d notin (e)",
            "example.com/team=web,tier",
            "a in (,b)",
            "in in (in)",
            "size>3",
            "\rx",
            "in",
            "!notin",
            "in=notin",
            "a=,b= ",
            "a in (,)",
            "a in (b,)",
            "a in (b,,c)",
            "a in (,,b)",
            "a in (b,,)",
            "a in (,,)",
            "x notin ( )",
            "x notin (, a)",
            "a in (x,y,notin, z,in)",
            "a==,b",
        ] {
            assert!(good.parse::<LabelSelector>().is_ok(), "{good}");
        }
        for bad in [
            "",
            " ",
            "a in (",
            "a in b",
            "=",
            "=b",
            "a==b==c",
            "a notin b",
            "a,",
            "a b",
            "a=(b)",
            "-a",
            "a=b_",
            "a/b/c",
            "/a",
            "A.b/",
            "size>x",
            "size>-3",
            "size>+3",
            "size>",
            "a within (b)",
            "a in (b))",
            "a in (b) c",
            "ain (b)",
            "in (b)",
            "!a=b",
            "!!a",
            "a\u{a0}=b",
            "ä=b",
            "x,,y",
            ",x",
            "x=a||y=b",
            "a in (xyz),",
            "a in (xyz)b notin ()",
            "a in (xyz abc)",
            "a notin(",
            "a (",
            "a in ((b))",
            "a in (!b)",
            "a=!b",
            "a=>3",
            "a!==b",
            "a=in (b)",
            "a!",
            "a in",
        ] {
            assert!(bad.parse::<LabelSelector>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_equals_is_selected_and_what_lacks_the_label_is_not() {
        for selector in ["a=b", "a==b", "a = b", "a in (b)", "a in (x, b)"] {
            assert!(selects(selector, &[("a", "b"), ("z", "z")]), "{selector}");
            assert!(!selects(selector, &[("a", "c")]), "{selector}");
            assert!(!selects(selector, &[("b", "b")]), "{selector}");
            assert!(!selects(selector, &[("A", "b")]), "{selector}");
        }
        assert!(selects("a=", &[("a", "")]) && !selects("a=", &[]));
    }

    #[test]
    fn what_differs_is_selected_and_what_lacks_the_label_too() {
        for selector in ["a!=b", "a notin (b)", "a notin (x,b)"] {
            assert!(!selects(selector, &[("a", "b")]), "{selector}");
            assert!(selects(selector, &[("a", "c")]), "{selector}");
            assert!(selects(selector, &[]), "{selector}");
        }
    }

    #[test]
    fn presence_and_absence_do_not_look_at_the_value() {
        assert!(selects("a", &[("a", "")]) && !selects("a", &[("b", "a")]));
        assert!(!selects("!a", &[("a", "")]) && selects("!a", &[("b", "a")]));
    }

    #[test]
    fn numbers_are_compared_as_numbers_and_what_is_none_is_not_selected() {
        assert!(selects("a>9", &[("a", "10")]) && !selects("a>9", &[("a", "9")]));
        assert!(selects("a<10", &[("a", "9")]) && !selects("a<10", &[("a", "10")]));
        for selector in ["a>1", "a<1"] {
            assert!(!selects(selector, &[]), "{selector}");
            assert!(!selects(selector, &[("a", "x")]), "{selector}");
        }
    }

    #[test]
    fn all_conditions_must_hold() {
        let selector = "team=web,tier in (front,back),!old";
        assert!(selects(selector, &[("team", "web"), ("tier", "back")]));
        assert!(!selects(
            selector,
            &[("team", "web"), ("tier", "back"), ("old", "")]
        ));
        assert!(!selects(selector, &[("team", "web")]));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (bad, at, why) in [
            ("", 1, "key is missing"),
            ("a,", 3, "key is missing"),
            ("team=web,-x", 10, "label's key"),
            ("a = b c", 7, "neither a comma nor the end"),
            ("a within (b)", 3, "none of ="),
            ("a in b", 6, "begin with a parenthesis"),
            ("a in (b", 8, "closing parenthesis"),
            ("a in (", 7, "closing parenthesis"),
            ("a in (b c)", 9, "closing parenthesis"),
            ("a in (b,c_)", 9, "label's value"),
            ("size>  3x", 8, "whole number"),
            ("a=b,ä=c", 5, "label's key"),
            ("ä=b", 1, "label's key"),
        ] {
            let wrong = bad.parse::<LabelSelector>().unwrap_err();
            assert_eq!(wrong.at, at, "{bad}: {wrong}");
            assert!(wrong.to_string().contains(why), "{bad}: {wrong}");
        }
    }

    /// A condition as a person thinks of it, and as it may be written.
    #[derive(Debug, Clone)]
    enum Meant {
        In(Vec<String>),
        NotIn(Vec<String>),
        Equal(String, bool),
        Unequal(String),
        Exists,
        Absent,
        Above(u8),
        Below(u8),
    }

    impl Meant {
        fn written(&self, key: &str, space: &str) -> String {
            let s = space;
            let list = |values: &[String]| values.join(&format!("{s},{s}"));
            match self {
                Self::In(values) => format!("{s}{key} {s}in{s}({s}{}{s}){s}", list(values)),
                Self::NotIn(values) => format!("{s}{key} {s}notin{s}({s}{}{s}){s}", list(values)),
                Self::Equal(value, twice) => {
                    let sign = if *twice { "==" } else { "=" };
                    format!("{s}{key}{s}{sign}{s}{value}{s}")
                }
                Self::Unequal(value) => format!("{s}{key}{s}!={s}{value}{s}"),
                Self::Exists => format!("{s}{key}{s}"),
                Self::Absent => format!("{s}!{s}{key}{s}"),
                Self::Above(bound) => format!("{s}{key}{s}>{s}{bound}"),
                Self::Below(bound) => format!("{s}{key}{s}<{s}{bound}"),
            }
        }

        fn holds(&self, value: Option<&String>) -> bool {
            let number = value.and_then(|v| v.parse::<i64>().ok());
            match self {
                Self::In(values) => value.is_some_and(|v| values.contains(v)),
                Self::NotIn(values) => value.is_none_or(|v| !values.contains(v)),
                Self::Equal(own, _) => value == Some(own),
                Self::Unequal(own) => value != Some(own),
                Self::Exists => value.is_some(),
                Self::Absent => value.is_none(),
                Self::Above(bound) => number.is_some_and(|n| n > i64::from(*bound)),
                Self::Below(bound) => number.is_some_and(|n| n < i64::from(*bound)),
            }
        }
    }

    fn value() -> impl Strategy<Value = String> {
        prop_oneof![
            "",
            "[ab]",
            "[0-9]{1,2}",
            "in",
            "[a-z0-9]([-._a-z0-9]{0,5}[a-z0-9])?"
        ]
    }

    fn meant() -> impl Strategy<Value = Meant> {
        let values = || prop::collection::vec(value(), 1..4);
        prop_oneof![
            values().prop_map(Meant::In),
            values().prop_map(Meant::NotIn),
            (value(), any::<bool>()).prop_map(|(value, twice)| Meant::Equal(value, twice)),
            value().prop_map(Meant::Unequal),
            Just(Meant::Exists),
            Just(Meant::Absent),
            (0u8..20).prop_map(Meant::Above),
            (0u8..20).prop_map(Meant::Below),
        ]
    }

    fn key() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["a", "in", "notin", "example.org/Team_1", "x.y-z"])
    }

    proptest! {
        #[test]
        fn whatever_is_meant_is_selected_however_it_is_spaced(
            conditions in prop::collection::vec((key(), meant(), "[ \t\r\n]{0,2}"), 1..5),
            labels in prop::collection::btree_map(key().prop_map(str::to_owned), value(), 0..4),
        ) {
            let parts: Vec<_> = conditions.iter().map(|(key, meant, space)| meant.written(key, space)).collect();
            let selector: LabelSelector = parts.join(",").parse().unwrap();
            let expected = conditions.iter().all(|(key, meant, _)| meant.holds(labels.get(*key)));
            prop_assert_eq!(selector.selects(&labels), expected, "{} of {:?}", selector, labels);
        }

        #[test]
        fn no_text_makes_reading_a_selector_panic_and_its_fault_is_in_it(text in "([abä1_/ =!(),<>]|in|notin){0,12}") {
            if let Err(wrong) = text.parse::<LabelSelector>() {
                prop_assert!((1..=text.chars().count() + 1).contains(&wrong.at), "{}", wrong);
            }
        }
    }

    #[test]
    fn it_tells_its_keys_and_how_it_was_written() {
        let selector: LabelSelector = "a=b, c notin (d)".parse().unwrap();
        assert_eq!(selector.keys().collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(selector.to_string(), "a=b, c notin (d)");
    }
}
