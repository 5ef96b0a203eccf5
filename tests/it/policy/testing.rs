//! `headcount policy test`.

use super::Desk;

const RULES: &str = "authorization:
  mode: policy
  rules:
    - {name: freeze, effect: deny, subjects: [\"*\"], verbs: [scale], namespaces: [live]}
    - {name: ci, subjects: [ci], verbs: [scale], bounds: {max: 5}}
";

const HEAD: &str = "apiVersion: headcount/v1alpha1\nkind: PolicyTest\ntests:\n";

fn desk(tests: &str) -> Desk {
    let desk = Desk::with(RULES);
    desk.write("expectations.yaml", &format!("{HEAD}{tests}"));
    desk
}

#[test]
fn all_as_expected_says_how_many_and_ends_with_zero() {
    let desk = desk(
        "  - {subject: ci, verb: scale, namespace: web, deployment: a, from: 1, to: 5, expect: allow, rule: ci}
  - {subject: ci, verb: scale, namespace: web, deployment: a, from: 1, to: 6, expect: deny, rule: ci}
  - {subject: bob, verb: scale, namespace: web, expect: deny}\n",
    );
    assert_eq!(
        desk.said("test", &["expectations.yaml"], 0),
        "3 passed, 0 failed\n"
    );
}

#[test]
fn each_failure_says_what_was_expected_and_why_it_is_otherwise() {
    let desk = desk(
        "  - {subject: ci, verb: scale, namespace: web, deployment: a, expect: allow}
  - name: frozen
    subject: ci
    verb: scale
    namespace: live
    deployment: a
    expect: allow
  - {subject: ci, verb: scale, namespace: live, deployment: a, expect: deny, rule: ci}
  - {subject: bob, verb: scale, namespace: web, deployment: a, expect: deny, rule: ci}\n",
    );
    assert_eq!(
        desk.said("test", &["expectations.yaml"], 1),
        "FAILED test 2 \"frozen\" (line 5): expected allow, and it is deny
denied: rule 1 (\"freeze\") denies it

FAILED test 3 (line 11): expected rule \"ci\" to decide, and it is rule 1 (\"freeze\")
denied: rule 1 (\"freeze\") denies it

FAILED test 4 (line 12): expected rule \"ci\" to decide, and it is no rule
denied: no rule matches, and what no rule allows is denied
passed over: rule 1 (\"freeze\"): it is about other namespaces
passed over: rule 2 (\"ci\"): it is about other subjects

1 passed, 3 failed
"
    );
}

#[test]
fn what_tests_nothing_is_refused_and_never_passes() {
    for (text, part) in [
        (format!("{HEAD}  []\n"), "empty list"),
        (
            format!("{HEAD}  - {{subject: ci, verb: scale, namespace: web}}\n"),
            "line 4",
        ),
        (
            format!("{HEAD}  - {{subject: ci, verb: scale, namespace: web, expect: allowed}}\n"),
            "line 4",
        ),
        (
            format!("{HEAD}  - {{subject: ci, verb: scales, namespace: web, expect: allow}}\n"),
            "line 4",
        ),
        (
            format!(
                "{HEAD}  - {{subject: ci, verb: scale, namespace: web, expect: allow, effect: allow}}\n"
            ),
            "effect",
        ),
        (
            format!(
                "{HEAD}  - {{subject: ci, verb: scale, namespace: web, expect: allow, rule: }}\n"
            ),
            "no value",
        ),
        (
            format!(
                "{HEAD}  - {{subject: ci, verb: scale, namespace: web, deployment: a, to: 5, expect: allow}}\n"
            ),
            "test 1 (line 4)",
        ),
        (
            format!("{HEAD}  - {{subject: ci, verb: scale, namespace: Web, expect: allow}}\n"),
            "\"Web\" is no namespace",
        ),
        (
            HEAD.replace("PolicyTest", "Configuration")
                + "  - {subject: ci, verb: scale, namespace: web, expect: allow}\n",
            "PolicyTest",
        ),
        (
            HEAD.replace("v1alpha1", "v1")
                + "  - {subject: ci, verb: scale, namespace: web, expect: allow}\n",
            "headcount/v1alpha1",
        ),
        (String::new(), "expectations.yaml"),
    ] {
        let desk = Desk::with(RULES);
        desk.write("expectations.yaml", &text);
        let sentence = desk.refused("test", &["expectations.yaml"]);
        assert!(
            sentence.contains("expectations.yaml") && sentence.contains(part),
            "{text}: {sentence}"
        );
    }
    assert!(
        desk("")
            .refused("test", &["gone.yaml"])
            .contains("No such file")
    );
}
