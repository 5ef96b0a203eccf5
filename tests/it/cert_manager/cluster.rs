//! A control plane with cert-manager, the manifests, and what of it a Pod and a client see.

use std::{collections::BTreeMap, path::Path, process::Stdio, time::Duration};

use controlplane::{ControlPlane, Options, binaries};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use serde_json::json;
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::{KubeletVolume, eventually};

/// The authority that signs the clients' certificates, as shipped.
pub(super) const CLIENT_CA: &str = "headcount-client-ca-1";
/// The authority that signs the server's certificate, as shipped.
pub(super) const SERVER_CA: &str = "headcount-server-ca-1";
/// The Secret and Certificate of the server.
pub(super) const SERVER: &str = "headcount-server";
/// The Secret and Certificate of the example of a client.
pub(super) const CLIENT: &str = "headcount-client-ci-deployer";
/// The Secret with the CAs whose clients are let in.
pub(super) const BUNDLE: &str = "headcount-client-ca";

const NAMESPACE: &str = "--namespace=headcount";
/// cert-manager answers within a second; this is for a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// The cluster, with the namespace, the server's account and rights, and the certificates of the shipped manifests.
pub(super) struct Cluster {
    control_plane: ControlPlane,
    secrets: Api<Secret>,
    pub(super) folder: TempDir,
}

/// A Secret as a Pod sees it.
pub(super) struct Mounted {
    secret: &'static str,
    volume: KubeletVolume,
}

impl Mounted {
    /// The path of one of its files.
    pub(super) fn path(&self, file: &str) -> String {
        self.volume.path(file).to_str().unwrap().to_owned()
    }
}

pub(super) fn checkout(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

impl Cluster {
    /// Starts it, applies the manifests as they are, and waits until everything is issued.
    pub(super) async fn start() -> Self {
        let options = Options {
            cert_manager: true,
            ..Options::default()
        };
        let control_plane = ControlPlane::start(options)
            .await
            .unwrap_or_else(|e| panic!("{}", e.chain()));
        let cluster = Self {
            secrets: Api::namespaced(control_plane.client(), "headcount"),
            control_plane,
            folder: tempfile::tempdir().unwrap(),
        };
        // The namespace first, as in the guide.
        for path in [
            "deploy/manifests/10-namespace.yaml",
            "deploy/cert-manager",
            "deploy/manifests",
        ] {
            let path = checkout(path);
            cluster
                .kubectl(&[
                    "apply",
                    "--validate=strict",
                    "--filename",
                    path.to_str().unwrap(),
                ])
                .await;
        }
        for certificate in [CLIENT_CA, SERVER_CA, SERVER, CLIENT] {
            cluster.ready(certificate).await;
        }
        cluster
    }

    /// Runs kubectl in the namespace of headcount; what it wrote to stdout.
    pub(super) async fn kubectl(&self, arguments: &[&str]) -> String {
        self.control_plane
            .kubectl(&[&[NAMESPACE], arguments].concat())
            .await
            .unwrap()
    }

    /// Applies a manifest.
    pub(super) async fn apply(&self, manifest: &str) {
        self.control_plane.apply(manifest).await.unwrap();
    }

    /// What the API server says against a manifest, admission and all, if it says anything; nothing is changed.
    pub(super) async fn objection(&self, manifest: &Path) -> Option<String> {
        let file = manifest.to_str().unwrap();
        let arguments = [
            "apply",
            "--dry-run=server",
            "--validate=strict",
            "--filename",
            file,
        ];
        self.control_plane
            .kubectl(&arguments)
            .await
            .err()
            .map(|error| error.to_string())
    }

    /// A kubeconfig of the account that the server's Pods have.
    pub(super) async fn kubeconfig(&self) -> std::path::PathBuf {
        self.control_plane
            .serviceaccount_kubeconfig("headcount", "headcount")
            .await
            .unwrap()
    }

    /// Waits until a Certificate is ready.
    pub(super) async fn ready(&self, certificate: &str) {
        let certificate = format!("certificate/{certificate}");
        self.kubectl(&[
            "wait",
            "--for=condition=Ready",
            "--timeout=60s",
            &certificate,
        ])
        .await;
    }

    /// Has a Certificate issued anew, as `cmctl renew` does, and waits until it is.
    pub(super) async fn renew(&self, certificate: &str) {
        let before = self.text(certificate, "tls.crt").await;
        let issuing = json!([{
            "op": "add",
            "path": "/status/conditions/-",
            "value": {
                "type": "Issuing",
                "status": "True",
                "reason": "ManuallyTriggered",
                "message": "Certificate re-issuance manually triggered",
                "lastTransitionTime": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            },
        }]);
        self.kubectl(&[
            "patch",
            "certificate",
            certificate,
            "--subresource=status",
            "--type=json",
            &format!("--patch={issuing}"),
        ])
        .await;
        eventually(PATIENCE, "a renewed certificate", async || {
            self.text(certificate, "tls.crt").await != before
        })
        .await;
        self.ready(certificate).await;
    }

    /// Waits until cert-manager has seen which authority an Issuer signs with.
    pub(super) async fn issues_with(&self, issuer: &str, authority: &str) {
        let path = r#"--output=jsonpath={.spec.ca.secretName} {.metadata.generation} {.status.conditions[?(@.type=="Ready")].observedGeneration}"#;
        eventually(PATIENCE, "an issuer with another authority", async || {
            let state = self.kubectl(&["get", "issuer", issuer, path]).await;
            let words: Vec<_> = state.split(' ').collect();
            matches!(words[..], [secret, made, seen] if secret == authority && made == seen)
        })
        .await;
    }

    /// Fails the test where requests of earlier issuances pile up.
    pub(super) async fn has_as_many_requests_as_certificates(&self) {
        let names = async |kind: &str| {
            let names = self.kubectl(&["get", kind, "--output=name"]).await;
            names.lines().count()
        };
        eventually(PATIENCE, "requests are removed", async || {
            names("certificaterequests").await == names("certificates").await
        })
        .await;
    }

    /// The files of a Secret.
    async fn files(&self, secret: &str) -> BTreeMap<String, Vec<u8>> {
        let found = self.secrets.get(secret).await.unwrap();
        let data = found.data.unwrap_or_default().into_iter();
        data.map(|(name, content)| (name, content.0)).collect()
    }

    /// One file of a Secret.
    pub(super) async fn text(&self, secret: &str, file: &str) -> String {
        String::from_utf8(self.files(secret).await.remove(file).unwrap()).unwrap()
    }

    /// Mounts a Secret, which then changes when [`Cluster::sync`] says so, as with the kubelet.
    pub(super) async fn mount(&self, secret: &'static str) -> Mounted {
        let files = self.files(secret).await;
        let volume = KubeletVolume::mount(&self.folder.path().join(secret), &files).unwrap();
        Mounted { secret, volume }
    }

    /// What the kubelet does once a minute.
    pub(super) async fn sync(&self, mounted: &Mounted) {
        mounted
            .volume
            .update(&self.files(mounted.secret).await)
            .unwrap();
    }

    /// Runs the script that makes the bundle out of the certificates of these authorities.
    pub(super) async fn trust(&self, authorities: &[&str]) -> Result<(), String> {
        let kubectl = format!(
            "{} --kubeconfig={}",
            binaries().await.unwrap().join("kubectl").display(),
            self.control_plane.kubeconfig().display()
        );
        let run = Command::new(checkout("deploy/cert-manager/trust"))
            .args(authorities)
            .env("KUBECTL", kubectl)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(PATIENCE, run).await.unwrap().unwrap();
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8(output.stderr).unwrap()),
        }
    }
}
