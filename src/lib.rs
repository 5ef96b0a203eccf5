//! headcount manages the replica counts of Kubernetes Deployments for callers that have a client certificate and no
//! cluster credentials.
//!
//! ```text
//! Kubernetes list/watch ──▶ informer ──▶ store ──▶ snapshot ──▶ handler ──▶ caller       (reads never go left)
//! caller ──▶ TLS ──▶ judgement ──▶ write ──▶ Kubernetes ──▶ … informer ──▶ store (version seen) ──▶ answer
//! ```

pub mod access;
pub mod api;
pub mod audit;
pub mod cli;
pub mod client;
pub mod config;
pub mod generation;
pub mod image_reference;
pub mod kubernetes;
pub mod leases;
pub mod limits;
pub mod name;
mod numbers;
mod pem;
pub mod pki;
pub mod reload;
pub mod reverter;
pub mod selector;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod tls;
mod yaml;

use std::{
    net::SocketAddr,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpSocket},
    sync::{oneshot, watch},
    time::{sleep, timeout},
};
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};
use tracing::{info, warn};

use api::Api;
use audit::{Audit, AuditError};
use config::Config;
use generation::Generations;
use kubernetes::{
    AccessReviews, Autoscaling, Clock, ClusterConfig, ConnectError, Deployments, Informer,
    InformerStatus, LeaseObjects,
};
use limits::{Limiter, Looking};
use reload::{Files, ReloadError, ReloadStatus, Reloader};
use reverter::Reverter;
use server::{Server, admin::Admin, drain::Step};
use store::{LabelKeys, Store};
use telemetry::metrics::Metrics;

/// How long requests and writes under way may take once nobody new is let in: longer than a write may take to be sent and seen.
const DRAIN: Duration = Duration::from_secs(20);
/// What the kernel keeps of a connection's answers before they are sent, in bytes: without a bound it takes megabytes, which count as
/// this process's memory, from everybody who reads slowly.
#[cfg(target_os = "linux")]
const UNSENT: u32 = 128 * 1024;
/// Connections that the kernel holds until they are accepted, as far as `net.core.somaxconn` allows: whoever comes when there is no room
/// for it notices nothing but silence, and tries again a second later.
const UNACCEPTED: u32 = 4096;
/// How long the informer has for ending when everything else has.
const INFORMER_STOP: Duration = Duration::from_millis(500);

