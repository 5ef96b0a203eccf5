//! All parts of one cluster, started in order and ended together.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kube::Client;
use rustix::process::Signal;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::apiserver::{ApiServer, Setup};
use crate::binaries::binaries;
use crate::cert_manager;
use crate::certificates::{Authority, Credentials};
use crate::etcd::Etcd;
use crate::folder::Folder;
use crate::process::Process;
use crate::workloads::Workloads;
use crate::{Error, Seed};

const KUBECTL_DEADLINE: Duration = Duration::from_secs(120);

/// What to start. The default is etcd and kube-apiserver alone, up within seconds, in a temporary folder.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether kube-controller-manager, kube-scheduler and kwok run, so that a Deployment gets Pods. Without them namespaces
    /// have no default ServiceAccount, deletions are not passed on, and aggregated roles such as `view` are empty.
    pub workloads: bool,
    /// How many Nodes there are, each with room for more Pods than a machine can simulate. They need `workloads`.
    pub nodes: u32,
    /// The Pods that kwok leaves alone, as a label selector: somebody else is their kubelet.
    pub unmanaged_pods: Option<String>,
    /// Whether cert-manager's own controllers run, with CA issuers and self-signed ones.
    pub cert_manager: bool,
    /// Further flags of kube-apiserver.
    pub apiserver_flags: Vec<String>,
    /// Where data, certificates and logs go. Without it they go into a temporary folder, which is removed at the end.
    pub folder: Option<PathBuf>,
}

impl Options {
    /// Everything that it takes for Pods to become ready, on so many Nodes.
    #[must_use]
    pub fn with_nodes(nodes: u32) -> Self {
        Self {
            workloads: true,
            nodes,
            ..Self::default()
        }
    }
}

/// A running cluster. Dropping it kills all of its programs and removes its folder, unless that is the caller's.
#[derive(Debug)]
pub struct ControlPlane {
    // Dropped in this order, so that the folder goes last.
    cert_manager: Option<Process>,
    workloads: Option<Workloads>,
    apiserver: ApiServer,
    etcd: Etcd,
    setup: Arc<Setup>,
    written: AtomicU32,
    extra: AtomicU32,
    folder: Folder,
}

