//! The informer on a simulated cluster in this process: what reaches the store, what goes wrong, and how it heals.
//!
//! Time is paused: it jumps to the next timer whenever every task waits.

mod backoff;
mod bodies;
mod events;
mod labels;
mod oversized;
mod relist;
mod restore;
mod scopes;
mod silence;
mod storm;

use std::time::Duration;

use simkube::{Cluster, NewDeployment, Options};

use crate::support::InProcess;

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn empty() -> Cluster {
    Cluster::new(Options::default())
}

/// A cluster with `web/shop` at 3 and `web/cart` at 1.
fn small() -> Cluster {
    let cluster = empty();
    create(&cluster, "web", "shop", 3);
    create(&cluster, "web", "cart", 1);
    cluster
}

/// A cluster whose list takes three pages.
fn paged() -> Cluster {
    let cluster = Cluster::new(Options::default().managed_fields(0));
    for i in 0..4500 {
        create(
            &cluster,
            &format!("team-{}", i % 7),
            &format!("app-{i:04}"),
            i % 5,
        );
    }
    cluster
}

fn create(cluster: &Cluster, namespace: &str, name: &str, replicas: i32) {
    cluster
        .create(NewDeployment::new(namespace, name).replicas(replicas))
        .unwrap();
}

/// `web/shop` is set to `count` and the informer follows within `within`.
async fn follows(informer: &InProcess, count: i32, within: Duration) -> Duration {
    informer.cluster.scale("web", "shop", count).unwrap();
    informer.converges(within).await
}
