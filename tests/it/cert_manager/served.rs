//! `headcount serve` with Secrets as a Pod has them mounted.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use tokio::time::timeout;

use super::cluster::{BUNDLE, CLIENT_CA, Cluster, Mounted, SERVER, SERVER_CA};
use crate::support::{
    Client, KubeletVolume, eventually,
    program::{Program, headcount},
};

/// How long a change of the files may take to be in force.
pub(super) const RELOAD: Duration = Duration::from_secs(5);

/// The Service's name, as clients in the cluster call the server.
const NAME: &str = "headcount.headcount.svc";
const DENY_LIST: &str = "deny-list.yaml";
const NOBODY: &[u8] = b"apiVersion: headcount/v1alpha1\nkind: DenyList\n";

/// The program, with what cert-manager has issued.
pub(super) struct Served {
    pub(super) program: Program,
    pub(super) address: SocketAddr,
    /// The server's certificate and key.
    pub(super) server: Mounted,
    /// The CAs whose clients are let in.
    pub(super) bundle: Mounted,
    deny_list: KubeletVolume,
}

impl Served {
    /// Makes the bundle, mounts the Secrets where the Deployment has them, and starts the program with the server's own rights.
    pub(super) async fn start(cluster: &Cluster) -> Self {
        cluster.trust(&[CLIENT_CA]).await.unwrap();
        let (server, bundle) = (cluster.mount(SERVER).await, cluster.mount(BUNDLE).await);
        let nobody = BTreeMap::from([(DENY_LIST.to_owned(), NOBODY.into())]);
        let deny_list =
            KubeletVolume::mount(&cluster.folder.path().join("denied"), &nobody).unwrap();
        let mut command = headcount([
            "serve",
            "--listen=127.0.0.1:0",
            "--admin-listen=127.0.0.1:0",
        ]);
        command.arg("--kubeconfig").arg(cluster.kubeconfig().await);
        command.args([
            "--tls-cert",
            &server.path("tls.crt"),
            "--tls-key",
            &server.path("tls.key"),
            "--client-ca",
            &bundle.path("ca.crt"),
        ]);
        command.arg("--deny-list").arg(deny_list.path(DENY_LIST));
        let program = Program::start(command);
        let listening = program.line("server.listening", 1).await;
        let address = listening.text("address").parse().unwrap();
        Self {
            program,
            address,
            server,
            bundle,
            deny_list,
        }
    }

    /// A client with the certificate of a Secret, as it is now, which trusts the authority that signed the server's.
    pub(super) async fn client(&self, cluster: &Cluster, secret: &str) -> Client {
        let authority = cluster.text(SERVER_CA, "tls.crt").await;
        let (chain, key) = (
            cluster.text(secret, "tls.crt").await,
            cluster.text(secret, "tls.key").await,
        );
        Client::new(self.address, &authority, Some((&chain, &key))).naming(NAME)
    }

    /// Mounts a Secret as it is now, and waits until the server has put the change in force.
    pub(super) async fn takes(&self, cluster: &Cluster, mounted: &Mounted) {
        let before = self.program.lines("reload.applied").len();
        cluster.sync(mounted).await;
        let applied = self.program.line("reload.applied", before + 1);
        let applied = timeout(RELOAD, applied).await;
        applied.unwrap_or_else(|_| panic!("no reload: {:#?}", self.program.lines("reload.failed")));
    }

    /// Changes the deny list.
    pub(super) fn deny(&self, list: &[u8]) {
        self.deny_list.update(&denied(list)).unwrap();
    }

    /// Waits until a client gets an answer from the cluster.
    pub(super) async fn becomes_healthy(&self, client: &Client) {
        eventually(Duration::from_secs(20), "health", async || {
            client.get("/health").await.status == 200
        })
        .await;
    }
}

fn denied(list: &[u8]) -> BTreeMap<String, Vec<u8>> {
    BTreeMap::from([(DENY_LIST.to_owned(), list.to_vec())])
}
