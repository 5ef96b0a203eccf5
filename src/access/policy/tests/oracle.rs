//! The policy against an oracle: the documentation's sentences, written down as plainly and slowly as they read.

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};

use super::*;

/// A rule, as its author thinks of it.
#[derive(Debug, Clone)]
struct Written {
    deny: bool,
    subjects: Vec<&'static str>,
    verbs: Vec<&'static str>,
    namespaces: Option<Vec<&'static str>>,
    deployments: Option<Vec<&'static str>>,
    selector: Option<Vec<Term>>,
    bounds: (Option<i32>, Option<i32>, Option<i32>, Option<bool>),
}

/// A condition on one label: its key, the operator as it is written, and values.
type Term = (&'static str, &'static str, Vec<&'static str>);

#[derive(Debug, Clone)]
struct Asked {
    subject: &'static str,
    groups: Vec<String>,
    verb: &'static str,
    namespace: &'static str,
    deployment: &'static str,
    /// `None`: it doesn't exist.
    labels: Option<BTreeMap<String, String>>,
    from: i32,
    to: i32,
}

const VERBS: [&str; 9] = [
    "get", "list", "watch", "scale", "image", "restart", "pause", "rollback", "*",
];
const NAMES: [&str; 5] = ["a", "b", "ab", "a-b", "a-b-a"];
const PATTERNS: [&str; 9] = ["a", "b", "ab", "a-b", "*", "a*", "*b", "a*a", "*-*"];
const SUBJECTS: [&str; 9] = [
    "alice",
    "bob",
    "*",
    "al*",
    "*/ci",
    "spiffe://example.org/*",
    "group:dev",
    "group:*",
    "group:d*",
];

fn written() -> impl Strategy<Value = Written> {
    let patterns = || option::weighted(0.6, vec(select(&PATTERNS[..]), 1..3));
    let term = (
        select(&["x", "y"][..]),
        select(&["=", "==", "!=", "in", "notin", "exists", "!", ">", "<"][..]),
        vec(select(&["", "1", "2", "10"][..]), 1..3),
    );
    let bounds = (
        option::of(0..4),
        option::of(4..8),
        option::of(1..4),
        any::<Option<bool>>(),
    );
    (
        prop::bool::weighted(0.3),
        vec(select(&SUBJECTS[..]), 1..3),
        vec(select(&VERBS[..]), 1..4),
        patterns(),
        patterns(),
        option::weighted(0.3, vec(term, 1..3)),
        bounds,
    )
        .prop_map(
            |(deny, subjects, verbs, namespaces, deployments, selector, bounds)| Written {
                deny,
                subjects,
                verbs,
                namespaces,
                deployments,
                selector,
                bounds,
            },
        )
}

fn asked() -> impl Strategy<Value = Asked> {
    let label = |value| option::of(value);
    let value = || select(&["", "1", "2", "10", "z"][..]);
    (
        select(&["alice", "bob", "spiffe://example.org/ci", "group:dev"][..]),
        vec(select(&["dev", "ops"][..]), 0..2),
        select(&VERBS[..6]),
        select(&NAMES[..]),
        select(&NAMES[..]),
        option::weighted(0.8, (label(value()), label(value()))),
        0..9,
        0..9,
    )
        .prop_map(
            |(subject, groups, verb, namespace, deployment, labels, from, to)| Asked {
                subject,
                groups: groups.into_iter().map(str::to_owned).collect(),
                verb,
                namespace,
                deployment,
                labels: labels.map(|(x, y)| {
                    let given = [("x", x), ("y", y)].into_iter();
                    given
                        .filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())))
                        .collect()
                }),
                from,
                to,
            },
        )
}

impl Written {
    fn numeric(term: &Term) -> bool {
        matches!(term.1, ">" | "<")
    }

