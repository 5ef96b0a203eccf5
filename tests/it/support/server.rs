//! The server in this process, on free ports, with certificates of its own.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use headcount::{
    Headcount,
    access::{Authorization, Verbs, WriteRules},
    audit::AuditSettings,
    config::{Config, LeaseSettings},
    kubernetes::Managed,
    limits::Limits,
    pki::{self, DemoFiles},
    tls::TlsFiles,
};
use tempfile::TempDir;
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::Client;

/// What a server is started with; the defaults manage all namespaces, images too.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) kubeconfig: PathBuf,
    pub(crate) managed: Managed,
    pub(crate) writes: WriteRules,
    pub(crate) authorization: Authorization,
    pub(crate) limits: Limits,
    pub(crate) audit: AuditSettings,
    pub(crate) kubernetes_events: bool,
    pub(crate) leases: LeaseSettings,
}

impl Setup {
    /// A server of the cluster that this kubeconfig names.
    pub(crate) fn new(kubeconfig: &Path) -> Self {
        Self {
            kubeconfig: kubeconfig.to_owned(),
            managed: Managed::default(),
            writes: WriteRules::default(),
            authorization: Authorization::Any(Verbs::ALL),
            limits: Limits::default(),
            audit: AuditSettings::default(),
            kubernetes_events: false,
            leases: LeaseSettings::default(),
        }
    }

    /// Starts it; it may not be synced yet.
    pub(crate) async fn start(self) -> TestServer {
        let folder = tempfile::tempdir().unwrap();
        let files = pki::write_demo(folder.path()).unwrap();
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let config = Config {
            kubeconfig: Some(self.kubeconfig),
            listen: local,
            admin_listen: local,
            managed: self.managed,
            writes: self.writes,
            authorization: self.authorization,
            drain_delay: Duration::ZERO,
            limits: self.limits,
            audit: self.audit,
            kubernetes_events: self.kubernetes_events,
            leases: self.leases,
            ..Config::of(TlsFiles {
                cert: files.server.certificate.clone(),
                key: files.server.key.clone(),
                client_ca: vec![files.ca.clone()],
                ..TlsFiles::default()
            })
        };
        let headcount = Headcount::bind(config).await.unwrap();
        let (address, admin_address) = (headcount.address(), headcount.admin_address());
        let stop = Arc::new(Notify::new());
        let stopped = Arc::clone(&stop);
        let running = tokio::spawn(async move {
            headcount
                .run(async move { stopped.notified().await })
                .await
                .unwrap()
        });
        let client = Client::with_files(
            address,
            &files.ca,
            &files.client.certificate,
            &files.client.key,
        );
        TestServer {
            address,
            admin_address,
            client,
            files,
            stop,
            running,
            _folder: folder,
        }
    }

    /// Starts it and waits until it is healthy.
    pub(crate) async fn healthy(self) -> TestServer {
        let server = self.start().await;
        server.becomes_healthy(Duration::from_secs(60)).await;
        server
    }
}

/// A server that runs until it is dropped.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) admin_address: SocketAddr,
    /// Alice.
    pub(crate) client: Client,
    pub(crate) files: DemoFiles,
    stop: Arc<Notify>,
    running: JoinHandle<()>,
    _folder: TempDir,
}

impl TestServer {
    /// Waits for a healthy answer.
    pub(crate) async fn becomes_healthy(&self, within: Duration) {
        eventually(within, "health", async || {
            self.client.get("/health").await.status == 200
        })
        .await;
    }

    /// Shuts it down as SIGTERM does, and waits for its end.
    pub(crate) async fn shut_down(self) {
        self.stop.notify_one();
        self.running.await.unwrap();
    }
}

/// Waits until `holds` does.
pub(crate) async fn eventually(within: Duration, what: &str, holds: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + within;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}: not within {within:?}");
        sleep(Duration::from_millis(20)).await;
    }
}
