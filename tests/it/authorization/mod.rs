//! Who may do what: a server with a configuration file, and clients with names of their own.

mod any;
mod batches;
mod cluster;
mod expiring;
mod history;
mod images;
mod kubernetes;
mod lists;
mod policy;
mod reloading;
mod watches;
mod whoami;

use std::{ffi::OsString, net::SocketAddr, time::Duration};

use headcount::{
    Headcount,
    config::{Config, ServeArgs},
    pki::{Authority, Leaf},
};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::support::{Client, SimCluster, eventually};

/// A server whose `authorization` is in a file that can be changed.
struct Governed {
    sim: SimCluster,
    clients: Authority,
    servers: Authority,
    address: SocketAddr,
    admin_address: SocketAddr,
    folder: TempDir,
    running: JoinHandle<()>,
}

impl Drop for Governed {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Governed {
    /// Serves once its copy of the cluster is complete. `settings` is the configuration file's part of it.
    async fn by(settings: &str, sim: SimCluster) -> Self {
        let (clients, servers) = (
            Authority::new("clients").unwrap(),
            Authority::new("servers").unwrap(),
        );
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let pair = servers.issue(&Leaf::server(&["127.0.0.1"])).unwrap();
        write("tls.crt", &pair.chain_pem);
        write("tls.key", &pair.key_pem);
        write("ca.crt", &clients.certificate_pem());
        write("headcount.yaml", &file(&folder, &sim, settings));
        let path = folder.path().join("headcount.yaml");
        let environment = [(OsString::from("HEADCOUNT_CONFIG"), path.into_os_string())];
        let config = Config::load(ServeArgs::default(), environment).unwrap();
        let headcount = Headcount::bind(config).await.unwrap();
        let (address, admin_address) = (headcount.address(), headcount.admin_address());
        let running = tokio::spawn(async { headcount.run(std::future::pending()).await.unwrap() });
        let this = Self {
            sim,
            clients,
            servers,
            address,
            admin_address,
            folder,
            running,
        };
        let anybody = this.client("anybody");
        eventually(Duration::from_secs(20), "health", async || {
            anybody.get("/health").await.status == 200
        })
        .await;
        this
    }

    /// Puts other settings into the configuration file.
    fn becomes(&self, settings: &str) {
        let text = file(&self.folder, &self.sim, settings);
        std::fs::write(self.folder.path().join("headcount.yaml"), text).unwrap();
    }

    /// A client with this common name.
    fn client(&self, name: &str) -> Client {
        self.client_of(&Leaf::client(name))
    }

    fn client_of(&self, leaf: &Leaf) -> Client {
        let issued = self.clients.issue(leaf).unwrap();
        let pair = (issued.chain_pem.as_str(), issued.key_pem.as_str());
        Client::new(self.address, &self.servers.certificate_pem(), Some(pair))
    }
}

fn file(folder: &TempDir, sim: &SimCluster, settings: &str) -> String {
    let folder = folder.path().display();
    format!(
        "apiVersion: headcount/v1alpha1\nkind: Configuration\nlisten: 127.0.0.1:0\nadminListen: 127.0.0.1:0\n\
         tlsCert: {folder}/tls.crt\ntlsKey: {folder}/tls.key\nclientCa: {folder}/ca.crt\nkubeconfig: {}\n{settings}",
        sim.kubeconfig().display()
    )
}

/// The names in the list that a caller sees.
async fn seen(client: &Client) -> Vec<String> {
    let list = client.get("/deployments").await;
    assert_eq!(list.status, 200, "{}", list.text());
    let list = list.json();
    let all = list.as_array().unwrap().iter();
    all.map(|d| {
        format!(
            "{}/{}",
            d["namespace"].as_str().unwrap(),
            d["name"].as_str().unwrap()
        )
    })
    .collect()
}
