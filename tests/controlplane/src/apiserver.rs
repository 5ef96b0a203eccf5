//! kube-apiserver: started, stopped, killed and started again on the same port.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::Request;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rustix::process::Signal;

use crate::certificates::{Authority, Credentials};
use crate::process::Process;
use crate::{Error, port};

/// The first address of the Services' range, under which Pods would reach the API server.
pub(crate) const SERVICE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

const READY_DEADLINE: Duration = Duration::from_secs(120);
const PROBE_DEADLINE: Duration = Duration::from_secs(2);
const STOP_DEADLINE: Duration = Duration::from_secs(2);

/// Whether a thread of this process isn't stopped (proc(5): state T).
fn runs(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return false;
    };
    threads.flatten().any(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // The name before it may have spaces and parentheses.
        let state = stat.rsplit(") ").next().unwrap_or_default();
        !state.is_empty() && !state.starts_with('T')
    })
}

/// What all API servers of one cluster share.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) binaries: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) authority: Authority,
    pub(crate) etcd_url: String,
    pub(crate) flags: Vec<String>,
}

/// One kube-apiserver. It keeps its port, certificate and kubeconfig when it is killed and started again, and ends when this
/// is dropped.
pub struct ApiServer {
    setup: Arc<Setup>,
    name: String,
    port: u16,
    kubeconfig: PathBuf,
    client: Client,
    process: Mutex<Option<Process>>,
}

impl std::fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiServer")
            .field("url", &self.url())
            .field("pid", &self.pid())
            .finish_non_exhaustive()
    }
}

impl ApiServer {
    /// Starts one under a name of its own, which its log and kubeconfig carry.
    pub(crate) async fn create(setup: Arc<Setup>, name: String) -> Result<Self, Error> {
        let reserved =
            port::Reserved::new().map_err(Error::io("find a free port for kube-apiserver"))?;
        let port = reserved.port();
        let kubeconfig = setup.folder.join(format!("{name}.kubeconfig"));
        setup.authority.write_kubeconfig(
            &kubeconfig,
            &url(port),
            &Credentials::Certificate {
                user: "admin",
                group: Some("system:masters"),
            },
        )?;
        let server = Self {
            client: client(&kubeconfig).await?,
            setup,
            name,
            port,
            kubeconfig,
            process: Mutex::new(None),
        };
        reserved.release();
        server.start().await?;
        Ok(server)
    }

    /// `https://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        url(self.port)
    }

    /// A kubeconfig that may do everything and asks this API server. It carries its certificates in itself.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// A client that may do everything and asks this API server.
    #[must_use]
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The server's process id; none while it is killed.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process().as_ref().map(Process::id)
    }

    /// Stops the server without ending it (SIGSTOP): its connections stay open and silent.
    ///
    /// # Errors
    ///
    /// [`Error::State`] while it is killed.
    pub fn stop(&self) -> Result<(), Error> {
        self.signal(Signal::STOP)?;
        // A thread on another core may answer one more request after the signal was sent.
        let deadline = Instant::now() + STOP_DEADLINE;
        while self.pid().is_some_and(runs) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Lets a stopped server go on (SIGCONT).
    ///
    /// # Errors
    ///
    /// [`Error::State`] while it is killed.
    pub fn r#continue(&self) -> Result<(), Error> {
        self.signal(Signal::CONT)
    }

    /// Kills the server (SIGKILL), stopped or not, and waits until it is gone.
    ///
    /// # Errors
    ///
    /// [`Error::State`] if it is killed already, [`Error::Deadline`] if it does not go away within 20 s.
    pub async fn kill(&self) -> Result<(), Error> {
        let process = self.process().take().ok_or(Error::State("not running"))?;
        process.kill().await
    }

    /// Starts the server again on its port after [`ApiServer::kill`], and waits until it is ready (at most 120 s).
    ///
    /// # Errors
    ///
    /// [`Error::State`] if it is running, [`Error::Ended`] or [`Error::NotReady`], with the end of its log, if it does not
    /// become ready.
    pub async fn start(&self) -> Result<(), Error> {
        if self.pid().is_some() {
            return Err(Error::State("running already"));
        }
        let log = self.setup.folder.join(format!("logs/{}.log", self.name));
        let program = self.setup.binaries.join("kube-apiserver");
        let mut process = Process::start("kube-apiserver", &program, &self.arguments(), log)?;
        process
            .ready(READY_DEADLINE, async || self.is_ready().await)
            .await?;
        *self.process() = Some(process);
        Ok(())
    }

    async fn is_ready(&self) -> bool {
        let Ok(request) = Request::get("/readyz").body(Vec::new()) else {
            return false;
        };
        let answer = tokio::time::timeout(PROBE_DEADLINE, self.client.request_text(request));
        matches!(answer.await, Ok(Ok(body)) if body == "ok")
    }

    fn arguments(&self) -> Vec<String> {
        let Setup {
            authority,
            etcd_url,
            flags,
            ..
        } = &*self.setup;
        let mut arguments = vec![
            format!("--etcd-servers={etcd_url}"),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", self.port),
            format!(
                "--tls-cert-file={}",
                authority.serving_certificate().display()
            ),
            format!(
                "--tls-private-key-file={}",
                authority.serving_key().display()
            ),
            format!("--client-ca-file={}", authority.ca().display()),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
            format!(
                "--service-account-key-file={}",
                authority.service_account_public_key().display()
            ),
            format!(
                "--service-account-signing-key-file={}",
                authority.service_account_key().display()
            ),
            "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
            "--allow-privileged=true".to_owned(),
            // A loopback address is not valid in the Endpoints of the `kubernetes` Service.
            "--endpoint-reconciler-type=none".to_owned(),
        ];
        arguments.extend_from_slice(flags);
        arguments
    }

    fn signal(&self, signal: Signal) -> Result<(), Error> {
        match &*self.process() {
            Some(process) => process.signal(signal),
            None => Err(Error::State("not running")),
        }
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For several that are to end together.
    pub(crate) fn start_kill(&self) {
        if let Some(process) = &mut *self.process() {
            process.start_kill();
        }
    }
}

fn url(port: u16) -> String {
    format!("https://127.0.0.1:{port}")
}

async fn client(kubeconfig: &Path) -> Result<Client, Error> {
    let action = || format!("read {}", kubeconfig.display());
    let parsed = Kubeconfig::read_from(kubeconfig).map_err(Error::request(action()))?;
    let config = Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default())
        .await
        .map_err(Error::request(action()))?;
    Client::try_from(config).map_err(Error::request(action()))
}
