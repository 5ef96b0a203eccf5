//! A real Kubernetes control plane on loopback, without containers: etcd, kube-apiserver and, where Pods are to become ready,
//! kube-controller-manager, kube-scheduler and kwok in the place of the kubelets; and cert-manager's controllers where they are
//! asked for. For tests, benchmarks and people.
//!
//! Everything lives in one folder and ends with the [`ControlPlane`], or with the process that holds it, however that ends.
//! Everything that waits has a deadline. Nothing listens beyond loopback.
//!
//! ```no_run
//! # async fn example() -> Result<(), controlplane::Error> {
//! let cluster = controlplane::ControlPlane::start(controlplane::Options::with_nodes(2)).await?;
//! cluster.kubectl(&["create", "deployment", "web", "--image=web", "--replicas=20"]).await?;
//! # Ok(())
//! # }
//! ```

mod apiserver;
mod binaries;
mod cert_manager;
mod certificates;
mod control_plane;
mod error;
mod etcd;
mod folder;
mod port;
mod process;
mod request;
mod seed;
mod workloads;

pub use apiserver::ApiServer;
pub use binaries::binaries;
pub use control_plane::{ControlPlane, Options};
pub use error::Error;
pub use seed::{Seed, SeedReplicas, seed};
