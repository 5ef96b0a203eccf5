use super::*;

fn read(text: &str) -> Result<Authorization, (Option<u64>, String)> {
    let file: AuthorizationFile =
        serde_saphyr::from_str(text).map_err(|e| crate::yaml::fault(&e, text))?;
    file.read().map_err(|error| (error.line, error.to_string()))
}

/// A policy of one rule with these lines more; the first of them is line 6.
fn rule(more: &str) -> Result<Authorization, (Option<u64>, String)> {
    let more: String = more.lines().map(|line| format!("    {line}\n")).collect();
    read(&format!(
        "mode: policy\nrules:\n  - name: ci\n    subjects: [ci]\n    verbs: [\"*\"]\n{more}"
    ))
}

/// Asserts that it is refused at this line with a sentence that has all these parts.
fn refused(read: Result<Authorization, (Option<u64>, String)>, line: u64, parts: &[&str]) {
    let (at, sentence) = read.unwrap_err();
    assert_eq!(at, Some(line), "{sentence}");
    for part in parts {
        assert!(sentence.contains(part), "{part:?} isn't in {sentence:?}");
    }
}

#[test]
fn without_a_mode_any_client_may_do_what_is_usual() {
    assert_eq!(read("{}"), Ok(Authorization::default()));
    assert_eq!(read("mode: any"), Ok(Authorization::default()));
    assert_eq!(
        read("enable: [image, restart, pause, rollback]"),
        Ok(Authorization::Any(Verbs::ALL))
    );
    assert_eq!(read("enable: [get]"), Ok(Authorization::default()));
}

#[test]
fn kubernetes_names_have_a_prefix_unless_another_is_given() {
    assert_eq!(
        read("mode: kubernetes"),
        Ok(Authorization::Kubernetes(KubernetesNames::default()))
    );
    assert_eq!(
        read("mode: kubernetes\nkubernetes: {userPrefix: \"u:\"}"),
        Ok(Authorization::Kubernetes(KubernetesNames {
            user_prefix: "u:".into(),
            group_prefix: "headcount:".into(),
        }))
    );
    for bad in ["\"\"", "\"system:\"", "\"system:masters\""] {
        for key in ["userPrefix", "groupPrefix"] {
            refused(
                read(&format!("mode: kubernetes\nkubernetes:\n  {key}: {bad}")),
                3,
                &[key],
            );
        }
    }
}

#[test]
fn what_would_decide_nothing_is_refused() {
    let rules = "rules:\n  - {name: a, subjects: [a], verbs: [get]}\n";
    refused(read(rules), 2, &["rules is for mode policy"]);
    refused(read(&format!("{rules}mode: any")), 2, &["set mode: policy"]);
    refused(read(&format!("{rules}mode: kubernetes")), 2, &["rules"]);
    refused(
        read(&format!("{rules}mode: policy\nenable: [image]")),
        4,
        &["enable is for mode any"],
    );
    refused(
        read("kubernetes: {}"),
        1,
        &["kubernetes is for mode kubernetes"],
    );
    refused(read("mode: policy"), 1, &["needs rules"]);
    refused(read("mode: policy\nrules: []"), 2, &["empty list"]);
}

