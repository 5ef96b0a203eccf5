//! Label selectors: Kubernetes' syntax and meaning (`k8s.io/apimachinery/pkg/labels`).
//!
//! Knows no objects: whoever has labels shows them through [`Labels`].

use std::{collections::BTreeMap, fmt, str::FromStr};

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
#[error("it is no label selector, which looks like team=web,tier in (front,back)")]
pub struct NotASelector;

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

impl FromStr for LabelSelector {
    type Err = NotASelector;

    fn from_str(text: &str) -> Result<Self, NotASelector> {
        let requirements: Option<_> = split(text)
            .ok_or(NotASelector)?
            .into_iter()
            .map(|part| Requirement::read(trim(part)))
            .collect();
        Ok(Self {
            text: text.into(),
            requirements: requirements.ok_or(NotASelector)?,
        })
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

    fn read(text: &str) -> Option<Self> {
        if let Some(key) = text.strip_prefix('!') {
            return Self::new(key, Condition::Absent);
        }
        if let Some((left, list)) = text.split_once('(') {
            let values: Option<_> = list.strip_suffix(')')?.split(',').map(value).collect();
            let (key, operator) = trim(left).rsplit_once(SPACE)?;
            return match operator {
                "in" => Self::new(key, Condition::In(values?)),
                "notin" => Self::new(key, Condition::NotIn(values?)),
                _ => None,
            };
        }
        if let Some((key, unequal)) = text.split_once("!=") {
            return Self::new(key, Condition::NotIn([value(unequal)?].into()));
        }
        if let Some((key, equal)) = text.split_once("==").or_else(|| text.split_once('=')) {
            return Self::new(key, Condition::In([value(equal)?].into()));
        }
        // The number is a label's value as well, so that it has no sign.
        let number = |text| value(text)?.parse().ok();
        if let Some((key, bound)) = text.split_once('>') {
            return Self::new(key, Condition::GreaterThan(number(bound)?));
        }
        match text.split_once('<') {
            Some((key, bound)) => Self::new(key, Condition::LessThan(number(bound)?)),
            None => Self::new(text, Condition::Exists),
        }
    }

    fn new(key: &str, condition: Condition) -> Option<Self> {
        let key = trim(key);
        is_key(key).then(|| Self {
            key: key.into(),
            condition,
        })
    }
}

/// What Kubernetes takes for white space.
const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

fn trim(text: &str) -> &str {
    text.trim_matches(SPACE)
}

/// The text split at the commas that are outside parentheses; `None` if those don't match.
fn split(text: &str) -> Option<Vec<&str>> {
    let (mut parts, mut start, mut inside) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        match c {
            '(' if inside => return None,
            ')' if !inside => return None,
            '(' => inside = true,
            ')' => inside = false,
            ',' if !inside => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!inside).then_some(parts)
}

fn value(text: &str) -> Option<Box<str>> {
    let text = trim(text);
    is_value(text).then(|| text.into())
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
        ] {
            assert_eq!(bad.parse::<LabelSelector>(), Err(NotASelector), "{bad}");
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
    fn it_tells_its_keys_and_how_it_was_written() {
        let selector: LabelSelector = "a=b, c notin (d)".parse().unwrap();
        assert_eq!(selector.keys().collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(selector.to_string(), "a=b, c notin (d)");
    }
}
