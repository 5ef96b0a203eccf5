//! Watches and lists with `status=true`: how many Pods are ready, told to those who ask and to nobody else.

use std::time::Duration;

use serde_json::json;

use super::{WATCH, served};
use crate::support::Events;

const STATUS: &str = "/deployments?watch&status=true";

#[tokio::test]
async fn a_watch_with_status_tells_of_ready_pods_and_another_one_does_not() {
    let (sim, server) = served().await;
    sim.cluster.set_rollout(None);
    for alpn in ["http/1.1", "h2"] {
        let client = server.client.alpn(&[alpn]);
        let mut status = Events::open(&client, STATUS, &[]).await;
        let mut counts = Events::open(&client, WATCH, &[]).await;
        let list = status.next().await.unwrap().data;
        let shop =
            json!({"namespace": "web", "name": "shop", "replicaCount": 3, "readyReplicas": 3});
        assert_eq!(list[1], shop);
        assert_eq!(counts.told().await, "snapshot of 2");
        let version = sim.cluster.set_ready("web", "shop", 1).unwrap().to_string();
        let changed = status.next().await.unwrap();
        assert_eq!(
            changed.data,
            json!({"namespace": "web", "name": "shop", "replicaCount": 3, "readyReplicas": 1, "resourceVersion": version})
        );
        assert!(
            changed.id.starts_with(&format!("{version}-")),
            "{changed:?}"
        );
        // What else is in a status is told to nobody.
        sim.touch("web", "shop");
        sim.cluster.scale("web", "shop", 4);
        assert_eq!(counts.told().await, "changed web/shop=4");
        assert_eq!(status.told().await, "changed web/shop=4");
        sim.cluster.scale("web", "shop", 3);
        sim.cluster.set_ready("web", "shop", 3);
        for watch in [&mut status, &mut counts] {
            assert_eq!(watch.told().await, "changed web/shop=3");
        }
        assert_eq!(status.next().await.unwrap().data["readyReplicas"], 3);
    }
}

#[tokio::test]
async fn ids_of_watches_with_status_and_without_are_not_taken_for_each_other() {
    let (sim, server) = served().await;
    sim.cluster.set_rollout(None);
    let mut status = Events::open(&server.client, STATUS, &[]).await;
    let mut counts = Events::open(&server.client, WATCH, &[]).await;
    status.told().await;
    counts.told().await;
    sim.cluster.scale("web", "shop", 5);
    status.told().await;
    counts.told().await;
    let (of_status, of_counts) = (status.last_id.clone(), counts.last_id.clone());
    drop((status, counts));
    sim.cluster.set_ready("web", "shop", 4);
    for (path, id, told) in [
        (STATUS, &of_counts, "snapshot of 2"),
        (WATCH, &of_status, "snapshot of 2"),
        (STATUS, &of_status, "changed web/shop=5"),
    ] {
        let mut again = Events::open(&server.client, path, &[("last-event-id", id)]).await;
        assert_eq!(again.told().await, told, "{path} after {id}");
    }
    // Whoever isn't told of the status missed nothing.
    let mut again = Events::open(&server.client, WATCH, &[("last-event-id", &of_counts)]).await;
    sim.cluster.scale("db", "main", 2);
    assert_eq!(again.told().await, "changed db/main=2");
}

#[tokio::test]
async fn a_relist_tells_of_ready_pods_that_changed_meanwhile() {
    let (sim, server) = served().await;
    sim.cluster.set_rollout(None);
    let mut status = Events::open(&server.client, STATUS, &[]).await;
    let mut counts = Events::open(&server.client, WATCH, &[]).await;
    status.told().await;
    counts.told().await;
    let faults = sim.cluster.faults();
    let refused = faults.add(simkube::Rule::new(
        simkube::On::Watch,
        simkube::Fault::status(500),
    ));
    let ended = faults.add(simkube::Rule::new(
        simkube::On::OpenWatches,
        simkube::Fault::End,
    ));
    crate::support::eventually(Duration::from_secs(5), "no watch", async || {
        faults.fired(refused) > 0
    })
    .await;
    faults.remove(ended);
    sim.cluster.set_ready("web", "shop", 0);
    sim.cluster.compact();
    faults.clear();
    assert_eq!(status.next().await.unwrap().data["readyReplicas"], 0);
    sim.cluster.scale("web", "shop", 9);
    assert_eq!(counts.told().await, "changed web/shop=9");
}

#[tokio::test]
async fn a_status_that_is_neither_true_nor_false_is_refused() {
    let (_sim, server) = served().await;
    for path in [
        "/deployments?watch&status=yes",
        "/deployments?watch&status",
        "/deployments?status=1",
        "/deployments?STATUS=true",
        "/namespaces/web/deployments?status=",
    ] {
        let refused = server.client.get(path).await;
        assert_eq!(refused.status, 400, "{path}: {}", refused.text());
        assert!(refused.text().contains("status"), "{}", refused.text());
    }
    let plain = server.client.get("/deployments").await;
    let asked = server.client.get("/deployments?status=false").await;
    assert_eq!(plain.text(), asked.text());
}
