//! The dashboard: Grafana's format, expressions that Prometheus takes, and no metric that isn't there.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use super::{compared, folder, promtool::accepted};

fn dashboard() -> Value {
    let text = fs::read_to_string(folder().join("dashboard.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// All panels but the headings of rows.
fn panels() -> Vec<Value> {
    let all = dashboard()["panels"].as_array().unwrap().clone();
    let shown = all.into_iter().filter(|panel| panel["type"] != "row");
    shown.collect()
}

fn expressions() -> Vec<String> {
    let panels = panels();
    let targets = panels.iter().flat_map(|p| p["targets"].as_array().unwrap());
    let expressions = targets.map(|target| target["expr"].as_str().unwrap().to_owned());
    expressions.collect()
}

#[test]
fn prometheus_takes_every_expression() {
    // As rules, with what Grafana puts in place of its variables.
    let rules = expressions()
        .into_iter()
        .enumerate()
        .map(|(n, expression)| {
            let expression = expression.replace("$__rate_interval", "5m");
            let expression = expression.replace("$instance", ".*");
            assert!(!expression.contains('$'), "{expression}");
            serde_json::json!({"record": format!("panel:{n}"), "expr": expression})
        });
    let rules: Vec<_> = rules.collect();
    let file = serde_json::json!({"groups": [{"name": "panels", "rules": rules}]});
    let folder = tempfile::tempdir().unwrap();
    // JSON is YAML.
    fs::write(folder.path().join("panels.yaml"), file.to_string()).unwrap();
    accepted(folder.path(), ["check", "rules", "panels.yaml"], "");
}

#[test]
fn panels_use_only_metrics_that_the_page_has_and_none_of_them_is_left_out() {
    let expressions = expressions();
    let (unknown, unused) = compared(expressions.iter().map(String::as_str));
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(unused.is_empty(), "{unused:?}");
}

#[test]
fn it_can_be_imported_anywhere_and_panels_say_what_they_show() {
    let dashboard = dashboard();
    for own in ["uid", "id"] {
        assert!(
            dashboard.get(own).is_none(),
            "{own} is the Grafana's to give"
        );
    }
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert_eq!(variables[0]["name"], "datasource");
    assert_eq!(variables[0]["type"], "datasource");
    let all = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = all
        .iter()
        .map(|panel| panel["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids.len(), all.len());
    let mut taken = BTreeSet::new();
    for panel in all {
        assert!(!panel["title"].as_str().unwrap().is_empty());
        let place = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24, "{panel}");
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(taken.insert((x, y)), "{} lies on another", panel["title"]);
            }
        }
    }
    for panel in panels() {
        assert!(
            panel["description"].as_str().unwrap().len() > 5,
            "{}",
            panel["title"]
        );
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty());
        for source in targets.iter().chain([&panel]) {
            assert_eq!(source["datasource"]["uid"], "${datasource}");
        }
    }
}