/// Why the server can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file that the configuration names.
    #[error(transparent)]
    Files(#[from] ReloadError),
    /// The way to the cluster.
    #[error(transparent)]
    Cluster(#[from] ConnectError),
    /// The audit trail.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// An address that can't be listened at.
    #[error("failed to listen at {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
}

/// Why the server ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A task that never ends did.
    #[error("the {0} ended unexpectedly; the lines before this one say why")]
    Ended(&'static str),
    /// The informer's thread.
    #[error("failed to start the informer: {0}")]
    Informer(String),
    /// The thread that looks at the process's memory.
    #[error("failed to start a thread: {0}")]
    Thread(std::io::Error),
}

/// A server that listens and doesn't serve yet.
pub struct Headcount {
    config: Config,
    files: Files,
    generations: Arc<Generations>,
    cluster: ClusterConfig,
    client: kube::Client,
    status: Arc<InformerStatus>,
    reviewing: reload::Cluster,
    metrics: Arc<Metrics>,
    limiter: Arc<Limiter>,
    audit: Audit,
    listener: TcpListener,
    admin_listener: TcpListener,
    address: SocketAddr,
    admin_address: SocketAddr,
}

impl Headcount {
    /// Reads every file that the configuration names, and then listens.
    ///
    /// # Errors
    ///
    /// With bad files nothing listens; the error says which and why.
    pub async fn bind(config: Config) -> Result<Self, StartError> {
        let files = Files::read(&config)?;
        let tls = files.tls()?;
        let cluster =
            kubernetes::connection(config.kubeconfig.as_deref(), config.context.as_deref()).await?;
        let client = kubernetes::client(&cluster)?;
        let metrics = Arc::new(Metrics::default());
        let store = Arc::new(Store::new(&config.managed.namespaces));
        let status = Arc::new(InformerStatus::new(store).counted_by(&metrics.kubernetes));
        let limiter = Arc::new(Limiter::default());
        let reviewing = reload::Cluster {
            reviews: AccessReviews::new(client.clone(), status.circuit()),
            metrics: Arc::clone(&metrics),
            limiter: Arc::clone(&limiter),
        };
        let generations = Arc::new(Generations::new(files.generation(1, tls, &reviewing)));
        let audit = Audit::start(&config.audit, &metrics.audit)?;
        let (listener, address) = listen(config.listen)?;
        // Connections have it from their listener.
        #[cfg(target_os = "linux")]
        if let Err(error) = socket2::SockRef::from(&listener).set_tcp_notsent_lowat(UNSENT) {
            warn!(name: "server.socket.unbounded", error = %error, "the kernel doesn't bound what it keeps of answers");
        }
        let (admin_listener, admin_address) = listen(config.admin_listen)?;
        info!(name: "server.listening", address = %address, admin_address = %admin_address, cluster = %cluster.url(),
            "listening at {address}");
        Ok(Self {
            config,
            files,
            generations,
            cluster,
            client,
            status,
            reviewing,
            metrics,
            limiter,
            audit,
            listener,
            admin_listener,
            address,
            admin_address,
        })
    }

    /// Where callers connect; with port 0 configured, the port taken.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the admin listener is.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Serves until `shutdown`, then finishes what is under way.
    ///
    /// # Errors
    ///
    /// When a part ended that never should.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        let Self {
            config,
            files,
            generations,
            cluster,
            client,
            status,
            reviewing,
            metrics,
            limiter,
            audit,
            listener,
            admin_listener,
            ..
        } = self;
        let store = Arc::clone(status.store());
        let step = watch::Sender::new(Step::Serving);
        let informer_stop = CancellationToken::new();
        let closing = CancellationToken::new();
        let (connections, writes, admin_connections) =
            (TaskTracker::new(), TaskTracker::new(), TaskTracker::new());

        let stop_informer = informer_stop.clone().drop_guard();
        let mut informer_ended = spawn_informer(
            cluster,
            &config,
            Arc::clone(&status),
            Arc::clone(&metrics),
            generations.labels(),
            informer_stop,
        )?;
        let leases = config.leases.rules().map(|rules| {
            let objects =
                LeaseObjects::new(client.clone(), Arc::clone(&status), rules, Clock::default());
            Arc::new(objects)
        });
        let deployments = Deployments::new(client, Arc::clone(&status), config.managed.clone())
            .limited_by(Arc::clone(&limiter))
            .with_leases(leases.clone());
        let deployments = if config.kubernetes_events {
            deployments.told_in_events(Arc::clone(&metrics.events))
        } else {
            deployments
        };
        let api = Api::new(
            Arc::clone(&status),
            deployments,
            Arc::clone(&metrics),
            writes.clone(),
        );
        let api = Arc::new(api.audited(audit.clone()).closed_by(closing.clone()));
        let stop_reverting = closing.child_token();
        let _reverting_ends = stop_reverting.clone().drop_guard();
        // Writes under way wait for the copy until the end.
        let follow = |leases: &Arc<LeaseObjects>| tokio::spawn(Arc::clone(leases).follow());
        let mut following = leases.as_ref().map(follow).map(AbortOnDropHandle::new);
        let mut reverter = leases.map(|leases| {
            let generations = Arc::clone(&generations);
            let reverter = Reverter::new(
                Arc::clone(api.deployments()),
                leases,
                move || generations.current().rules.writes,
                audit.clone(),
                Arc::clone(&metrics.leases),
            );
            tokio::spawn(reverter.run(stop_reverting))
        });
        let reloading = Arc::new(ReloadStatus::default());
        let reloader = Reloader::new(
            files,
            Arc::clone(&generations),
            Arc::clone(&status),
            Arc::clone(&reloading),
            reviewing,
        );
        let server = Server::new(
            Arc::clone(&generations),
            api,
            Arc::clone(&metrics),
            step.subscribe(),
            connections.clone(),
        )
        .audited(audit.clone());
        let mut server = tokio::spawn(Arc::new(server).run(listener));
        let admin = Arc::new(Admin {
            status,
            metrics: Arc::clone(&metrics),
            generations: Arc::clone(&generations),
            reloading,
            step: step.subscribe(),
            audit: audit.clone(),
        });
        let mut admin = tokio::spawn(admin.run(admin_listener, admin_connections));
        let (_looking, mut memory_ended) = look_at_memory(&metrics, &generations, &store)?;

        let mut reloader = tokio::spawn(reloader.run());
        tokio::select! {
            () = shutdown => {}
            _ = &mut reloader => return Err(RunError::Ended("reloader")),
            _ = &mut informer_ended => return Err(RunError::Ended("informer")),
            _ = &mut server => return Err(RunError::Ended("server")),
            _ = &mut admin => return Err(RunError::Ended("admin server")),
            _ = &mut memory_ended => return Err(RunError::Ended("look at the memory")),
            () = end_of(following.as_mut()) => return Err(RunError::Ended("follower of leases")),
            () = end_of(reverter.as_mut()) => return Err(RunError::Ended("reverter of leases")),
        }
        let seconds = config.drain_delay.as_secs_f64();
        info!(name: "server.draining", connections = connections.len(), writes = writes.len(), seconds,
            "shutting down: no longer ready, and serving for {seconds} s more");
        step.send_replace(Step::Leaving);
        sleep(config.drain_delay).await;
        info!(name: "server.closing", connections = connections.len(), writes = writes.len(),
            "nobody new is let in: finishing what is under way");
        step.send_replace(Step::Closing);
        closing.cancel();
        reloader.abort();
        let drained = timeout(DRAIN, async {
            // First those who were being let in, then what they began.
            let _ = server.await;
            connections.close();
            connections.wait().await;
            writes.close();
            writes.wait().await;
            if let Some(reverter) = reverter {
                let _ = reverter.await;
            }
        })
        .await;
        if drained.is_err() {
            warn!(name: "server.drain.cut", connections = connections.len(), writes = writes.len(),
                "the drain took longer than {} s and was cut", DRAIN.as_secs());
        }
        audit.end().await;
        // What it says after the last line would look like another server's.
        drop(stop_informer);
        let _ = timeout(INFORMER_STOP, informer_ended).await;
        info!(name: "server.stopped", "stopped");
        Ok(())
    }
}