#[test]
fn what_is_empty_never_means_all() {
    for key in ["namespaces", "deployments"] {
        refused(
            rule(&format!("{key}: []")),
            6,
            &["rule \"ci\"", key, "never means all"],
        );
        refused(
            rule(&format!("{key}: [\"\"]")),
            6,
            &["rule \"ci\"", key, "matches no"],
        );
        for nothing in ["", "~"] {
            refused(
                rule(&format!("{key}: {nothing}")),
                6,
                &["the key has no value"],
            );
        }
    }
    refused(
        rule("labelSelector: \"\""),
        6,
        &["rule \"ci\"", "labelSelector is empty"],
    );
    refused(rule("labelSelector: \" \""), 6, &["labelSelector is empty"]);
    refused(rule("labelSelector:"), 6, &["the key has no value"]);
    refused(rule("bounds: {}"), 6, &["bounds are empty"]);
    refused(rule("bounds: {max: ~}"), 6, &["the key has no value"]);
    refused(rule("images: {}"), 6, &["images are empty"]);
    refused(rule("images: {tags: []}"), 6, &["tags is an empty list"]);
    let start = "mode: policy\nrules:\n  - name: ci\n";
    refused(
        read(&format!("{start}    verbs: [get]\n    subjects: []")),
        5,
        &["rule \"ci\"", "subjects", "never means all"],
    );
    refused(
        read(&format!("{start}    subjects: [a]\n    verbs: []")),
        5,
        &["rule \"ci\"", "verbs", "never means all"],
    );
    for nobody in ["\"\"", "\"group:\"", "~"] {
        let (_, sentence) = read(&format!(
            "{start}    verbs: [get]\n    subjects: [{nobody}]"
        ))
        .unwrap_err();
        assert!(
            sentence.contains("empty") || sentence.contains("null"),
            "{sentence}"
        );
    }
}

#[test]
fn a_rule_says_whom_and_what_it_is_about_and_nothing_unknown() {
    for (text, part) in [
        ("{subjects: [a], verbs: [get]}", "name"),
        ("{name: a, verbs: [get]}", "subjects"),
        ("{name: a, subjects: [a]}", "verbs"),
        (
            "{name: a, subjects: [a], verbs: [get], namespace: [a]}",
            "namespace",
        ),
        (
            "{name: a, subjects: [a], verbs: [get], effect: Deny}",
            "Deny",
        ),
        ("{name: a, subjects: a, verbs: [get]}", ""),
        ("{name: a, name: b, subjects: [a], verbs: [get]}", "name"),
    ] {
        refused(
            read(&format!("mode: policy\nrules:\n  - {text}")),
            3,
            &[part],
        );
    }
    let star = "mode: policy\nrules:\n  - {name: a, subjects: [*], verbs: [get]}";
    refused(read(star), 3, &["put quotes around what begins with *"]);
    refused(read("mode: sometimes"), 1, &["sometimes"]);
    refused(read("mode: any\nrule: []"), 2, &["rule"]);
    refused(rule("bounds: {maximum: 3}"), 6, &["maximum"]);
    refused(rule("images: {registry: [a]}"), 6, &["registry"]);
}

#[test]
fn names_of_rules_are_one_line_and_each_has_its_own() {
    let rules = |first: &str, second: &str| {
        read(&format!(
            "mode: policy\nrules:\n  - {{name: {first}, subjects: [a], verbs: [get]}}\n  - {{name: {second}, subjects: [a], verbs: [get]}}"
        ))
    };
    assert!(rules("a", "A").is_ok());
    refused(
        rules("a", "a"),
        4,
        &["rule \"a\"", "rule 1 has this name already"],
    );
    for bad in ["\"\"", "\" \"", "\"a\\nb\""] {
        refused(rules("a", bad), 4, &["name is text on one line"]);
    }
}

#[test]
fn an_unknown_verb_is_named_with_its_line_and_those_that_exist() {
    let text = "mode: policy\nrules:\n  - name: ci\n    subjects: [ci]\n    verbs:\n      - get\n      - delete\n";
    refused(
        read(text),
        7,
        &[
            "rule \"ci\"",
            "\"delete\"",
            "get, list, watch, scale, image, restart, pause and rollback",
        ],
    );
    refused(read("enable: [get, Image]"), 1, &["\"Image\""]);
}

