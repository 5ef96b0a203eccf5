//! Alerts: valid, tested, explained, and the same for a Prometheus and for its operator.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use serde_json::Value;

use super::{compared, folder, names, page::document, promtool::accepted};

fn read(name: &str) -> Value {
    let text = fs::read_to_string(folder().join(name)).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

/// The rules of all groups that have a field, by its value.
fn rules(field: &str) -> BTreeMap<String, Value> {
    let all = read("rules.yaml");
    let groups = all["groups"].as_array().unwrap().iter();
    let rules = groups.flat_map(|group| group["rules"].as_array().unwrap());
    let mut found = BTreeMap::new();
    for rule in rules {
        if let Some(name) = rule[field].as_str() {
            let before = found.insert(name.to_owned(), rule.clone());
            assert!(before.is_none(), "{name} is there twice");
        }
    }
    found
}

/// What the script prints.
fn printed(arguments: &[&str]) -> String {
    let output = Command::new(folder().join("rules"))
        .args(arguments)
        .output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn prometheus_takes_the_rules_and_each_alert_does_what_its_tests_say() {
    accepted(&folder(), ["check", "rules", "rules.yaml"], "");
    accepted(&folder(), ["test", "rules", "tests.yaml"], "");
}

#[test]
fn every_alert_has_a_test_that_fires_it_and_one_that_does_not() {
    let tests = read("tests.yaml");
    let (mut fired, mut silent) = (BTreeSet::new(), BTreeSet::new());
    for test in tests["tests"].as_array().unwrap() {
        assert!(
            !test["input_series"].as_array().unwrap().is_empty(),
            "{test}"
        );
        for case in test["alert_rule_test"].as_array().unwrap() {
            let name = case["alertname"].as_str().unwrap().to_owned();
            match case["exp_alerts"].as_array().unwrap().is_empty() {
                true => silent.insert(name),
                false => fired.insert(name),
            };
        }
    }
    let alerts: BTreeSet<_> = rules("alert").into_keys().collect();
    assert_eq!(fired, alerts);
    assert_eq!(silent, alerts);
}

#[test]
fn every_alert_says_how_bad_it_is_and_has_a_runbook_and_every_runbook_an_alert() {
    let runbooks = document("runbooks.md");
    let headings = runbooks.lines().filter_map(|line| line.strip_prefix("## "));
    let headings: BTreeSet<_> = headings.filter(|h| h.starts_with("Headcount")).collect();
    let alerts = rules("alert");
    assert_eq!(headings, alerts.keys().map(String::as_str).collect());
    for (name, alert) in &alerts {
        let severity = alert["labels"]["severity"].as_str().unwrap();
        assert!(
            ["critical", "warning", "info"].contains(&severity),
            "{name}"
        );
        for annotation in ["summary", "description"] {
            let words = alert["annotations"][annotation].as_str().unwrap();
            assert!(words.len() > 10, "{name}: {annotation}");
        }
        let link = format!("docs/runbooks.md#{}", name.to_lowercase());
        assert_eq!(alert["annotations"]["runbook_url"], *link);
        // What it means, how urgent it is, how to confirm it, and what to do.
        let entry = runbooks.split(&format!("## {name}\n")).nth(1).unwrap();
        let entry = entry.split("\n## ").next().unwrap();
        for part in ["**Meaning.**", "**Urgency.**", "**Confirm.**", "**Do.**"] {
            assert!(entry.contains(part), "{name} lacks {part}");
        }
        assert!(entry.contains('`'), "{name} has no command");
    }
}

#[test]
fn rules_use_only_metrics_that_the_page_has_and_ratios_that_are_recorded() {
    let (alerts, records) = (rules("alert"), rules("record"));
    let all = alerts.values().chain(records.values());
    let expressions: Vec<_> = all.map(|rule| rule["expr"].as_str().unwrap()).collect();
    let (unknown, _) = compared(expressions.iter().copied());
    assert!(unknown.is_empty(), "{unknown:?}");
    let recorded: BTreeSet<_> = records.keys().cloned().collect();
    let used = expressions.into_iter().flat_map(names);
    let used: BTreeSet<_> = used.filter(|name| name.contains(':')).collect();
    assert_eq!(used, recorded);
}

#[test]
fn runbooks_use_only_metrics_and_events_that_there_are() {
    let runbooks = document("runbooks.md");
    let code: Vec<_> = runbooks.split('`').skip(1).step_by(2).collect();
    let (unknown, _) = compared(code.iter().copied());
    let rules = fs::read_to_string(folder().join("rules.yaml")).unwrap();
    let unknown: Vec<_> = unknown
        .iter()
        .filter(|name| !rules.contains(*name))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    let source = source(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let greps = code
        .iter()
        .filter_map(|code| code.split_once("grep ' ")?.1.split_once(" '"));
    let events: BTreeSet<_> = greps.map(|(event, _)| event).collect();
    assert!(events.len() > 10, "{events:?}");
    for event in events {
        assert!(
            source.contains(&format!("\"{event}\"")),
            "there is no event {event}"
        );
    }
}

/// All of the program's source.
fn source(folder: &Path) -> String {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let read = |path: std::path::PathBuf| match path.is_dir() {
        true => source(&path),
        false => fs::read_to_string(path).unwrap(),
    };
    entries.map(read).collect()
}

#[test]
fn the_operators_rules_are_the_same_and_made_by_the_script() {
    let resource = fs::read_to_string(folder().join("prometheusrule.yaml")).unwrap();
    assert_eq!(resource, printed(&["--prometheusrule"]));
    let resource: Value = serde_saphyr::from_str(&resource).unwrap();
    assert_eq!(resource["kind"], "PrometheusRule");
    assert_eq!(resource["spec"], read("rules.yaml"));
}

#[test]
fn runbooks_may_be_elsewhere() {
    let base = "https://wiki.example.org/on-call/headcount?a=b";
    let printed = printed(&["--runbooks", base]);
    let rules: Value = serde_saphyr::from_str(&printed).unwrap();
    let first = &rules["groups"][1]["rules"][0];
    let link = format!("{base}#headcountdown");
    assert_eq!(first["annotations"]["runbook_url"], *link);
    assert!(!printed.contains("runbook_url: docs/"));
    for wrong in [&["--runbooks", "a|b"][..], &["--runbooks"], &["--runbook"]] {
        let output = Command::new(folder().join("rules")).args(wrong).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(64), "{wrong:?}");
        assert!(output.stdout.is_empty() && output.stderr.starts_with(b"rules: "));
    }
}
