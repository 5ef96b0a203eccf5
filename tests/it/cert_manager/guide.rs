//! docs/cert-manager.md and deploy/cert-manager: YAML that a real API server takes.

use std::fs;

use serde_json::{Value, json};

use super::cluster::{Cluster, checkout};

/// Kinds of other projects, which this control plane doesn't know.
const FOREIGN: [&str; 2] = [
    "policy.cert-manager.io/v1alpha1",
    "trust.cert-manager.io/v1alpha1",
];

/// A block of YAML in the guide.
struct Block {
    /// The number of its first line.
    line: usize,
    text: String,
}

fn blocks() -> Vec<Block> {
    let guide = fs::read_to_string(checkout("docs/cert-manager.md")).unwrap();
    let mut blocks = Vec::new();
    let mut lines = guide.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let Some(indent) = line.strip_suffix("```yaml") else {
            continue;
        };
        let content = lines
            .by_ref()
            .map(|(_, line)| line.strip_prefix(indent).unwrap_or(line))
            .take_while(|line| *line != "```");
        blocks.push(Block {
            line: number + 2,
            text: content.map(|line| format!("{line}\n")).collect(),
        });
    }
    blocks
}

/// The block of the guide that holds these words.
pub(super) fn block(words: &str) -> String {
    let mut found: Vec<_> = blocks()
        .into_iter()
        .filter(|block| block.text.contains(words))
        .collect();
    assert_eq!(found.len(), 1, "blocks with {words}");
    found.remove(0).text
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

pub(super) async fn manifests_and_the_guide_are_what_the_api_server_takes(cluster: &Cluster) {
    let folder = checkout("deploy/cert-manager");
    assert_eq!(cluster.objection(&folder).await, None);

    let file = cluster.folder.path().join("block.yaml");
    let (mut objects, mut foreign, mut parts) = (0, 0, 0);
    for Block { line, text } in blocks() {
        let documents: Vec<Value> = serde_saphyr::from_multiple(&text)
            .unwrap_or_else(|e| panic!("docs/cert-manager.md:{line}: {e}"));
        for document in documents {
            let object = match document["apiVersion"].as_str() {
                Some(version) if FOREIGN.contains(&version) => {
                    foreign += 1;
                    continue;
                }
                Some(_) => {
                    objects += 1;
                    document
                }
                None if document["volumes"].is_array() => {
                    parts += 1;
                    with_volumes(&document["volumes"])
                }
                // A patch of the Deployment: the tests below have it applied.
                None => continue,
            };
            fs::write(&file, object.to_string()).unwrap();
            let objection = cluster.objection(&file).await;
            assert_eq!(objection, None, "docs/cert-manager.md:{line}");
        }
    }
    assert_eq!((objects, foreign, parts), (2, 2, 1));
}

/// The Pod that the Deployment has after a patch of the guide.
async fn patched(cluster: &Cluster, form: &str, words: &str) -> Value {
    let patch = block(words);
    let form = format!("--type={form}");
    let patched = cluster
        .kubectl(&[
            "patch",
            "deployment",
            "headcount",
            "--dry-run=server",
            "--output=json",
            &form,
            "--patch",
            &patch,
        ])
        .await;
    let mut patched: Value = serde_json::from_str(&patched).unwrap();
    patched["spec"]["template"]["spec"].take()
}

fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    let mut entries = list.as_array().unwrap().iter();
    entries.find(|entry| entry["name"] == name).unwrap()
}

pub(super) async fn the_bundle_can_be_mounted_as_a_config_map(cluster: &Cluster) {
    let pod = patched(cluster, "strategic", "secret: null").await;
    let volumes = &pod["volumes"];
    assert_eq!(
        named(volumes, "server")["secret"]["secretName"],
        "headcount-server"
    );
    let bundle = named(volumes, "client-ca");
    assert_eq!(bundle["configMap"]["name"], "headcount-client-ca");
    assert_eq!(bundle["secret"], Value::Null);
}

pub(super) async fn the_deny_list_is_mounted_where_the_program_reads_it(cluster: &Cluster) {
    let list: Value = serde_saphyr::from_str(&block("kind: DenyList")).unwrap();
    let pod = patched(cluster, "json", "--deny-list=").await;
    let volume = named(&pod["volumes"], "deny-list");
    assert_eq!(volume["configMap"]["name"], list["metadata"]["name"]);
    let container = &pod["containers"][0];
    let folder = named(&container["volumeMounts"], "deny-list")["mountPath"].as_str();
    let file = list["data"].as_object().unwrap().keys().next().unwrap();
    let argument = container["args"].as_array().unwrap().last().unwrap();
    let path = format!("{}/{file}", folder.unwrap());
    assert_eq!(*argument, format!("--deny-list={path}"));
}