/// Until a part ends that there may be; for ever if there is none.
async fn end_of(part: Option<impl Future>) {
    match part {
        Some(part) => drop(part.await),
        None => std::future::pending().await,
    }
}

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let listening = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // Whoever starts it again at once finds its own port.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let listener = socket.listen(UNACCEPTED)?;
        let taken = listener.local_addr()?;
        Ok((listener, taken))
    };
    listening().map_err(|error| StartError::Listen(address, error))
}

/// Looks at the process's memory on a thread of its own, which waits for no request; until the first of these is dropped.
fn look_at_memory(
    metrics: &Arc<Metrics>,
    generations: &Arc<Generations>,
    store: &Arc<Store>,
) -> Result<(Looking, oneshot::Receiver<()>), RunError> {
    let looking = Looking(Arc::clone(&metrics.memory));
    let (ended, on_end) = oneshot::channel::<()>();
    let (memory, generations, store) = (
        Arc::clone(&metrics.memory),
        Arc::clone(generations),
        Arc::clone(store),
    );
    let look = move || {
        let _ended = ended;
        let budget = || generations.current().limits.memory.budget;
        memory.watch(budget, || store.present().size());
    };
    let thread = thread::Builder::new().name("memory".into()).spawn(look);
    thread.map_err(RunError::Thread)?;
    Ok((looking, on_end))
}

/// Runs the informer on a thread of its own: it shares no worker with requests, and one thread costs it least CPU.
fn spawn_informer(
    cluster: ClusterConfig,
    config: &Config,
    status: Arc<InformerStatus>,
    metrics: Arc<Metrics>,
    labels: watch::Receiver<Arc<LabelKeys>>,
    stop: CancellationToken,
) -> Result<oneshot::Receiver<()>, RunError> {
    let (started, starting) = mpsc::sync_channel(1);
    // Dropped with the thread, whichever way it ends.
    let (ended, on_end) = oneshot::channel::<()>();
    let managed = config.managed.clone();
    let autoscalers = config.autoscalers;
    let follow = move || {
        let _ended = ended;
        let runtime = match tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
        {
            Ok(runtime) => runtime,
            Err(error) => return started.send(Err(error.to_string())).unwrap_or(()),
        };
        runtime.block_on(async move {
            match kubernetes::client(&cluster) {
                Ok(client) => {
                    let autoscaling = Autoscaling::new(client.clone(), Arc::clone(&status));
                    let informer = Informer::new(
                        client,
                        managed,
                        labels,
                        status,
                        Arc::clone(&metrics.informer),
                    );
                    started.send(Ok(())).unwrap_or(());
                    let following = tokio::spawn(informer.run());
                    let autoscaling = tokio::spawn(async move {
                        if autoscalers {
                            autoscaling.run().await;
                        } else {
                            std::future::pending().await
                        }
                    });
                    tokio::select! {
                        _ = following => {}
                        _ = autoscaling => {}
                        () = stop.cancelled() => {}
                    }
                }
                Err(error) => started.send(Err(error.to_string())).unwrap_or(()),
            }
        });
    };
    let failed = |why: String| RunError::Informer(why);
    thread::Builder::new()
        .name("informer".into())
        .spawn(follow)
        .map_err(|e| failed(e.to_string()))?;
    starting
        .recv()
        .map_err(|e| failed(e.to_string()))?
        .map_err(failed)?;
    Ok(on_end)
}
