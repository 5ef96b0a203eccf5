//! headcount with what cert-manager has issued, and how that is issued anew.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use serde_json::json;

use crate::{
    chart::{HEADCOUNT, World},
    node::RenderedPod,
    support::{Client, eventually, lines::Line},
};

/// The chart's first authority of clients, and its successor.
pub(super) const CLIENT_CA: &str = "headcount-client-ca-1";
pub(super) const SUCCESSOR: &str = "headcount-client-ca-2";
/// The chart's first authority of servers.
pub(super) const SERVER_CA: &str = "headcount-server-ca-1";
/// The Secret and Certificate of the server.
pub(super) const SERVER: &str = "headcount-server";
/// The Secret and Certificate of the client.
pub(super) const CLIENT: &str = "headcount-client-ci-deployer";
/// The ConfigMap of the deny list.
const DENIED: &str = "denied";

/// How long a change may take to be in force: the tests' kubelet, which is faster than others, and the reload.
pub(super) const RELOAD: Duration = Duration::from_secs(6);
/// cert-manager answers within a second; this is for a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// The release, with one server: whatever isn't a rollout is in force without one.
pub(super) struct Issued {
    pub(super) world: World,
}

/// The values; the authorities of clients are the only ones that change.
fn values(client_authorities: &str) -> String {
    format!(
        r#"
replicaCount: 1
denyList: {{configMap: {DENIED}}}
certificates:
  certManager:
    clientAuthorities: {client_authorities}
    clients:
      - name: ci-deployer
        organizations: [team-a]
        uris: ["spiffe://example.org/ns/team-a/sa/ci-deployer"]
"#
    )
}

impl Issued {
    pub(super) async fn start(world: World) -> Self {
        let issued = Self { world };
        issued
            .deny("apiVersion: headcount/v1alpha1\nkind: DenyList\n")
            .await;
        issued
            .clients_authorities("{generations: [1], signing: 1}")
            .await;
        issued
    }

    /// Upgrades the release to these authorities of clients.
    pub(super) async fn clients_authorities(&self, authorities: &str) {
        self.world.apply(&values(authorities)).await;
    }

    /// Puts a deny list in the place of the one that is there.
    pub(super) async fn deny(&self, list: &str) {
        let map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": DENIED, "namespace": HEADCOUNT},
            "data": {"deny-list.yaml": list},
        });
        self.apply(&map.to_string()).await;
    }

    /// Applies a manifest.
    pub(super) async fn apply(&self, manifest: &str) {
        self.world
            .cluster
            .control_plane
            .apply(manifest)
            .await
            .unwrap();
    }

    /// Runs kubectl in the namespace of headcount; what it wrote to stdout.
    async fn kubectl(&self, arguments: &[&str]) -> String {
        let arguments = [&["--namespace", HEADCOUNT], arguments].concat();
        self.world.cluster.kubectl(&arguments).await
    }

    /// One file of a Secret.
    pub(super) async fn text(&self, secret: &str, file: &str) -> String {
        self.world.cluster.secret(secret, file).await
    }

    /// A file of the test's own.
    pub(super) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.world.cluster.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// The Pod that serves.
    pub(super) fn pod(&self) -> Arc<RenderedPod> {
        let mut pods = self.world.kubelet.pods();
        assert_eq!(pods.len(), 1);
        pods.remove(0)
    }

    /// The client, with its certificate as it is now.
    pub(super) async fn client(&self) -> Client {
        self.world.client("ci-deployer").await
    }

    /// Waits until there are so many lines of an event, and returns the last of them.
    pub(super) async fn line(&self, event: &str, count: usize) -> Line {
        let pod = self.pod();
        eventually(RELOAD, event, async || pod.lines(event).len() >= count).await;
        pod.lines(event).remove(count - 1)
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

    /// The same, and waits until the server has put the change in force.
    pub(super) async fn renew_and_reload(&self, certificate: &str) {
        let before = self.pod().lines("reload.applied").len();
        self.renew(certificate).await;
        self.line("reload.applied", before + 1).await;
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
}
