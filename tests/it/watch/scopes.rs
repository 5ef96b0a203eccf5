//! Watches of a server that manages several namespaces, each followed for itself.

use simkube::{Fault, On, Rule};

use super::WATCH;
use crate::support::{Events, Setup, SimCluster, TestServer};

async fn managing(sim: &SimCluster, namespaces: &[&str]) -> TestServer {
    let mut setup = Setup::new(sim.kubeconfig());
    setup.managed.namespaces = namespaces.iter().map(|&n| n.into()).collect();
    setup.healthy().await
}

async fn cluster() -> SimCluster {
    let sim = SimCluster::start().await;
    sim.create("web", "shop", 3);
    sim.create("db", "main", 1);
    sim.create("other", "unseen", 1);
    sim
}

#[tokio::test]
async fn an_id_has_a_version_of_each_namespace_and_works_at_another_server() {
    let sim = cluster().await;
    let server = managing(&sim, &["web", "db"]).await;
    let other = managing(&sim, &["web", "db"]).await;
    let mut watch = Events::open(&server.client, WATCH, &[]).await;
    assert_eq!(watch.told().await, "snapshot of 2");
    sim.cluster.scale("other", "unseen", 9);
    sim.cluster.scale("db", "main", 2);
    assert_eq!(watch.told().await, "changed db/main=2");
    let id = watch.last_id.clone();
    assert_eq!(id.split('.').count(), 2, "{id}");
    drop(watch);
    sim.cluster.scale("web", "shop", 4);
    for server in [&server, &other] {
        let mut again = Events::open(&server.client, WATCH, &[("last-event-id", &*id)]).await;
        assert_eq!(again.told().await, "changed web/shop=4");
    }
    // One of a server that manages others says nothing here.
    let fewer = managing(&sim, &["web"]).await;
    let mut again = Events::open(&fewer.client, WATCH, &[("last-event-id", &*id)]).await;
    assert_eq!(again.told().await, "snapshot of 1");
}

#[tokio::test]
async fn a_relist_tells_what_changed_meanwhile_in_each_namespace() {
    let sim = cluster().await;
    let server = managing(&sim, &["web", "db"]).await;
    let mut watch = Events::open(&server.client, WATCH, &[]).await;
    assert_eq!(watch.told().await, "snapshot of 2");
    let faults = sim.cluster.faults();
    let refused = faults.add(Rule::new(On::Watch, Fault::status(500)));
    let ended = faults.add(Rule::new(On::OpenWatches, Fault::End));
    let within = std::time::Duration::from_secs(5);
    crate::support::eventually(within, "no watch", async || faults.fired(refused) > 1).await;
    faults.remove(ended);
    sim.cluster.delete("db", "main");
    sim.cluster.scale("web", "shop", 8);
    sim.cluster.compact();
    faults.clear();
    let mut told = [watch.told().await, watch.told().await];
    told.sort();
    assert_eq!(told, ["changed web/shop=8", "deleted db/main=1"]);
}

#[tokio::test]
async fn a_server_that_manages_others_begins_with_a_snapshot_whatever_the_versions() {
    let sim = cluster().await;
    let one = managing(&sim, &["web"]).await;
    let mut watch = Events::open(&one.client, WATCH, &[]).await;
    assert_eq!(watch.told().await, "snapshot of 1");
    for namespaces in [&["db"][..], &[]] {
        let other = managing(&sim, namespaces).await;
        let version = sim
            .cluster
            .scale("web", "shop", 5 + namespaces.len() as i32);
        let changed = watch.next().await.unwrap();
        assert!(changed.id.starts_with(&version.unwrap().to_string()));
        let mut again =
            Events::open(&other.client, WATCH, &[("last-event-id", &*changed.id)]).await;
        assert!(again.told().await.starts_with("snapshot"));
    }
}
