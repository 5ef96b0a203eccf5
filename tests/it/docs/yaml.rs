//! Blocks of YAML: the program, the chart and the API server take them.

use std::{fs, path::PathBuf, process::Command, sync::OnceLock};

use serde_json::{Value, json};

use super::page::{Block, Page, project};
use crate::{chart::World, support::program::headcount};

/// Kinds of other projects, which this control plane doesn't know.
const FOREIGN: [&str; 2] = [
    "policy.cert-manager.io/v1alpha1",
    "trust.cert-manager.io/v1alpha1",
];
/// What the rest of a configuration file may be, for blocks that show a part of one.
const HEADER: &str = "apiVersion: headcount/v1alpha1\nkind: Configuration\n";

/// What a document of a block is.
enum Kind {
    /// All of a configuration file, or keys of one.
    Configuration,
    /// Values of the chart.
    Values,
    /// Something for a Kubernetes API server.
    Object,
    /// `volumes` of a Pod.
    Volumes,
    /// Another file of headcount's, which the page's own commands or other tests read, or another program's.
    Other,
}

fn kind(document: &Value, chart: &Value) -> Kind {
    let keys: Vec<_> = document.as_object().unwrap().keys().collect();
    match (document["apiVersion"].as_str(), document["kind"].as_str()) {
        (Some("headcount/v1alpha1"), Some("Configuration")) => Kind::Configuration,
        (Some("headcount/v1alpha1"), _) => Kind::Other,
        (Some(_), _) => Kind::Object,
        _ if keys == ["volumes"] => Kind::Volumes,
        _ if keys == ["scrape_configs"] => Kind::Other,
        _ if keys.iter().all(|key| chart.get(key.as_str()).is_some()) => Kind::Values,
        _ => Kind::Configuration,
    }
}

/// The documents of all blocks of YAML.
fn documents() -> Vec<(String, String, Value)> {
    let pages = Page::all();
    let blocks = pages
        .iter()
        .flat_map(|page| &page.blocks)
        .filter(|block| block.language == "yaml");
    let read = |Block { place, text, .. }: &Block| {
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(text).unwrap_or_else(|e| panic!("{place}: {e}"));
        // A block may be a comment alone.
        let documents = documents.into_iter().filter(|document| !document.is_null());
        documents
            .map(|document| (place.clone(), text.clone(), document))
            .collect::<Vec<_>>()
    };
    blocks.flat_map(read).collect()
}

fn values() -> Value {
    serde_saphyr::from_str(&fs::read_to_string(project("deploy/chart/values.yaml")).unwrap())
        .unwrap()
}

/// Helm, built once.
fn helm() -> &'static PathBuf {
    static HELM: OnceLock<PathBuf> = OnceLock::new();
    HELM.get_or_init(|| {
        let built = Command::new(project("tests/tools/build")).output().unwrap();
        assert!(built.status.success(), "{built:?}");
        PathBuf::from(String::from_utf8(built.stdout).unwrap().trim()).join("helm4")
    })
}

/// What the chart says with these values, each a file of its own, or what is wrong with them.
fn template(values: &[&str]) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(helm());
    command
        .env("HOME", folder.path())
        .env("KUBECONFIG", "/dev/null");
    command
        .args(["template", "headcount", "--namespace=headcount"])
        .arg(project("deploy/chart"));
    for (number, text) in values.iter().enumerate() {
        let file = folder.path().join(format!("{number}.yaml"));
        fs::write(&file, text).unwrap();
        command.arg("--values").arg(file);
    }
    let output = command.output().unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

/// The objects that the chart makes with these values.
pub(super) fn rendered(values: &[&str]) -> Vec<Value> {
    let values: Vec<_> = values
        .iter()
        .map(|text| match text.split_once(": ") {
            // `a.b: c`, as tables have it.
            Some((path, value)) if path.contains('.') => {
                let (opened, closed) = (
                    path.replace('.', ": {"),
                    "}".repeat(path.matches('.').count()),
                );
                format!("{opened}: {value}{closed}")
            }
            _ => (*text).to_owned(),
        })
        .collect();
    let values: Vec<_> = values.iter().map(String::as_str).collect();
    let text = template(&values).unwrap_or_else(|error| panic!("{values:?}: {error}"));
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    objects
        .into_iter()
        .filter(|object| !object.is_null())
        .collect()
}

