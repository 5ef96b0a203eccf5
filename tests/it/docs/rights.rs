//! The table of rights in deploy/chart/README.md, and what the chart gives.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{page::project, yaml::rendered};

/// A line of the table: values, and the rights that they bring.
struct Line {
    /// Switches it on, as YAML; empty for what is always there.
    values: String,
    group: String,
    resource: String,
    verbs: Vec<String>,
}

/// `VERB RESOURCE.GROUP`
pub(crate) type Rights = BTreeSet<String>;

fn table() -> Vec<Line> {
    let page = std::fs::read_to_string(project("deploy/chart/README.md")).unwrap();
    let rows = page
        .lines()
        .skip_while(|line| !line.starts_with("| with | API group |"))
        .skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<_> = row
            .split('|')
            .map(|cell| cell.trim().replace('`', "").replace(" (the default)", ""))
            .collect();
        let [_, with, group, resource, verbs, ..] = &cells[..] else {
            panic!("{row}")
        };
        Line {
            values: if with == "always" {
                String::new()
            } else {
                with.clone()
            },
            group: if group == "core" {
                String::new()
            } else {
                group.clone()
            },
            resource: resource.clone(),
            verbs: verbs.split(", ").map(str::to_owned).collect(),
        }
    })
    .collect()
}

/// The rights of every release, and those that come with these values.
pub(crate) fn documented(values: &[&str]) -> Rights {
    let mut table = table();
    table.retain(|line| line.values.is_empty() || values.contains(&line.values.as_str()));
    for value in values {
        assert!(table.iter().any(|line| line.values == *value), "{value}");
    }
    table.iter().flat_map(Line::rights).collect()
}

/// The rights of a release in its own namespace, beyond those that it has there as in any other.
pub(crate) fn documented_leases() -> Rights {
    let all = documented(&["leases.enabled: true"]);
    &all - &documented(&[])
}

impl Line {
    fn rights(&self) -> Rights {
        self.verbs
            .iter()
            .map(|verb| format!("{verb} {}.{}", self.resource, self.group))
            .collect()
    }
}

/// The rights in the rules of an object.
fn of(object: &Value) -> Rights {
    let words = |list: &Value| -> Vec<String> {
        list.as_array()
            .unwrap()
            .iter()
            .map(|word| word.as_str().unwrap().to_owned())
            .collect()
    };
    let mut rights = Rights::new();
    for rule in object["rules"].as_array().unwrap() {
        assert!(rule.get("resourceNames").is_none() && rule.get("nonResourceURLs").is_none());
        for group in words(&rule["apiGroups"]) {
            for resource in words(&rule["resources"]) {
                rights.extend(
                    words(&rule["verbs"])
                        .iter()
                        .map(|verb| format!("{verb} {resource}.{group}")),
                );
            }
        }
    }
    rights
}

/// Where the release is.
const OWN: &str = "headcount";

/// What the chart gives with these values: in the cluster, and in each namespace.
fn given(values: &[&str]) -> (Rights, Vec<(String, Rights)>) {
    let (mut cluster, mut namespaces) = (Rights::new(), vec![]);
    for object in rendered(values) {
        match object["kind"].as_str() {
            Some("ClusterRole") => cluster.extend(of(&object)),
            Some("Role") => {
                let namespace = object["metadata"]["namespace"].as_str().unwrap();
                namespaces.push((namespace.to_owned(), of(&object)));
            }
            _ => {}
        }
    }
    (cluster, namespaces)
}

#[test]
fn the_chart_gives_the_rights_of_the_documented_table_and_no_others() {
    let table = table();
    let (always, features): (Vec<_>, Vec<_>) =
        table.iter().partition(|line| line.values.is_empty());
    assert_eq!((always.len(), features.len()), (2, 7));
    let always: Rights = always.iter().flat_map(|line| line.rights()).collect();
    let namespaced = "scope: {mode: namespaced, namespaces: [web, shop]}";
    let everywhere = |rights: &Rights| {
        ["web", "shop"]
            .map(|namespace| (namespace.to_owned(), rights.clone()))
            .to_vec()
    };
    let by_default = documented(&["autoscalers.enabled: true"]);
    let leases = documented_leases();
    assert_eq!(
        given(&[]),
        (by_default, vec![(OWN.to_owned(), leases.clone())])
    );
    // What is on by default is a feature as the others.
    let bare = "{autoscalers: {enabled: false}, leases: {enabled: false}}";
    assert_eq!(given(&[bare]), (always.clone(), vec![]));
    assert_eq!(
        given(&[bare, namespaced]),
        (Rights::new(), everywhere(&always))
    );
    for line in &features {
        // A feature may take several lines.
        let alike = features.iter().filter(|other| other.values == line.values);
        let own: Rights = alike.flat_map(|other| other.rights()).collect();
        if own == leases {
            let own = (OWN.to_owned(), own);
            assert_eq!(
                given(&[bare, &line.values]),
                (always.clone(), vec![own.clone()])
            );
            let mut all = everywhere(&always);
            all.push(own);
            let expected = (Rights::new(), all);
            assert_eq!(given(&[bare, namespaced, &line.values]), expected);
            continue;
        }
        let with: Rights = always.union(&own).cloned().collect();
        assert_eq!(
            given(&[bare, &line.values]),
            (with.clone(), vec![]),
            "{}",
            line.values
        );
        // A question about access has no namespace.
        let expected = if line.group == "authorization.k8s.io" {
            (own, everywhere(&always))
        } else {
            (Rights::new(), everywhere(&with))
        };
        assert_eq!(
            given(&[bare, namespaced, &line.values]),
            expected,
            "{}",
            line.values
        );
    }
}

#[test]
fn an_account_of_ones_own_gets_no_rights() {
    assert_eq!(given(&["rbac: {create: false}"]), (Rights::new(), vec![]));
}
