//! Writes: their answers, their preconditions, what the cluster may say to them, and what is known when it says nothing.
//!
//! Most run in this process with paused time; those about connections run the whole server on a port.

mod away;
mod cluster_says;
mod conflicts;
mod connections;
mod preconditions;
mod storm;
mod unanswered;
mod versions;
mod visible;

use simkube::{Cluster, NewDeployment, Options, SeenRequest};

use crate::support::{Answer, InProcess};

const UPDATED: &str = r#"{"message":"Replica count updated successfully."}"#;

/// A cluster with `web/shop` at 3, and a server that has seen it.
async fn shop() -> InProcess {
    let cluster = Cluster::new(Options::default());
    cluster
        .create(NewDeployment::new("web", "shop").replicas(3))
        .unwrap();
    let server = InProcess::synced(&cluster).await;
    // A moment, so that the watch is open.
    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    server
}

/// What the cluster has.
fn in_cluster(server: &InProcess, name: &str) -> Option<i32> {
    server
        .cluster
        .deployment("web", name)
        .map(|d| d.replicas.unwrap_or(1))
}

/// The writes that have reached the cluster.
fn writes(server: &InProcess) -> Vec<SeenRequest> {
    server
        .cluster
        .requests()
        .into_iter()
        .filter(|r| r.method != "GET")
        .collect()
}

/// Status and body, for assertions that show both.
fn told(answer: &Answer) -> (u16, &str) {
    (answer.status.as_u16(), answer.text())
}