#[test]
fn configurations_are_taken_by_the_program() {
    let chart = values();
    let mut taken = 0;
    for (place, text, document) in documents() {
        if !matches!(kind(&document, &chart), Kind::Configuration) {
            continue;
        }
        taken += 1;
        let folder = tempfile::tempdir().unwrap();
        let whole = document["kind"] == "Configuration";
        let text = if whole {
            text
        } else {
            format!("{HEADER}{text}")
        };
        fs::write(folder.path().join("headcount.yaml"), &text).unwrap();
        let mut check = headcount([
            "config",
            "check",
            "--skip-files",
            "--config",
            "headcount.yaml",
        ]);
        let needed = [
            ("tlsCert", "--tls-cert"),
            ("tlsKey", "--tls-key"),
            ("clientCa", "--client-ca"),
        ];
        let lacking = needed.iter().filter(|(key, _)| document.get(key).is_none());
        check.args(lacking.map(|(_, flag)| format!("{flag}=file.pem")));
        let output = check.current_dir(folder.path()).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(0), "{place}: {said}\n{text}");
        let old = place.starts_with("docs/upgrades.md:");
        assert!(old || !said.contains("deprecated"), "{place}: {said}");
    }
    assert!(taken >= 10, "{taken}");
}

#[test]
fn values_are_taken_by_the_chart() {
    let chart = values();
    let mut taken = 0;
    for (place, text, document) in documents() {
        if !matches!(kind(&document, &chart), Kind::Values) {
            continue;
        }
        taken += 1;
        if let Err(error) = template(&[&text]) {
            panic!("{place}: {error}\n{text}");
        }
    }
    assert!(taken >= 5, "{taken}");
}

/// A Deployment whose Pods have these volumes.
fn with_volumes(volumes: &Value) -> Value {
    let labels = json!({"app": "client"});
    let containers = json!([{"name": "client", "image": "client:1"}]);
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "client", "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers, "volumes": volumes}},
        },
    })
}

/// What the API server says against the objects that pages show; nothing is changed, but for the namespaces that they are in.
pub(super) async fn objects(world: &World) -> Vec<String> {
    let cluster = &world.cluster;
    let chart = values();
    let mut wrong = Vec::new();
    let names = cluster
        .kubectl(&[
            "get",
            "namespaces",
            "--output=jsonpath={.items[*].metadata.name}",
        ])
        .await;
    let mut namespaces: Vec<_> = names.split(' ').map(str::to_owned).collect();
    let there = namespaces.len();
    let file = cluster.folder.path().join("object.json");
    for (place, _, document) in documents() {
        let object = match kind(&document, &chart) {
            Kind::Object if FOREIGN.contains(&document["apiVersion"].as_str().unwrap()) => continue,
            Kind::Object => document,
            Kind::Volumes => with_volumes(&document["volumes"]),
            _ => continue,
        };
        if let Some(namespace) = object["metadata"]["namespace"].as_str()
            && !namespaces.iter().any(|known| known == namespace)
        {
            cluster.kubectl(&["create", "namespace", namespace]).await;
            namespaces.push(namespace.to_owned());
        }
        fs::write(&file, object.to_string()).unwrap();
        let filename = format!("--filename={}", file.display());
        let apply = ["apply", "--dry-run=server", "--validate=strict", &filename];
        wrong.extend(
            cluster
                .control_plane
                .kubectl(&apply)
                .await
                .err()
                .map(|error| format!("{place}: {error}")),
        );
    }
    for namespace in &namespaces[there..] {
        cluster.kubectl(&["delete", "namespace", namespace]).await;
    }
    wrong
}
