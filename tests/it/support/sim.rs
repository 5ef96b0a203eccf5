//! simkube on a port, with a kubeconfig for it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use simkube::{Cluster, NewDeployment, Options};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};

/// A simulated cluster that is served until it is dropped.
pub(crate) struct SimCluster {
    pub(crate) cluster: Cluster,
    address: SocketAddr,
    kubeconfig: PathBuf,
    _folder: TempDir,
    serving: JoinHandle<()>,
}

impl Drop for SimCluster {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl SimCluster {
    /// An empty one, whose Deployments roll out in a tenth of a second.
    pub(crate) async fn start() -> Self {
        let cluster =
            Cluster::new(Options::default().rollout(std::time::Duration::from_millis(100)));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        write_kubeconfig(&kubeconfig, &format!("http://{address}"));
        let serving = serve(&cluster, listener);
        Self {
            cluster,
            address,
            kubeconfig,
            _folder: folder,
            serving,
        }
    }

    /// Closes every connection and takes no more.
    pub(crate) fn kill(&self) {
        self.serving.abort();
    }

    /// Serves the same cluster at the same address again.
    pub(crate) async fn serve_again(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.serving = serve(&self.cluster, listener);
    }

    /// The path of its kubeconfig.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    pub(crate) fn create(&self, namespace: &str, name: &str, replicas: i32) {
        assert!(
            self.cluster
                .create(NewDeployment::new(namespace, name).replicas(replicas))
                .is_some()
        );
    }

    pub(crate) fn count(&self, namespace: &str, name: &str) -> Option<i32> {
        self.cluster
            .deployment(namespace, name)
            .and_then(|d| d.replicas)
    }

    /// A new version of the object with the same count.
    pub(crate) fn touch(&self, namespace: &str, name: &str) {
        assert!(self.cluster.touch_status(namespace, name).is_some());
    }

    pub(crate) fn forget_requests(&self) {
        self.cluster.clear_requests();
    }

    /// How many requests it has seen.
    pub(crate) fn requests(&self) -> usize {
        self.cluster.requests().len()
    }

    /// How many writes it has seen.
    pub(crate) fn writes(&self) -> usize {
        self.cluster
            .requests()
            .iter()
            .filter(|r| r.method != "GET")
            .count()
    }
}

fn serve(cluster: &Cluster, listener: TcpListener) -> JoinHandle<()> {
    let cluster = cluster.clone();
    tokio::spawn(async move { cluster.serve(listener, std::future::pending()).await })
}

/// A kubeconfig of a cluster without credentials.
pub(crate) fn write_kubeconfig(path: &Path, server: &str) {
    let kubeconfig = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": server}}],
        "users": [{"name": "test", "user": {}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    });
    std::fs::write(path, kubeconfig.to_string()).unwrap();
}
