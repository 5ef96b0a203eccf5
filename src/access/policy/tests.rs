mod oracle;

use std::collections::BTreeMap;

use super::*;
use crate::{
    access::{Authorization, AuthorizationFile},
    store::Annotation,
};

fn policy(rules: &str) -> Policy {
    let text = format!("mode: policy\nrules:\n{rules}");
    let file: AuthorizationFile = serde_saphyr::from_str(&text).unwrap();
    match file.read().unwrap() {
        Authorization::Policy(policy) => policy,
        other => panic!("{other:?}"),
    }
}

fn labels(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn annotations(given: &[(Annotation, &str)]) -> AnnotationBounds {
    let value = |which| {
        given
            .iter()
            .find(|(a, _)| *a == which)
            .map(|(_, value)| value.as_bytes())
    };
    let [min, max, protected] = Annotation::ALL.map(value);
    AnnotationBounds::read(min, max, protected)
}

/// Whether alice, of the group oncall, may do it to an existing Deployment without labels, and which rule says so.
fn alice(policy: &Policy, verb: Verb, namespace: &str, deployment: &str) -> (bool, Option<String>) {
    let permissions = policy.permissions("alice", &["oncall".to_owned()]);
    let decision = permissions.decide(verb, namespace, deployment, Some(&labels("")));
    (
        decision.is_allowed(),
        decision.rule().map(|rule| rule.name().to_owned()),
    )
}

fn by(allowed: bool, rule: &str) -> (bool, Option<String>) {
    (allowed, Some(rule.to_owned()))
}

#[test]
fn the_first_rule_that_matches_decides_and_later_ones_do_not() {
    let policy = policy(
        "  - {name: no, effect: deny, subjects: [alice], verbs: [scale], namespaces: [live]}
  - {name: yes, subjects: [alice], verbs: [get, scale]}
  - {name: late, effect: deny, subjects: [alice], verbs: [get]}",
    );
    assert_eq!(alice(&policy, Verb::Scale, "live", "a"), by(false, "no"));
    assert_eq!(alice(&policy, Verb::Scale, "test", "a"), by(true, "yes"));
    assert_eq!(alice(&policy, Verb::Get, "live", "a"), by(true, "yes"));
}

#[test]
fn what_no_rule_is_about_is_denied() {
    let policy = policy("  - {name: a, subjects: [alice], verbs: [get], namespaces: [web]}");
    assert_eq!(alice(&policy, Verb::Get, "web", "a"), by(true, "a"));
    for (verb, namespace) in [
        (Verb::List, "web"),
        (Verb::Scale, "web"),
        (Verb::Get, "other"),
    ] {
        assert_eq!(alice(&policy, verb, namespace, "a"), (false, None));
    }
    let nobody = policy.permissions("bob", &[]);
    assert!(!nobody.decide(Verb::Get, "web", "a", None).is_allowed());
    assert!(Verb::ALL.into_iter().all(|verb| !nobody.may_ever(verb)));
}

#[test]
fn subjects_are_names_groups_and_patterns_of_them_byte_for_byte() {
    let is_about = |subject: &str, name: &str, groups: &[&str]| {
        let policy = policy(&format!(
            "  - {{name: a, subjects: [nobody, {subject:?}], verbs: [get]}}"
        ));
        let groups: Vec<_> = groups.iter().map(|g| (*g).to_owned()).collect();
        let permissions = policy.permissions(name, &groups);
        permissions.decide(Verb::Get, "a", "a", None).is_allowed()
    };
    for (subject, name, groups) in [
        ("alice", "alice", &[][..]),
        ("*", "alice", &[]),
        (
            "spiffe://example.org/ci/*",
            "spiffe://example.org/ci/a/b",
            &[],
        ),
        ("group:oncall", "alice", &["dev", "oncall"]),
        ("group:on*", "alice", &["oncall"]),
        ("group:*", "alice", &["dev"]),
        ("*oncall", "group:oncall", &[]),
    ] {
        assert!(is_about(subject, name, groups), "{subject} {name}");
    }
    for (subject, name, groups) in [
        ("alice", "Alice", &[][..]),
        ("alice", "alice2", &[]),
        ("oncall", "alice", &["oncall"]),
        ("group:alice", "alice", &[]),
        ("group:oncall", "group:oncall", &[]),
        ("group:*", "alice", &[]),
        ("al?ce", "alice", &[]),
    ] {
        assert!(!is_about(subject, name, groups), "{subject} {name}");
    }
}

#[test]
fn a_subject_that_looks_like_another_one_is_refused() {
    for subject in ["ali\u{202e}ce", "group:on\u{61c}call", "a\nb"] {
        let refused = subject.parse::<super::Subject>().unwrap_err();
        assert!(refused.contains("hides or turns text"), "{refused}");
        assert!(
            !refused.chars().any(crate::telemetry::log::hides),
            "{refused:?}"
        );
    }
}

#[test]
fn patterns_of_namespaces_and_deployments_match_whole_names() {
    let policy = policy(
        "  - {name: a, subjects: [alice], verbs: [get], namespaces: [web, team-*], deployments: [shop-*, api]}",
    );
    for (namespace, deployment) in [("web", "api"), ("team-", "shop-"), ("team-a", "shop-b")] {
        assert!(alice(&policy, Verb::Get, namespace, deployment).0);
    }
    for (namespace, deployment) in [
        ("web2", "api"),
        ("team", "api"),
        ("web", "api2"),
        ("web", "my-shop-b"),
    ] {
        assert!(!alice(&policy, Verb::Get, namespace, deployment).0);
    }
}

#[test]
fn a_missing_deployment_is_not_allowed_by_label_and_is_denied_by_label() {
    let policy = policy(
        "  - {name: deny, effect: deny, subjects: [alice], verbs: [get], labelSelector: locked=yes}
  - {name: web, subjects: [alice], verbs: [get, scale], labelSelector: team=web}
  - {name: untold, subjects: [alice], verbs: [scale], labelSelector: \"!team\"}
  - {name: all, subjects: [alice], verbs: [get]}",
    );
    let permissions = policy.permissions("alice", &[]);
    let decide = |verb, labels: Option<&dyn Labels>| {
        let decision = permissions.decide(verb, "a", "a", labels);
        (decision.is_allowed(), decision.rule().map(Rule::name))
    };
    assert_eq!(decide(Verb::Get, None), (false, Some("deny")));
    assert_eq!(decide(Verb::Scale, None), (false, None));
    assert_eq!(
        decide(Verb::Scale, Some(&labels(""))),
        (true, Some("untold"))
    );
    assert_eq!(
        decide(Verb::Scale, Some(&labels("team=web"))),
        (true, Some("web"))
    );
    assert_eq!(
        decide(Verb::Get, Some(&labels("team=web,locked=yes"))),
        (false, Some("deny"))
    );
    assert_eq!(
        decide(Verb::Get, Some(&labels("team=db"))),
        (true, Some("all"))
    );
}

#[test]
fn every_rule_that_was_passed_over_says_why() {
    let policy = policy(
        "  - {name: subject, subjects: [bob], verbs: [get]}
  - {name: verb, subjects: [alice], verbs: [list]}
  - {name: namespace, subjects: [alice], verbs: [get], namespaces: [b]}
  - {name: deployment, subjects: [alice], verbs: [get], deployments: [b]}
  - {name: labels, subjects: [alice], verbs: [get], labelSelector: b}
  - {name: last, effect: deny, subjects: [alice], verbs: [get]}
  - {name: after, subjects: [alice], verbs: [get]}",
    );
    let why = |labels: Option<&dyn Labels>| {
        let explanation = policy.explain(("alice", &[]), Verb::Get, "a", "a", labels);
        assert_eq!(explanation.decision.rule().map(Rule::position), Some(6));
        let passed = explanation.passed_over.into_iter();
        passed
            .map(|(rule, why)| (rule.name(), why))
            .collect::<Vec<_>>()
    };
    let mut expected = vec![
        ("subject", Mismatch::Subject),
        ("verb", Mismatch::Verb),
        ("namespace", Mismatch::Namespace),
        ("deployment", Mismatch::Deployment),
        ("labels", Mismatch::Labels),
    ];
    assert_eq!(why(Some(&labels("a=b"))), expected);
    expected[4].1 = Mismatch::Missing;
    assert_eq!(why(None), expected);
}

#[test]
fn in_mode_any_the_verbs_are_allowed_for_everything_and_unbounded() {
    let permissions = Permissions::any(Verbs::USUAL);
    for verb in Verb::ALL {
        let usual = Verbs::USUAL.contains(verb);
        let decision = permissions.decide(verb, "a", "a", None);
        assert_eq!((decision.is_allowed(), decision.rule()), (usual, None));
        assert_eq!(permissions.may_ever(verb), usual);
        assert_eq!(permissions.sees_everything(verb), usual);
        assert_eq!(permissions.sees_namespace(verb, "a"), Some(usual));
        let judged = decision.judge_count(
            0,
            i32::MAX,
            &AnnotationBounds::default(),
            &Bounds::default(),
        );
        assert_eq!(judged, Ok(()));
    }
    let summary = serde_json::to_value(permissions.summary()).unwrap();
    let expected =
        serde_json::json!([{"effect": "allow", "verbs": ["get", "list", "watch", "scale"]}]);
    assert_eq!(summary, expected);
}

#[test]
fn what_is_alike_for_a_whole_namespace_is_known_without_its_deployments() {
    let policy = policy(
        "  - {name: a, subjects: [alice], verbs: [list], namespaces: [web], deployments: [shop-*]}
  - {name: b, effect: deny, subjects: [alice], verbs: [list], namespaces: [secret]}
  - {name: c, subjects: [alice], verbs: [list], namespaces: [web, team-*], deployments: [\"*\"]}
  - {name: d, subjects: [alice], verbs: [list], namespaces: [mixed], labelSelector: a}
  - {name: e, subjects: [alice], verbs: [get, list], namespaces: [\"*\"]}
  - {name: f, effect: deny, subjects: [alice], verbs: [watch, image]}
  - {name: g, subjects: [alice], verbs: [watch]}
  - {name: h, subjects: [alice], verbs: [restart], deployments: [a]}",
    );
    let permissions = policy.permissions("alice", &[]);
    for (verb, namespace, seen) in [
        (Verb::List, "web", Some(true)),
        (Verb::List, "secret", Some(false)),
        (Verb::List, "team-a", Some(true)),
        (Verb::List, "mixed", Some(true)),
        (Verb::List, "else", Some(true)),
        (Verb::Watch, "web", Some(false)),
        (Verb::Scale, "web", Some(false)),
        (Verb::Restart, "web", None),
    ] {
        assert_eq!(
            permissions.sees_namespace(verb, namespace),
            seen,
            "{verb} {namespace}"
        );
    }
    assert!(permissions.sees_everything(Verb::Get));
    assert!(!permissions.sees_everything(Verb::List));
    let ever: Vec<_> = Verb::ALL
        .into_iter()
        .filter(|verb| permissions.may_ever(*verb))
        .collect();
    assert_eq!(ever, [Verb::Get, Verb::List, Verb::Restart]);
}

#[test]
fn a_denied_label_keeps_a_namespace_undecided_though_all_else_is_allowed() {
    let policy = policy(
        "  - {name: a, effect: deny, subjects: [alice], verbs: [list], labelSelector: locked}
  - {name: b, subjects: [alice], verbs: [list]}",
    );
    let permissions = policy.permissions("alice", &[]);
    assert_eq!(permissions.sees_namespace(Verb::List, "a"), None);
    assert!(!permissions.sees_everything(Verb::List));
}

#[test]
fn the_keys_of_all_selectors_are_told() {
    let policy = policy(
        "  - {name: a, subjects: [alice], verbs: [list], labelSelector: \"b=1,!a\"}
  - {name: b, subjects: [bob], verbs: [list], labelSelector: b in (2)}",
    );
    assert_eq!(
        policy.label_keys().into_iter().collect::<Vec<_>>(),
        ["a", "b"]
    );
}

#[test]
fn a_summary_tells_a_caller_its_own_rules_and_nobody_elses() {
    let policy = policy(
        "  - {name: others, subjects: [bob], verbs: [list]}
  - name: mine
    subjects: [bob, alice]
    verbs: [\"*\"]
    namespaces: [web, team-*]
    deployments: [shop-*]
    labelSelector: a in (b)
    bounds: {min: 1, max: 20, maxStep: 5, allowZero: false}
    images: {registries: [registry.example.com/shop], denyTags: [latest], digest: required}",
    );
    let permissions = policy.permissions("alice", &[]);
    let summary = serde_json::to_value(permissions.summary()).unwrap();
    let expected = serde_json::json!([{
        "rule": "mine",
        "effect": "allow",
        "verbs": ["get", "list", "watch", "scale", "image", "restart", "pause", "rollback"],
        "namespaces": ["web", "team-*"],
        "deployments": ["shop-*"],
        "labelSelector": "a in (b)",
        "bounds": {"min": 1, "max": 20, "maxStep": 5, "allowZero": false},
        "images": {"registries": ["registry.example.com/shop"], "denyTags": ["latest"], "digest": "required"},
    }]);
    assert_eq!(summary, expected);
}

#[test]
fn a_count_must_be_within_the_servers_the_rules_and_the_annotations_bounds() {
    let policy = policy(
        "  - {name: ci, subjects: [alice], verbs: [scale], bounds: {min: 2, max: 20, allowZero: true}}",
    );
    let permissions = policy.permissions("alice", &[]);
    let decision = permissions.decide(Verb::Scale, "a", "a", None);
    let judge = |to, annotations: AnnotationBounds| {
        let judged = decision.judge_count(5, to, &annotations, &Bounds::up_to(10));
        judged.map_or_else(|violation| violation.to_string(), |()| "allowed".into())
    };
    let none = AnnotationBounds::default();
    let some = annotations(&[
        (Annotation::MinReplicas, "1"),
        (Annotation::MaxReplicas, "8"),
    ]);
    for (to, annotations, said) in [
        (10, none, "allowed"),
        (0, none, "allowed"),
        (11, none, "this server (--max-replicas)"),
        (30, some, "this server (--max-replicas)"),
        (1, none, "the rule \"ci\""),
        (1, some, "the rule \"ci\""),
        (9, some, "the Deployment's annotations"),
        (0, some, "minimum of 1 set by the Deployment's annotations"),
        (8, some, "allowed"),
        (
            30,
            annotations(&[(Annotation::Protected, "true")]),
            "protected",
        ),
        (
            5,
            annotations(&[(Annotation::MinReplicas, "x")]),
            "headcount/min-replicas",
        ),
    ] {
        let sentence = judge(to, annotations);
        assert!(sentence.contains(said), "{to}: {sentence}");
    }
}
