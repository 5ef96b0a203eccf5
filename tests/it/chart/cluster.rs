//! A control plane, and Helm for it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use controlplane::{ControlPlane, Options, binaries};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

/// The namespace that headcount is in, and the release's name.
pub(crate) const HEADCOUNT: &str = "headcount";
/// Helm is told to wait for less than this.
const PATIENCE: Duration = Duration::from_secs(330);
/// Kinds whose objects come and go by themselves.
const RESTLESS: [&str; 5] = [
    "componentstatuses",
    "endpoints",
    "events",
    "events.events.k8s.io",
    "leases.coordination.k8s.io",
];

/// The control plane, with cert-manager.
pub(crate) struct Cluster {
    pub(crate) control_plane: ControlPlane,
    /// The folder with the pinned programs for charts.
    tools: PathBuf,
    kubectl: PathBuf,
    pub(crate) folder: TempDir,
}

/// A file or folder of this project.
pub(crate) fn checkout(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Builds what is needed, where that hasn't been done: there may be no network later.
pub(super) async fn built() -> (PathBuf, PathBuf) {
    let build = Command::new(checkout("tests/tools/build"))
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output();
    let output = build.await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let tools = String::from_utf8(output.stdout).unwrap();
    (binaries().await.unwrap(), tools.trim().into())
}

impl Cluster {
    /// Starts it, with two Nodes whose Pods kwok makes ready, but for those that a label selector chooses.
    pub(crate) async fn start(unmanaged_pods: Option<&str>) -> Self {
        let (binaries, tools) = built().await;
        let control_plane = ControlPlane::start(Options {
            cert_manager: true,
            unmanaged_pods: unmanaged_pods.map(str::to_owned),
            ..Options::with_nodes(2)
        })
        .await
        .unwrap_or_else(|e| panic!("{}", e.chain()));
        Self {
            control_plane,
            tools,
            kubectl: binaries.join("kubectl"),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// A namespace under the restricted Pod Security standard, as the documentation makes it.
    pub(crate) async fn restricted(&self, namespace: &str) {
        self.kubectl(&["create", "namespace", namespace]).await;
        let labels = ["enforce", "audit", "warn"]
            .map(|mode| format!("pod-security.kubernetes.io/{mode}=restricted"));
        let labels = labels.each_ref().map(String::as_str);
        self.kubectl(&[&["label", "namespace", namespace], &labels[..]].concat())
            .await;
    }

    /// Adds the kinds of Prometheus' operator.
    pub(super) async fn prometheus_operator(&self) {
        let file = self.tools.join("prometheus-operator-crds.yaml");
        let file = format!("--filename={}", file.display());
        self.kubectl(&["apply", "--server-side", &file]).await;
        self.kubectl(&[
            "wait",
            "--for=condition=Established",
            "--timeout=300s",
            &file,
        ])
        .await;
    }

    /// Runs kubectl; what it wrote to stdout.
    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> String {
        self.control_plane.kubectl(arguments).await.unwrap()
    }

    /// A command with the environment of somebody who uses this cluster, and `kubectl`, `helm` in PATH.
    pub(crate) fn shell(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let bin = self.folder.path().join("bin");
        if !bin.exists() {
            fs::create_dir(&bin).unwrap();
            let link = |program: &Path, name: &Path| std::os::unix::fs::symlink(program, name);
            link(&self.kubectl, &bin.join("kubectl")).unwrap();
            link(&self.tools.join("helm4"), &bin.join("helm")).unwrap();
        }
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", format!("{}:{path}", bin.display()))
            .env("HOME", self.folder.path())
            .env("KUBECONFIG", self.control_plane.kubeconfig())
            .env("KUBERC", "off")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Runs Helm in headcount's namespace; what it wrote to stdout. A warning, its own or the API server's, fails the test.
    pub(crate) async fn helm(&self, arguments: &[&str]) -> String {
        self.helm_of("helm4", arguments).await
    }

    /// The same with `helm3` or `helm4`.
    pub(crate) async fn helm_of(&self, version: &str, arguments: &[&str]) -> String {
        let mut helm = self.shell(self.tools.join(version));
        helm.arg("--namespace").arg(HEADCOUNT).args(arguments);
        let output = ended(&mut helm).await;
        let (words, errors) = words(&output);
        if !output.status.success() {
            let state = self.state().await;
            panic!("{version} {arguments:?}: {words}\n{errors}\n{state}");
        }
        assert!(
            !errors.to_lowercase().contains("warn"),
            "{version} {arguments:?}: {errors}"
        );
        words
    }

    /// What somebody looks at whose release doesn't become ready.
    async fn state(&self) -> String {
        let ours = ["--namespace", HEADCOUNT, "get"];
        let pods = ["replicasets,pods,certificates", "--output=wide"];
        let events = ["events", "--sort-by=.metadata.creationTimestamp"];
        let nodes = self.kubectl(&["describe", "nodes"]).await;
        let pods = self.kubectl(&[&ours[..], &pods].concat()).await;
        let events = self.kubectl(&[&ours[..], &events].concat()).await;
        format!("{pods}\n{events}\n{nodes}")
    }

    /// Installs the release, or upgrades it, and waits until its Pods are ready; the values are YAML.
    pub(crate) async fn apply(&self, helm: &str, values: &str, further: &[&str]) -> String {
        let file = self.folder.path().join("values.yaml");
        fs::write(&file, values).unwrap();
        let (chart, file) = (
            checkout("deploy/chart"),
            format!("--values={}", file.display()),
        );
        let arguments = [
            "upgrade",
            "--install",
            HEADCOUNT,
            chart.to_str().unwrap(),
            "--wait",
            "--timeout=300s",
            &file,
        ];
        self.helm_of(helm, &[&arguments[..], further].concat())
            .await
    }

    /// Takes it away again, and waits until its Pods are gone.
    pub(crate) async fn uninstall(&self, helm: &str) {
        self.helm_of(helm, &["uninstall", HEADCOUNT, "--wait", "--timeout=300s"])
            .await;
    }

    /// One file of a Secret in headcount's namespace.
    pub(crate) async fn secret(&self, name: &str, file: &str) -> String {
        let secrets = Api::<Secret>::namespaced(self.control_plane.client(), HEADCOUNT);
        let mut data = secrets.get(name).await.unwrap().data.unwrap();
        String::from_utf8(data.remove(file).unwrap().0).unwrap()
    }

    /// An object of headcount's namespace as the API server has it.
    pub(crate) async fn object(&self, kind: &str, name: &str) -> Value {
        let object = self
            .kubectl(&["--namespace", HEADCOUNT, "get", kind, name, "--output=json"])
            .await;
        serde_json::from_str(&object).unwrap()
    }

    /// Every object of the cluster, but for those that come and go by themselves: kind, namespace, name.
    pub(super) async fn objects(&self) -> BTreeSet<String> {
        let kinds = self
            .kubectl(&["api-resources", "--verbs=list", "--output=name"])
            .await;
        let kinds: Vec<_> = kinds
            .lines()
            .filter(|kind| !RESTLESS.contains(kind))
            .collect();
        let columns = "--output=custom-columns=:kind,:metadata.namespace,:metadata.name";
        let objects = self
            .kubectl(&[
                "get",
                &kinds.join(","),
                "--all-namespaces",
                "--no-headers",
                columns,
            ])
            .await;
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        objects.lines().map(words).collect()
    }
}

/// Runs a command to its end, which has a deadline.
pub(super) async fn ended(command: &mut Command) -> Output {
    let run = command.output();
    tokio::time::timeout(PATIENCE, run).await.unwrap().unwrap()
}

/// What a command wrote to stdout and to stderr.
pub(super) fn words(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}