    fn selector_text(terms: &[Term]) -> String {
        let texts = terms.iter().map(|term| {
            let (key, operator, values) = term;
            match *operator {
                "exists" => (*key).to_owned(),
                "!" => format!("!{key}"),
                "in" | "notin" => format!("{key} {operator} ({})", values.join(",")),
                // An empty text is no number.
                _ if Self::numeric(term) => format!("{key}{operator}{}", values[0].len()),
                _ => format!("{key}{operator}{}", values[0]),
            }
        });
        texts.collect::<Vec<_>>().join(",")
    }

    fn is_about_scale(&self) -> bool {
        !self.deny && self.verbs.iter().any(|verb| ["scale", "*"].contains(verb))
    }

    fn yaml(&self, position: usize) -> Value {
        let mut rule = json!({
            "name": format!("rule {position}"),
            "effect": if self.deny { "deny" } else { "allow" },
            "subjects": self.subjects,
            "verbs": self.verbs,
        });
        if let Some(namespaces) = &self.namespaces {
            rule["namespaces"] = json!(namespaces);
        }
        if let Some(deployments) = &self.deployments {
            rule["deployments"] = json!(deployments);
        }
        if let Some(terms) = &self.selector {
            rule["labelSelector"] = json!(Self::selector_text(terms));
        }
        let (min, max, step, zero) = self.bounds;
        if self.is_about_scale() && self.bounds != (None, None, None, None) {
            let all = json!({"min": min, "max": max, "maxStep": step, "allowZero": zero});
            let given = all
                .as_object()
                .unwrap()
                .iter()
                .filter(|(_, v)| !v.is_null());
            rule["bounds"] = given
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect::<serde_json::Map<_, _>>()
                .into();
        }
        rule
    }

    fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        let Some(terms) = &self.selector else {
            return true;
        };
        for term in terms {
            let (key, operator, values) = term;
            let value = labels.get(*key).map(String::as_str);
            let number = value.and_then(|v| v.parse::<usize>().ok());
            let holds = match (*operator, value) {
                ("exists", value) => value.is_some(),
                ("!", value) => value.is_none(),
                ("=" | "==", Some(value)) => value == values[0],
                ("!=", Some(value)) => value != values[0],
                ("in", Some(value)) => values.contains(&value),
                ("notin", Some(value)) => !values.contains(&value),
                ("!=" | "notin", None) => true,
                (">", Some(_)) => number.is_some_and(|n| n > values[0].len()),
                ("<", Some(_)) => number.is_some_and(|n| n < values[0].len()),
                _ => false,
            };
            if !holds {
                return false;
            }
        }
        true
    }

    fn matches(&self, asked: &Asked) -> bool {
        let subject = self
            .subjects
            .iter()
            .any(|subject| match subject.strip_prefix("group:") {
                Some(group) => asked.groups.iter().any(|g| like(group, g)),
                None => like(subject, asked.subject),
            });
        let verb = self.verbs.contains(&"*") || self.verbs.contains(&asked.verb);
        let named = |patterns: &Option<Vec<&str>>, name: &str| match patterns {
            Some(patterns) => patterns.iter().any(|pattern| like(pattern, name)),
            None => true,
        };
        let labels = match (&asked.labels, &self.selector) {
            (Some(labels), _) => self.selects(labels),
            (None, Some(_)) => self.deny,
            (None, None) => true,
        };
        subject
            && verb
            && named(&self.namespaces, asked.namespace)
            && named(&self.deployments, asked.deployment)
            && labels
    }

    /// Every count that may be set from `from`.
    fn counts(&self, from: i32) -> Vec<i32> {
        let (min, max, step, zero) = self.bounds;
        let mut counts: Vec<i32> = (min.unwrap_or(0)..=max.unwrap_or(20)).collect();
        match zero {
            Some(true) if !counts.contains(&0) => counts.push(0),
            Some(false) => counts.retain(|count| *count != 0),
            _ => {}
        }
        counts.retain(|count| (count - from).abs() <= step.unwrap_or(20));
        counts
    }
}