#[test]
fn a_pattern_that_no_name_matches_is_refused() {
    let text = |key: &str, pattern: &str| rule(&format!("{key}:\n  - good\n  - {pattern:?}"));
    for good in ["a", "a-*", "*-a", "*", "**", "a*b", "*a*", "0"] {
        for key in ["namespaces", "deployments"] {
            assert!(text(key, good).is_ok(), "{good}");
        }
    }
    let longest = ["a".repeat(63), "a".repeat(63) + "*"];
    for pattern in longest {
        assert!(text("namespaces", &pattern).is_ok(), "{pattern}");
    }
    for bad in [
        "A",
        "a_b",
        "-*",
        "*-",
        "a b",
        "a/b",
        "a?",
        "[a]",
        "ä*",
        " a",
        &"a".repeat(254),
    ] {
        refused(
            text("namespaces", bad),
            8,
            &["rule \"ci\"", "matches no namespace"],
        );
        refused(
            text("deployments", bad),
            8,
            &["rule \"ci\"", "matches no Deployment"],
        );
    }
    refused(text("namespaces", "a.b"), 8, &["matches no namespace"]);
    refused(
        text("namespaces", &"a".repeat(64)),
        8,
        &["matches no namespace"],
    );
    assert!(text("deployments", "a.b").is_ok() && text("deployments", "a.*").is_ok());
    refused(text("deployments", "a..*"), 8, &["matches no Deployment"]);
}

#[test]
fn a_malformed_selector_is_shown() {
    refused(
        rule("labelSelector: a in ("),
        6,
        &["rule \"ci\"", "\"a in (\"", "team=web"],
    );
}

#[test]
fn bounds_that_cannot_be_are_refused() {
    for (text, part) in [
        ("{min: -1}", "min -1"),
        ("{max: -1}", "max -1"),
        ("{max: 2147483648}", "max 2147483648"),
        ("{maxStep: 0}", "maxStep 0"),
        ("{min: 5, max: 3}", "min 5 is above max 3"),
        ("{min: 5, max: 3, allowZero: true}", "min 5 is above max 3"),
        ("{max: 0, allowZero: false}", "allowZero"),
    ] {
        refused(rule(&format!("bounds: {text}")), 6, &["rule \"ci\"", part]);
    }
    for text in ["{min: many}", "{min: 1.5}", "{allowZero: perhaps}"] {
        refused(rule(&format!("bounds: {text}")), 6, &[]);
    }
    assert!(rule("bounds: {min: 0, max: 2147483647, maxStep: 1, allowZero: true}").is_ok());
}

#[test]
fn bounds_that_nothing_is_judged_by_are_refused() {
    let text = |verbs: &str, more: &str| {
        read(&format!(
            "mode: policy\nrules:\n  - name: ci\n    subjects: [ci]\n    verbs: {verbs}\n    {more}\n"
        ))
    };
    refused(
        text("[get, image]", "bounds: {max: 3}"),
        6,
        &["rule \"ci\"", "add scale to verbs"],
    );
    refused(
        text("[get, scale]", "images: {digest: required}"),
        6,
        &["rule \"ci\"", "add image to verbs"],
    );
    for more in ["bounds: {max: 3}", "images: {digest: required}"] {
        refused(
            rule(&format!("effect: deny\n{more}")),
            7,
            &["rule \"ci\"", "this rule denies"],
        );
    }
}

#[test]
fn repositories_begin_with_their_registry_and_tags_are_such() {
    let registry = |text: &str| rule(&format!("images: {{registries: [{text:?}]}}"));
    for good in [
        "registry.example.com",
        "registry.example.com:5000/a/b_c",
        "localhost/a",
        "docker.io/library",
    ] {
        assert!(registry(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "shop",
        "registry.example.com/",
        "https://registry.example.com",
        "registry.example.com/a:1",
        "registry.example.com/a@b",
        "registry.example.com/*",
        "registry.example.com/A",
        "registry.example.com//a",
        "Registry.example.com/a",
        "index.docker.io/library",
    ] {
        refused(registry(bad), 6, &["rule \"ci\"", "registries", bad]);
    }
    for key in ["tags", "denyTags"] {
        let tag = |text: &str| rule(&format!("images: {{{key}: [{text:?}]}}"));
        for good in ["v1.*", "*", "latest", "A_b-c", "*-rc*"] {
            assert!(tag(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", ".*", "a:b", "a/b", &"a".repeat(129)] {
            refused(tag(bad), 6, &["rule \"ci\"", key, "matches no tag"]);
        }
    }
    refused(rule("images: {digest: forbidden}"), 6, &["forbidden"]);
}
