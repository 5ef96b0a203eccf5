//! What a watch makes of a cluster that forgets, is restored or bursts, and of a server that leaves.

use std::time::Duration;

use simkube::{Fault, On, Rule};
use tokio::time::Instant;

use super::{WATCH, served};
use crate::support::{Events, Setup, SimCluster, eventually};

#[tokio::test]
async fn what_a_relist_finds_is_told_deletions_too() {
    let (sim, server) = served().await;
    let mut watch = Events::open(&server.client, WATCH, &[]).await;
    assert_eq!(watch.told().await, "snapshot of 2");
    let refused = sim
        .cluster
        .faults()
        .add(Rule::new(On::Watch, Fault::status(500)));
    let ended = sim
        .cluster
        .faults()
        .add(Rule::new(On::OpenWatches, Fault::End));
    eventually(Duration::from_secs(5), "no watch", async || {
        sim.cluster.faults().fired(refused) > 0
    })
    .await;
    sim.cluster.faults().remove(ended);
    sim.cluster.scale("web", "shop", 8);
    sim.cluster.delete("db", "main");
    sim.create("a", "first", 1);
    sim.cluster.compact();
    sim.cluster.faults().clear();
    let mut told = [watch.told().await, watch.told().await, watch.told().await];
    told.sort();
    assert_eq!(
        told,
        ["added a/first=1", "changed web/shop=8", "deleted db/main=1"]
    );
}

#[tokio::test]
async fn a_restored_cluster_is_followed_and_older_ids_begin_with_a_snapshot() {
    let (sim, server) = served().await;
    let before = sim.cluster.snapshot();
    let mut watch = Events::open(&server.client, WATCH, &[]).await;
    watch.told().await;
    sim.cluster.scale("web", "shop", 8);
    assert_eq!(watch.told().await, "changed web/shop=8");
    let id = watch.last_id.clone();
    sim.cluster.restore(&before);
    let back = async || server.client.count("web", "shop").await == Ok(3);
    eventually(Duration::from_secs(15), "the older state", back).await;
    while watch.list[&("web".into(), "shop".into())] != 3 {
        watch.told().await;
    }
    let mut again = Events::open(&server.client, WATCH, &[("last-event-id", &*id)]).await;
    assert_eq!(again.told().await, "snapshot of 2");
}

#[tokio::test]
async fn a_burst_ends_in_the_list_for_those_who_read_slowly_too() {
    let (sim, server) = served().await;
    let mut watch = Events::open(&server.client, WATCH, &[]).await;
    let mut slow = Events::open(&server.client.reading_slowly(), WATCH, &[]).await;
    // More than the ring and the buffers of a connection hold.
    for count in 0..30_000 {
        sim.cluster.scale("web", "shop", count);
        if count % 500 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    for watch in [&mut watch, &mut slow] {
        let mut events = 0;
        while watch.list.get(&("web".into(), "shop".into())) != Some(&29_999) {
            watch.next().await.unwrap();
            events += 1;
        }
        assert!(events > 1);
    }
}

#[tokio::test]
async fn a_drain_ends_watches_at_once() {
    let (_sim, server) = served().await;
    let mut watches = Vec::new();
    for alpn in ["http/1.1", "h2"] {
        let mut watch = Events::open(&server.client.alpn(&[alpn]), WATCH, &[]).await;
        watch.told().await;
        watches.push(watch);
    }
    let began = Instant::now();
    server.shut_down().await;
    for mut watch in watches {
        assert_eq!(watch.told().await, "end");
    }
    assert!(began.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_watch_of_a_namespace_that_is_not_managed_is_404_as_its_list_is() {
    let sim = SimCluster::start().await;
    sim.create("web", "shop", 3);
    let mut setup = Setup::new(sim.kubeconfig());
    setup.managed.namespaces = vec!["web".into()];
    let server = setup.healthy().await;
    for query in ["", "?watch"] {
        let path = format!("/namespaces/db/deployments{query}");
        let answer = server.client.get(&path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.error().contains("isn't managed"), "{path}");
    }
    let path = "/namespaces/web/deployments?watch";
    let mut watch = Events::open(&server.client, path, &[]).await;
    assert_eq!(watch.told().await, "snapshot of 1");
}