/// Whether a pattern matches, by trying every way.
fn like(pattern: &str, text: &str) -> bool {
    match (pattern.chars().next(), text.chars().next()) {
        (None, None) => true,
        (Some('*'), None) => like(&pattern[1..], text),
        (Some('*'), Some(_)) => like(&pattern[1..], text) || like(pattern, &text[1..]),
        (Some(a), Some(b)) => a == b && like(&pattern[1..], &text[1..]),
        _ => false,
    }
}

fn read(rules: &[Written]) -> Policy {
    let rules: Vec<_> = (1..).zip(rules).map(|(at, rule)| rule.yaml(at)).collect();
    // JSON is YAML.
    let text = json!({"mode": "policy", "rules": rules}).to_string();
    let file: AuthorizationFile = serde_saphyr::from_str(&text).unwrap();
    match file.read().unwrap() {
        Authorization::Policy(policy) => policy,
        other => panic!("{other:?}"),
    }
}

/// What `shown` says of a namespace or of all must be so for each Deployment there.
fn holds_for_each(permissions: &Permissions, verb: Verb, namespaces: &[&str], shown: bool) -> bool {
    let labels: [Option<BTreeMap<_, _>>; 4] = [
        None,
        Some(super::labels("")),
        Some(super::labels("x=1,y=2")),
        Some(super::labels("x=10")),
    ];
    namespaces.iter().all(|namespace| {
        NAMES.iter().all(|name| {
            labels.iter().all(|labels| {
                let labels = labels.as_ref().map(|labels| labels as &dyn Labels);
                permissions
                    .decide(verb, namespace, name, labels)
                    .is_allowed()
                    == shown
            })
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]
    #[test]
    fn every_decision_is_the_oracles(rules in vec(written(), 1..8), questions in vec(asked(), 1..12)) {
        let policy = read(&rules);
        for asked in &questions {
            let expected = rules.iter().position(|rule| rule.matches(asked));
            let allowed = expected.is_some_and(|at| !rules[at].deny);
            let verb: Verb = asked.verb.parse().unwrap();
            let permissions = policy.permissions(asked.subject, &asked.groups);
            let labels = asked.labels.as_ref().map(|labels| labels as &dyn Labels);
            let decision = permissions.decide(verb, asked.namespace, asked.deployment, labels);
            let by = decision.rule().map(|rule| rule.position() - 1);
            prop_assert_eq!((decision.is_allowed(), by), (allowed, expected), "{:?}", asked);

            let who = (asked.subject, &asked.groups[..]);
            let explained = policy.explain(who, verb, asked.namespace, asked.deployment, labels);
            prop_assert_eq!(explained.decision, decision);
            prop_assert_eq!(explained.passed_over.len(), expected.unwrap_or(rules.len()));

            if allowed && asked.verb == "scale" {
                let within = rules[expected.unwrap()].counts(asked.from).contains(&asked.to);
                let judged = decision.judge_count(asked.from, asked.to, &AnnotationBounds::default(), &Bounds::default());
                prop_assert_eq!(judged.is_ok(), within, "{:?}: {:?}", asked, judged);
            }

            match permissions.decide_without_labels(verb, asked.namespace, asked.deployment) {
                Some(known) => prop_assert_eq!(known, allowed, "{:?}", asked),
                None => prop_assert!(permissions.looks_at_labels()),
            }
            if let Some(shown) = permissions.sees_namespace(verb, asked.namespace) {
                prop_assert!(holds_for_each(&permissions, verb, &[asked.namespace], shown));
            }
            if permissions.sees_everything(verb) {
                prop_assert!(holds_for_each(&permissions, verb, &NAMES, true));
            }
            if !permissions.may_ever(verb) {
                prop_assert!(holds_for_each(&permissions, verb, &NAMES, false));
            }
        }
    }
}
