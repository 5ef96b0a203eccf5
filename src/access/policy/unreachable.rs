//! Rules that decide nothing, whatever is asked: mistakes that no single rule shows.

use super::{Effect, Glob, Policy, Rule, Subject};

/// Why a rule never decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreachable<'p> {
    /// An earlier rule matches wherever it would.
    Behind(&'p Rule),
    /// None of the managed namespaces is among those that it is about.
    Elsewhere,
}

impl Policy {
    /// The rules that never decide, where these namespaces are managed; without any, all are.
    ///
    /// Patterns are compared as they are written: a rule that isn't told of may be one nevertheless.
    pub fn unreachable(&self, managed: &[String]) -> Vec<(&Rule, Unreachable<'_>)> {
        let mut found = Vec::new();
        for (position, rule) in self.rules.iter().enumerate() {
            let before = &self.rules[..position];
            if let Some(earlier) = before.iter().find(|earlier| earlier.covers(rule)) {
                found.push((&**rule, Unreachable::Behind(earlier)));
            } else if !managed.is_empty() && !managed.iter().any(|name| rule.is_in(name)) {
                found.push((&**rule, Unreachable::Elsewhere));
            }
        }
        found
    }

    /// Whether some rule allows something of this kind to somebody.
    pub fn allows(&self, verb: crate::access::Verb) -> bool {
        let mut rules = self.rules.iter();
        rules.any(|rule| rule.effect == Effect::Allow && rule.verbs.contains(verb))
    }
}

impl Rule {
    /// Whether it matches whatever `later` matches.
    fn covers(&self, later: &Self) -> bool {
        self.selector.is_none()
            && later.verbs.without(self.verbs) == crate::access::Verbs::default()
            && later
                .subjects
                .iter()
                .all(|subject| self.is_about_all_of(subject))
            && contains(self.namespaces.as_deref(), later.namespaces.as_deref())
            && contains(self.deployments.as_deref(), later.deployments.as_deref())
    }

    fn is_about_all_of(&self, subject: &Subject) -> bool {
        self.subjects.iter().any(|own| {
            let everybody = matches!(own, Subject::Name(glob) if glob.matches_everything());
            everybody || own == subject
        })
    }
}

/// Whether some patterns match whatever others match; `None` is all.
fn contains(some: Option<&[Glob]>, others: Option<&[Glob]>) -> bool {
    let Some(some) = some else { return true };
    if some.iter().any(Glob::matches_everything) {
        return true;
    }
    others.is_some_and(|others| others.iter().all(|other| some.contains(other)))
}

#[cfg(test)]
mod tests {
    use crate::{
        access::Verb,
        access::{Authorization, AuthorizationFile, Policy, Unreachable},
    };

    fn policy(rules: &str) -> Policy {
        let text = format!("mode: policy\nrules:\n{rules}");
        let file: AuthorizationFile = serde_saphyr::from_str(&text).unwrap();
        match file.read().unwrap() {
            Authorization::Policy(policy) => policy,
            other => panic!("{other:?}"),
        }
    }

    fn told(rules: &str, managed: &[&str]) -> Vec<String> {
        let managed: Vec<_> = managed.iter().map(|name| (*name).to_owned()).collect();
        let policy = policy(rules);
        let told = policy
            .unreachable(&managed)
            .into_iter()
            .map(|(rule, why)| match why {
                Unreachable::Behind(earlier) => {
                    format!("{} behind {}", rule.name(), earlier.name())
                }
                Unreachable::Elsewhere => format!("{} elsewhere", rule.name()),
            });
        told.collect()
    }

    #[test]
    fn a_rule_behind_one_that_matches_wherever_it_does_never_decides() {
        let rules = r#"
- {name: everybody reads, subjects: ["*"], verbs: [get, list]}
- {name: alice reads, subjects: [alice], verbs: [get], namespaces: [web]}
- {name: the group reads, subjects: ["group:a"], verbs: [get, list]}
- {name: alice scales, subjects: [alice], verbs: [get, scale]}
"#;
        assert_eq!(
            told(rules, &[]),
            [
                "alice reads behind everybody reads",
                "the group reads behind everybody reads"
            ]
        );
    }

    #[test]
    fn a_rule_that_another_covers_in_part_only_may_decide() {
        let rules = r#"
- {name: labelled, subjects: ["*"], verbs: [get], labelSelector: "team=web"}
- {name: web, subjects: ["*"], verbs: [get], namespaces: ["web-*"]}
- {name: groups, subjects: ["group:*"], verbs: [get]}
- {name: all, subjects: ["*"], verbs: [get]}
"#;
        assert_eq!(told(rules, &[]), [""; 0]);
    }

    #[test]
    fn a_rule_about_namespaces_that_are_not_managed_never_decides() {
        let rules = r#"
- {name: web, subjects: [alice], verbs: [get], namespaces: ["web-*"]}
- {name: shop, subjects: [alice], verbs: [get], namespaces: [shop]}
"#;
        assert_eq!(told(rules, &["shop"]), ["web elsewhere"]);
        assert_eq!(told(rules, &[]), [""; 0]);
    }

    #[test]
    fn a_verb_that_no_rule_allows_is_allowed_to_nobody() {
        let policy = policy(
            r#"
- {name: never images, effect: deny, subjects: [alice], verbs: [image]}
- {name: scales, subjects: ["*"], verbs: [scale]}
"#,
        );
        assert!(policy.allows(Verb::Scale));
        assert!(!policy.allows(Verb::Image));
    }
}
