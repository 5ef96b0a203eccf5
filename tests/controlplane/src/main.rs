//! A real Kubernetes control plane for a person: starts it, says how to reach it, ends it on Ctrl-C.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use controlplane::{ControlPlane, Error, Options, Seed, SeedReplicas};
use tokio::signal::unix::{SignalKind, signal};

/// Starts a real Kubernetes control plane on loopback and ends it on Ctrl-C.
#[derive(Debug, Parser)]
struct Arguments {
    /// Run controllers, scheduler and simulated kubelets too, so that Deployments get ready Pods
    #[arg(long)]
    workloads: bool,

    /// Number of simulated Nodes; implies --workloads [default: 2 with --workloads]
    #[arg(long, value_name = "N")]
    nodes: Option<u32>,

    /// Run cert-manager's controllers too
    #[arg(long)]
    cert_manager: bool,

    /// Create N Deployments, with 0 to 9 replicas (with --workloads: 0)
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u32,

    /// Namespaces over which --seed spreads
    #[arg(long, value_name = "N", default_value_t = 50)]
    namespaces: u32,

    /// Keep data, certificates and logs in this folder instead of a temporary one
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,

    /// A further flag of kube-apiserver; repeatable
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    apiserver_flag: Vec<String>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "controlplane: {}", error.chain());
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Error> {
    let failed = |source| Error::Io {
        action: "listen for signals".to_owned(),
        source,
    };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
    let ended = async {
        tokio::select! {
            _ = interrupt.recv() => (),
            _ = terminate.recv() => (),
            _ = hangup.recv() => (),
        }
    };
    tokio::select! {
        // Dropping the other branch ends what it has started.
        () = ended => Ok(()),
        outcome = serve(arguments) => outcome,
    }
}

/// Starts the cluster, says so, and keeps it.
async fn serve(arguments: Arguments) -> Result<(), Error> {
    let Arguments {
        workloads,
        nodes,
        cert_manager,
        seed,
        namespaces,
        folder,
        apiserver_flag,
    } = arguments;
    let workloads = workloads || nodes.is_some();
    let cluster = ControlPlane::start(Options {
        workloads,
        nodes: nodes.unwrap_or(if workloads { 2 } else { 0 }),
        unmanaged_pods: None,
        cert_manager,
        apiserver_flags: apiserver_flag,
        folder,
    })
    .await?;
    if seed > 0 {
        let seed = Seed {
            deployments: seed,
            namespaces,
            replicas: if workloads {
                SeedReplicas::Zero
            } else {
                SeedReplicas::Spread
            },
        };
        let took = cluster.seed(&seed).await?;
        let _ = writeln!(
            std::io::stderr(),
            "created {} Deployments in {:.1} s",
            seed.deployments,
            took.as_secs_f64()
        );
    }
    let _ = writeln!(
        std::io::stdout(),
        "# A real control plane at {}, process {}; logs in {}; Ctrl-C ends it.\nexport KUBECONFIG={}",
        cluster.apiserver_url(),
        cluster.apiserver_pid().unwrap_or_default(),
        cluster.folder().join("logs").display(),
        cluster.kubeconfig().display(),
    );
    std::future::pending().await
}
