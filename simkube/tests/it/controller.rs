//! The controller: status follows spec.

use std::time::Duration;

use simkube::{Cluster, NewDeployment, Options};
use tokio::time::sleep;

fn cluster() -> Cluster {
    Cluster::new(Options::default().rollout(Duration::from_secs(9)))
}

fn ready(cluster: &Cluster) -> (i64, i32) {
    let cart = cluster.deployment("shop", "cart").unwrap();
    (cart.observed_generation, cart.ready_replicas)
}

#[tokio::test(start_paused = true)]
async fn a_rollout_goes_in_steps() {
    let cluster = cluster();
    cluster.create(NewDeployment::new("shop", "cart").replicas(10).ready(false));
    assert_eq!(ready(&cluster), (0, 0));
    for expected in [(1, 0), (1, 5), (1, 10)] {
        sleep(Duration::from_millis(3010)).await;
        assert_eq!(ready(&cluster), expected);
    }
    let version = cluster.resource_version();
    sleep(Duration::from_secs(100)).await;
    assert_eq!(cluster.resource_version(), version);
    cluster.scale("shop", "cart", 4);
    assert_eq!(ready(&cluster), (1, 10));
    sleep(Duration::from_secs(10)).await;
    assert_eq!(ready(&cluster), (2, 4));
}

#[tokio::test(start_paused = true)]
async fn a_newer_generation_overtakes() {
    let cluster = cluster();
    cluster.create(NewDeployment::new("shop", "cart").replicas(10).ready(false));
    sleep(Duration::from_secs(4)).await;
    cluster.scale("shop", "cart", 2);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(ready(&cluster), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn it_can_be_switched_off_and_catches_up_when_it_is_on_again() {
    let cluster = cluster();
    cluster.create(NewDeployment::new("shop", "cart").replicas(10).ready(false));
    cluster.set_rollout(None);
    sleep(Duration::from_secs(100)).await;
    assert_eq!(ready(&cluster), (0, 0));
    cluster.set_rollout(Some(Duration::ZERO));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(ready(&cluster), (1, 10));
}
