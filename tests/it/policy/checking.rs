//! `headcount policy check`.

use headcount::pki::{Authority, Leaf};
use serde_json::{Value, json};

use super::Desk;

const RULES: &str = "tlsCert: /nonexistent/tls.crt
maxReplicas: 50
authorization:
  mode: policy
  rules:
    - {name: freeze, effect: deny, subjects: [\"*\"], verbs: [scale], namespaces: [live]}
    - {name: ci, subjects: [\"ci/*\"], verbs: [get, scale, image], deployments: [shop-*], labelSelector: team=web,
       bounds: {min: 2, maxStep: 5}, images: {registries: [registry.example.com/shop]}}
    - {name: oncall, subjects: [\"group:oncall\"], verbs: [\"*\"]}
";

const CI: [&str; 8] = [
    "--subject=ci/web",
    "--verb=scale",
    "--namespace=web",
    "--deployment=shop-web",
    "--label=team=web",
    "--label=tier=front",
    "--from=4",
    "--to=9",
];

/// The flags with one of them changed.
fn changed<'a>(flag: &str, to: &'a str) -> Vec<&'a str> {
    let others = CI.iter().copied().filter(|given| !given.starts_with(flag));
    others.chain([to]).collect()
}

#[test]
fn what_is_allowed_says_by_which_rule_within_which_bounds_and_which_were_passed_over() {
    let desk = Desk::with(RULES);
    assert_eq!(
        desk.said("check", &CI, 0),
        "allowed: rule 2 (\"ci\") allows it\n\
         bounds: min 2, max 50, maxStep 5\n\
         passed over: rule 1 (\"freeze\"): it is about other namespaces\n"
    );
}

#[test]
fn what_is_denied_says_by_whom_and_has_an_exit_code_of_its_own() {
    let desk = Desk::with(RULES);
    for (args, first) in [
        (
            changed("--namespace", "--namespace=live"),
            "denied: rule 1 (\"freeze\") denies it",
        ),
        (
            changed("--subject", "--subject=bob"),
            "denied: no rule matches, and what no rule allows is denied",
        ),
        (
            changed("--to", "--to=10"),
            "denied: rule 2 (\"ci\") allows it, but 10 is more than 5 away from the present count of 4, and the rule \"ci\" allows no larger step: go there in smaller ones",
        ),
        (
            changed("--to", "--to=1"),
            "denied: rule 2 (\"ci\") allows it, but 1 is below the minimum of 2 set by the rule \"ci\": ask for 2 or more",
        ),
        (
            changed("--to", "--to=51"),
            "denied: rule 2 (\"ci\") allows it, but 51 is above the maximum of 50 set by this server (--max-replicas): ask for 50 or fewer",
        ),
        (
            changed("none", "--annotation=headcount/max-replicas=8"),
            "denied: rule 2 (\"ci\") allows it, but 9 is above the maximum of 8 set by the Deployment's annotations: ask for 8 or fewer",
        ),
        (
            changed("none", "--annotation=headcount/protected=true"),
            "denied: rule 2 (\"ci\") allows it, but the Deployment is protected by its annotation headcount/protected: whoever may edit the Deployment can remove it",
        ),
    ] {
        let said = desk.said("check", &args, 3);
        assert_eq!(said.lines().next(), Some(first), "{args:?}");
    }
}

#[test]
fn every_rule_that_did_not_match_says_why() {
    let desk = Desk::with(RULES);
    for (args, why) in [
        (changed("--subject", "--subject=cj/web"), "other subjects"),
        (
            changed("--deployment", "--deployment=web"),
            "Deployments of other names",
        ),
        (
            changed("--label=team", "--label=team=db"),
            "label selector doesn't select",
        ),
    ] {
        let said = desk.said("check", &args, 3);
        let line = said.lines().find(|line| line.contains("rule 2 (\"ci\")"));
        assert!(line.is_some_and(|line| line.contains(why)), "{said}");
    }
    let missing = [
        "--subject=ci/web",
        "--verb=get",
        "--namespace=web",
        "--deployment=shop-web",
        "--missing",
    ];
    let said = desk.said("check", &missing, 3);
    assert!(
        said.contains("a missing Deployment has no labels"),
        "{said}"
    );
}

#[test]
fn groups_count_and_a_group_is_no_name() {
    let desk = Desk::with(RULES);
    let ask = |who: &[&str], code| {
        desk.said(
            "check",
            &[
                who,
                &["--verb=restart", "--namespace=web", "--deployment=a"],
            ]
            .concat(),
            code,
        )
    };
    ask(&["--subject=alice", "--group=dev", "--group=oncall"], 0);
    ask(&["--subject=alice", "--group=dev"], 3);
    ask(&["--subject=oncall"], 3);
    ask(&["--subject=group:oncall"], 3);
}

#[test]
fn a_certificate_stands_for_the_name_and_the_groups_in_it() {
    let desk = Desk::with(&format!("{RULES}identity: {{principal: [commonName]}}\n"));
    let authority = Authority::new("clients").unwrap();
    let mut leaf = Leaf::client("olga");
    leaf.organizations = vec!["oncall".into()];
    desk.write("olga.crt", &authority.issue(&leaf).unwrap().chain_pem);
    leaf.organizations.clear();
    desk.write("ordinary.crt", &authority.issue(&leaf).unwrap().chain_pem);
    leaf.common_name.clear();
    desk.write("nobody.crt", &authority.issue(&leaf).unwrap().chain_pem);
    let what = ["--verb=restart", "--namespace=web", "--deployment=a"];
    let with = |who: &'static str| [&[who][..], &what].concat();
    desk.said("check", &with("--cert=olga.crt"), 0);
    desk.said("check", &with("--cert=ordinary.crt"), 3);
    let refused = desk.refused("check", &with("--cert=nobody.crt"));
    assert!(refused.contains("names no caller"), "{refused}");
    desk.refused("check", &with("--cert=missing.crt"));
    desk.refused(
        "check",
        &[&["--subject=a"][..], &with("--cert=olga.crt")].concat(),
    );
    desk.refused("check", &what);
}

#[test]
fn images_are_judged_by_the_rule_that_allows_them() {
    let desk = Desk::with(RULES);
    let ask = |image: &str, code| {
        let args = [
            "--subject=ci/web",
            "--verb=image",
            "--namespace=web",
            "--deployment=shop-web",
            "--label=team=web",
            image,
        ];
        desk.said("check", &args, code)
    };
    ask("--image=registry.example.com/shop/web:1", 0);
    let said = ask("--image=nginx", 3);
    assert!(said.contains("docker.io/library/nginx"), "{said}");
}

#[test]
fn a_whole_namespace_is_decided_where_all_its_deployments_are() {
    let desk = Desk::with(RULES);
    let ask =
        |who: &'static str, verb: &'static str| ["--subject=ci/web", who, verb, "--namespace=live"];
    let said = desk.said("check", &ask("--group=oncall", "--verb=list"), 0);
    assert_eq!(
        said,
        "allowed: list is allowed for every Deployment of the namespace\n"
    );
    desk.said("check", &ask("--group=oncall", "--verb=scale"), 3);
    desk.said("check", &ask("--group=dev", "--verb=list"), 3);
    let sentence = desk.refused("check", &ask("--group=dev", "--verb=get"));
    assert!(
        sentence.contains("it depends on the Deployment"),
        "{sentence}"
    );
}

#[test]
fn as_json_it_is_one_object() {
    let desk = Desk::with(RULES);
    let answer = |args: &[&str], code| -> Value {
        serde_json::from_str(&desk.said("check", args, code)).unwrap()
    };
    let expected = json!({
        "allowed": true,
        "why": "rule 2 (\"ci\") allows it",
        "rule": {"name": "ci", "position": 2},
        "passedOver": [{"name": "freeze", "position": 1, "why": "it is about other namespaces"}],
        "bounds": {"min": 2, "max": 50, "maxStep": 5},
    });
    assert_eq!(answer(&changed("none", "--output=json"), 0), expected);
    let args = [
        "--subject=bob",
        "--verb=get",
        "--namespace=web",
        "--deployment=a",
        "-o",
        "json",
    ];
    let denied = answer(&args, 3);
    assert_eq!(
        (&denied["allowed"], &denied["rule"]),
        (&json!(false), &Value::Null)
    );
    assert_eq!(denied["passedOver"].as_array().map(Vec::len), Some(3));
}

#[test]
fn in_mode_any_the_verbs_decide() {
    for configuration in ["", "authorization: {enable: [restart]}\n"] {
        let desk = Desk::with(configuration);
        let ask = |verb: &'static str, code| {
            desk.said(
                "check",
                &["--subject=bob", verb, "--namespace=web", "--deployment=a"],
                code,
            )
        };
        for verb in ["--verb=get", "--verb=list", "--verb=watch", "--verb=scale"] {
            ask(verb, 0);
        }
        assert!(ask("--verb=image", 3).contains("--enable image"));
        ask(
            "--verb=restart",
            if configuration.is_empty() { 3 } else { 0 },
        );
        let count = [
            "--subject=bob",
            "--verb=scale",
            "--namespace=web",
            "--deployment=a",
            "--from=1",
            "--to=10001",
        ];
        assert!(desk.said("check", &count, 3).contains("maximum of 10000"));
    }
}

#[test]
fn a_question_that_makes_no_sense_is_refused() {
    let desk = Desk::with(RULES);
    for (args, part) in [
        (changed("--subject", "--subject="), "the subject is empty"),
        (
            changed("--verb", "--verb=delete"),
            "get, list, watch, scale, image, restart, pause and rollback",
        ),
        (changed("--verb", "--verb=get"), "verb scale alone"),
        (
            changed("--namespace", "--namespace=Web"),
            "\"Web\" is no namespace",
        ),
        (
            changed("--deployment", "--deployment=a_b"),
            "\"a_b\" is no Deployment's name",
        ),
        (changed("--deployment", "--missing"), "a missing Deployment"),
        (changed("--to", "--label=x"), "KEY=VALUE"),
        (changed("--to", "--label=x=y"), "--to"),
        (changed("--to", "--to=-1"), "from 0 to 2147483647"),
        (changed("none", "--label=-x=y"), "is no label"),
        (
            changed("none", "--annotation=headcount/min-replica=1"),
            "headcount/min-replicas",
        ),
        (changed("none", "--image=nginx"), "verb image alone"),
        (changed("none", "--missing"), "a missing Deployment"),
        (changed("none", "extra"), "extra"),
        (changed("--verb", "--output=json"), "--verb"),
    ] {
        let sentence = desk.refused("check", &args);
        assert!(sentence.contains(part), "{args:?}: {sentence}");
    }
}

#[test]
fn a_configuration_that_is_wrong_is_refused_with_its_line_and_rule() {
    let desk = Desk::with(&RULES.replace("[get, scale, image]", "[get, scale, imagine]"));
    let sentence = desk.refused("check", &CI);
    for part in ["headcount.yaml", "line 9", "rule \"ci\"", "imagine"] {
        assert!(sentence.contains(part), "{sentence}");
    }
    let sentence = Desk::with("authorization: {mode: kubernetes}\n").refused("check", &CI);
    assert!(sentence.contains("kubectl auth can-i"), "{sentence}");
    let desk = Desk::with("");
    std::fs::remove_file(desk.0.path().join("headcount.yaml")).unwrap();
    assert!(desk.refused("check", &CI).contains("No such file"));
}
