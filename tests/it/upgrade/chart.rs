//! From the manifests of the first version to the chart, by the commands of docs/upgrades.md, while somebody always is ready.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use controlplane::{ControlPlane, Options, binaries};
use headcount::pki;
use serde_json::Value;
use tokio::{process::Command, time::sleep};

use crate::support::eventually;

const PATIENCE: Duration = Duration::from_secs(180);
const NAMESPACE: &str = "--namespace=headcount";

fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The commands of a section of docs/upgrades.md, in their order.
fn documented(section: &str) -> Vec<String> {
    let page = fs::read_to_string(checkout().join("docs/upgrades.md")).unwrap();
    let (_, section) = page.split_once(&format!("### {section}\n")).unwrap();
    let section = section.split("\n### ").next().unwrap();
    let blocks = section.split("```sh\n").skip(1);
    blocks
        .map(|rest| rest.split("```").next().unwrap().to_owned())
        .collect()
}

/// A folder with kubectl and this version of Helm, by the names that users know.
async fn programs(folder: &Path, helm: &str) -> PathBuf {
    let build = Command::new(checkout().join("tests/tools/build"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output();
    let built = tokio::time::timeout(Duration::from_secs(30 * 60), build).await;
    let tools = String::from_utf8(built.unwrap().unwrap().stdout).unwrap();
    let bin = folder.join("bin");
    fs::create_dir(&bin).unwrap();
    let kubectl = binaries().await.unwrap().join("kubectl");
    symlink(kubectl, bin.join("kubectl")).unwrap();
    symlink(Path::new(tools.trim()).join(helm), bin.join("helm")).unwrap();
    bin
}

/// How many servers are behind the Service, ready.
async fn ready(cluster: &ControlPlane) -> usize {
    let arguments = [
        "get",
        "endpointslices",
        NAMESPACE,
        "--selector=kubernetes.io/service-name=headcount",
        "--output=json",
    ];
    let slices: Value = serde_json::from_str(&cluster.kubectl(&arguments).await.unwrap()).unwrap();
    let slices = slices["items"].as_array().cloned().unwrap_or_default();
    let endpoints = slices
        .iter()
        .flat_map(|slice| slice["endpoints"].as_array().cloned().unwrap_or_default());
    endpoints
        .filter(|endpoint| endpoint["conditions"]["ready"] == true)
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_versions_objects_become_the_charts_while_a_server_always_is_ready() {
    upgraded_by("helm4", "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn helm_3_takes_them_over_too() {
    upgraded_by("helm3", "--force-conflicts ").await;
}

/// Does it with a version of Helm, which doesn't know some flag.
async fn upgraded_by(helm: &str, unknown: &str) {
    let cluster = ControlPlane::start(Options::with_nodes(2))
        .await
        .unwrap_or_else(|e| panic!("{}", e.chain()));
    let folder = tempfile::tempdir().unwrap();
    let bin = programs(folder.path(), helm).await;
    let files = pki::write_demo(&folder.path().join("pki")).unwrap();
    let objects = fs::read_to_string(checkout().join("tests/first-version/objects.yaml")).unwrap();
    cluster.apply(&objects).await.unwrap();
    let (ca, cert, key) = (
        files.ca.display(),
        files.server.certificate.display(),
        files.server.key.display(),
    );
    for secret in [
        vec![
            "tls".to_owned(),
            "headcount-server".into(),
            format!("--cert={cert}"),
            format!("--key={key}"),
        ],
        vec![
            "generic".to_owned(),
            "headcount-client-ca".into(),
            format!("--from-file=ca.crt={ca}"),
        ],
    ] {
        let arguments: Vec<&str> = [NAMESPACE, "create", "secret"]
            .into_iter()
            .chain(secret.iter().map(String::as_str))
            .collect();
        cluster.kubectl(&arguments).await.unwrap();
    }
    eventually(PATIENCE, "both old Pods are ready", async || {
        ready(&cluster).await == 2
    })
    .await;

    let run = async |script: &str| -> Output {
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let run = Command::new("bash")
            .args(["-euo", "pipefail", "-c", script])
            .current_dir(checkout())
            .env("PATH", path)
            .env("KUBECONFIG", cluster.kubeconfig())
            .env("HELM_CACHE_HOME", folder.path().join("helm"))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        tokio::time::timeout(PATIENCE, run).await.unwrap().unwrap()
    };
    let commands = documented("From 0.1's manifests to the chart");
    let commands: Vec<_> = commands.iter().map(|c| c.replace(unknown, "")).collect();
    assert_eq!(commands.len(), 4, "{commands:#?}");
    // Without them, Helm takes nothing that isn't its own.
    let refused = run(&commands[2]
        .replace("--take-ownership ", "")
        .replace("--wait", "--timeout=20s"))
    .await;
    let words = String::from_utf8_lossy(&refused.stderr);
    assert!(
        !refused.status.success() && words.contains("cannot be imported"),
        "{words}"
    );
    run("helm uninstall headcount --namespace headcount --ignore-not-found").await;
    assert_eq!(ready(&cluster).await, 2);

    let watched = async {
        loop {
            assert!(ready(&cluster).await > 0, "nobody was ready");
            sleep(Duration::from_millis(50)).await;
        }
    };
    let upgraded = async {
        for command in &commands {
            let done = run(command).await;
            let words = [done.stdout, done.stderr].concat();
            assert!(
                done.status.success(),
                "{command}\n{}",
                String::from_utf8_lossy(&words)
            );
        }
        // The chart's two are left.
        eventually(PATIENCE, "the old Pods are gone", async || {
            let pods = cluster
                .kubectl(&["get", "pods", NAMESPACE, "--output=name"])
                .await
                .unwrap();
            pods.lines().count() == 2 && ready(&cluster).await == 2
        })
        .await;
    };
    tokio::select! {
        () = watched => {}
        () = upgraded => {}
    }
    // The whole of it is the release's now: nothing is left when that goes, but what was never the chart's.
    let status = run("helm status headcount --namespace headcount").await;
    assert!(String::from_utf8_lossy(&status.stdout).contains("deployed"));
    assert!(
        run("helm uninstall headcount --namespace headcount --wait")
            .await
            .status
            .success()
    );
    let left = cluster
        .kubectl(&[
            "get",
            "deployments,services,serviceaccounts,poddisruptionbudgets",
            NAMESPACE,
            "--output=name",
        ])
        .await
        .unwrap();
    assert_eq!(left.trim(), "serviceaccount/default");
    let secrets = cluster
        .kubectl(&["get", "secrets", NAMESPACE, "--output=name"])
        .await
        .unwrap();
    assert_eq!(secrets.lines().count(), 2, "{secrets}");
}