impl ControlPlane {
    /// Starts a cluster and waits until it does what `options` ask for. The programs are built first if this machine does
    /// not have them yet (see [`binaries`]).
    ///
    /// # Errors
    ///
    /// [`Error::Build`] without the programs; [`Error::Ended`] or [`Error::NotReady`], with the end of a log, when one of them
    /// does not come up. Nothing keeps running then.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let Options {
            workloads,
            nodes,
            unmanaged_pods,
            cert_manager,
            apiserver_flags,
            folder,
        } = options;
        let binaries = binaries().await?;
        let folder = Folder::create(folder.as_deref())?;
        let authority = Authority::create(folder.path())?;
        let etcd = Etcd::start(&binaries, folder.path()).await?;
        let setup = Arc::new(Setup {
            binaries,
            folder: folder.path().to_owned(),
            authority,
            etcd_url: etcd.url.clone(),
            flags: apiserver_flags,
        });
        let apiserver = ApiServer::create(Arc::clone(&setup), "kube-apiserver".to_owned()).await?;
        let mut cluster = Self {
            cert_manager: None,
            workloads: None,
            apiserver,
            etcd,
            setup,
            written: AtomicU32::new(0),
            extra: AtomicU32::new(0),
            folder,
        };
        // The kinds first: what collects garbage looks for new ones every half a minute only.
        if cert_manager {
            cluster.apply_crds().await?;
        }
        if workloads {
            let Self {
                setup, apiserver, ..
            } = &cluster;
            let started = Workloads::start(setup, apiserver, nodes, unmanaged_pods.as_deref());
            cluster.workloads = Some(started.await?);
        }
        if cert_manager {
            let started = cert_manager::start(&cluster.setup, &cluster.apiserver).await?;
            cluster.cert_manager = Some(started);
        }
        Ok(cluster)
    }

    async fn apply_crds(&self) -> Result<(), Error> {
        let crds = format!("--filename={}", cert_manager::crds(&self.setup).display());
        // They are larger than what a client-side apply can remember in an annotation.
        self.kubectl(&["apply", "--server-side", &crds]).await?;
        let established = ["wait", "--for=condition=Established", "--timeout=60s"];
        self.kubectl(&[&established[..], &[&crds]].concat()).await?;
        Ok(())
    }

    /// The folder with data, certificates, kubeconfigs and, in `logs`, each program's log.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A kubeconfig that may do everything. It carries its certificates in itself.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        self.apiserver.kubeconfig()
    }

    /// A client that may do everything.
    #[must_use]
    pub fn client(&self) -> Client {
        self.apiserver.client()
    }

    /// `https://127.0.0.1:PORT`; the same as long as the control plane lives.
    #[must_use]
    pub fn apiserver_url(&self) -> String {
        self.apiserver.url()
    }

    /// kube-apiserver's process id; none while it is killed.
    #[must_use]
    pub fn apiserver_pid(&self) -> Option<u32> {
        self.apiserver.pid()
    }

    /// Stops kube-apiserver without ending it (SIGSTOP): its connections stay open and silent.
    ///
    /// # Errors
    ///
    /// [`Error::State`] while it is killed.
    pub fn stop_apiserver(&self) -> Result<(), Error> {
        self.apiserver.stop()
    }

    /// Lets a stopped kube-apiserver go on (SIGCONT).
    ///
    /// # Errors
    ///
    /// [`Error::State`] while it is killed.
    pub fn continue_apiserver(&self) -> Result<(), Error> {
        self.apiserver.r#continue()
    }

    /// Kills kube-apiserver (SIGKILL), stopped or not, and waits until it is gone.
    ///
    /// # Errors
    ///
    /// [`Error::State`] if it is killed already, [`Error::Deadline`] if it does not go away within 20 s.
    pub async fn kill_apiserver(&self) -> Result<(), Error> {
        self.apiserver.kill().await
    }

    /// Starts kube-apiserver again on the same port, and waits until `/readyz` says ok (at most 120 s).
    ///
    /// # Errors
    ///
    /// [`Error::State`] if it is running, [`Error::Ended`] or [`Error::NotReady`] if it does not become ready.
    pub async fn start_apiserver(&self) -> Result<(), Error> {
        self.apiserver.start().await
    }

    /// A second kube-apiserver on the same etcd and another port, with an admin kubeconfig of its own.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`] or [`Error::NotReady`] if it does not become ready within 120 s.
    pub async fn extra_apiserver(&self) -> Result<ApiServer, Error> {
        let number = self.extra.fetch_add(1, Ordering::Relaxed) + 2;
        let name = format!("kube-apiserver-{number}");
        ApiServer::create(Arc::clone(&self.setup), name).await
    }

    /// Stops etcd without ending it (SIGSTOP): kube-apiserver answers from its caches what it can.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it is gone.
    pub fn stop_etcd(&self) -> Result<(), Error> {
        self.etcd.process.signal(Signal::STOP)
    }

    /// Lets a stopped etcd go on (SIGCONT).
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it is gone.
    pub fn continue_etcd(&self) -> Result<(), Error> {
        self.etcd.process.signal(Signal::CONT)
    }

    /// Compacts etcd's history away, up to now. A running kube-apiserver still serves watches from its cache; one that starts
    /// after this answers 410 to every older resourceVersion, and so does a paged list that is continued.
    ///
    /// # Errors
    ///
    /// [`Error::Request`] or [`Error::Deadline`] (30 s) if etcd does not do it.
    pub async fn compact(&self) -> Result<(), Error> {
        Etcd::compact(&self.etcd.url).await
    }

    /// Runs the pinned kubectl with the admin kubeconfig and returns what it wrote to stdout.
    ///
    /// # Errors
    ///
    /// [`Error::Kubectl`] with its stderr if it fails, [`Error::Deadline`] after 120 s.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String, Error> {
        self.run_kubectl(arguments, "").await
    }

    /// Applies a manifest (`kubectl apply -f -`) and returns what kubectl wrote to stdout.
    ///
    /// # Errors
    ///
    /// As [`ControlPlane::kubectl`].
    pub async fn apply(&self, manifest: &str) -> Result<String, Error> {
        self.run_kubectl(&["apply", "-f", "-"], manifest).await
    }

    async fn run_kubectl(&self, arguments: &[&str], input: &str) -> Result<String, Error> {
        let program = self.setup.binaries.join("kubectl");
        let failed = || Error::io(format!("run {}", program.display()));
        let mut child = Command::new(&program)
            .arg(format!("--kubeconfig={}", self.kubeconfig().display()))
            .args(arguments)
            .env("KUBECACHEDIR", self.folder().join("kubectl"))
            .env("KUBERC", "off")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed())?;
        let stdin = child.stdin.take();
        let run = async {
            let feed = async {
                if let Some(mut stdin) = stdin {
                    // A kubectl that does not read its input says why on stderr.
                    let _ = stdin.write_all(input.as_bytes()).await;
                }
            };
            tokio::join!(feed, child.wait_with_output()).1
        };
        let output = tokio::time::timeout(KUBECTL_DEADLINE, run)
            .await
            .map_err(|_| Error::Deadline {
                action: format!("kubectl {}", arguments.join(" ")),
                after: KUBECTL_DEADLINE,
            })?
            .map_err(failed())?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(Error::Kubectl {
            arguments: arguments.join(" "),
            stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }

    /// Writes a kubeconfig that knows a token of this ServiceAccount, which exists, and the cluster's CA, nothing else.
    /// Returns its path; every call makes another token and file.
    ///
    /// # Errors
    ///
    /// [`Error::Kubectl`] if there is no such ServiceAccount, [`Error::Io`] if the file cannot be written.
    pub async fn serviceaccount_kubeconfig(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<PathBuf, Error> {
        let flag = format!("--namespace={namespace}");
        let token = self.kubectl(&["create", "token", name, &flag]).await?;
        self.write_kubeconfig(&Credentials::Token(token.trim()))
    }

    /// Writes a kubeconfig with a client certificate for this user and group, who may do what RBAC lets them. Returns its path.
    ///
    /// # Errors
    ///
    /// [`Error::Certificate`] or [`Error::Io`] if it cannot be made.
    pub fn user_kubeconfig(&self, user: &str, group: Option<&str>) -> Result<PathBuf, Error> {
        self.write_kubeconfig(&Credentials::Certificate { user, group })
    }

    fn write_kubeconfig(&self, credentials: &Credentials<'_>) -> Result<PathBuf, Error> {
        let number = self.written.fetch_add(1, Ordering::Relaxed) + 1;
        let path = self.folder().join(format!("user-{number}.kubeconfig"));
        self.setup
            .authority
            .write_kubeconfig(&path, &self.apiserver_url(), credentials)?;
        Ok(path)
    }

    /// Creates many Deployments quickly and returns how long that took.
    ///
    /// # Errors
    ///
    /// As [`crate::seed()`].
    pub async fn seed(&self, seed: &Seed) -> Result<Duration, Error> {
        crate::seed(&self.client(), seed).await
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        // All at once; each one's own drop then waits until it is gone.
        if let Some(process) = &mut self.cert_manager {
            process.start_kill();
        }
        if let Some(workloads) = &mut self.workloads {
            for process in &mut workloads.processes {
                process.start_kill();
            }
        }
        self.apiserver.start_kill();
        self.etcd.process.start_kill();
    }
}
