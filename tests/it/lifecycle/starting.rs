//! What a start costs the cluster: whoever restarts a server again and again doesn't hammer the API server.

use std::time::Duration;

use simkube::{Fault, On, Rule};

use crate::support::{SimCluster, eventually, program::Serving};

#[tokio::test]
async fn a_start_asks_the_cluster_for_a_list_and_a_watch_each_of_deployments_and_autoscalers_and_a_probe()
 {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    for _ in 0..5 {
        cluster.forget_requests();
        let serving = Serving::healthy(cluster.kubeconfig(), &[]).await;
        let watches = async || cluster.cluster.counts().open_watches == 1;
        eventually(Duration::from_secs(10), "it watches", watches).await;
        assert_eq!(serving.terminated().await.code, Some(0));
        let asked: Vec<_> = cluster
            .cluster
            .requests()
            .into_iter()
            .map(|r| r.path + "?" + &r.query)
            .collect();
        assert!(asked.len() <= 5, "{asked:#?}");
    }
}

#[tokio::test]
async fn a_server_that_is_killed_and_started_again_and_again_asks_no_more_than_that() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    cluster.forget_requests();
    for _ in 0..5 {
        let serving = Serving::healthy(cluster.kubeconfig(), &[]).await;
        serving.program.signal("KILL");
        assert_eq!(serving.program.ended().await.code, None);
    }
    let asked = cluster.requests();
    assert!(asked <= 25, "{asked} requests for five starts");
}

#[tokio::test]
async fn a_cluster_that_fails_is_not_asked_at_once_again_and_not_by_all_at_the_same_time() {
    let cluster = SimCluster::start().await;
    cluster
        .cluster
        .faults()
        .add(Rule::new(On::List, Fault::status(500)));
    let serving = Serving::start(cluster.kubeconfig(), &[]).await;
    serving.program.line("informer.connection.lost", 4).await;
    let waits: Vec<_> = serving
        .program
        .lines("informer.connection.lost")
        .iter()
        .map(|line| line.seconds("retry_in"))
        .collect();
    // Doubling from 0.2 s, each between its half and its whole.
    for (wait, most) in waits.iter().zip([0.2, 0.4, 0.8, 1.6]) {
        assert!((most / 2.0 - 0.001..=most).contains(wait), "{waits:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_killed_in_the_middle_of_a_write_leaves_nothing_behind() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 3);
    let slow = Rule::new(On::Scale, Fault::Delay(Duration::from_millis(500)));
    let slow = cluster.cluster.faults().add(slow);
    let serving = Serving::healthy(cluster.kubeconfig(), &[]).await;
    let client = serving.client.clone();
    let write = tokio::spawn(async move {
        let body = "{\"replicaCount\":5}";
        let headers = [("content-type", "application/json")];
        let path = "/namespaces/web/deployments/shop/replicas";
        client
            .try_send(client.request(http::Method::PUT, path, &headers, body))
            .await
    });
    let sent = async || cluster.cluster.counts().scales == 1;
    eventually(Duration::from_secs(10), "the write is sent", sent).await;
    serving.program.signal("KILL");
    assert!(write.await.unwrap().is_err(), "no answer, and no false one");
    // The same files serve again, and what the cluster has is what is told.
    let again = Serving::with(&serving.files, cluster.kubeconfig(), &[]).await;
    again.becomes_ready().await;
    cluster.cluster.faults().remove(slow);
    let told = async || {
        let count = again.client.count("web", "shop").await.ok();
        count == cluster.count("web", "shop").map(i64::from)
    };
    eventually(Duration::from_secs(10), "the cluster's count", told).await;
    assert_eq!(again.client.scale("web", "shop", 7, &[]).await.status, 200);
    assert_eq!(cluster.count("web", "shop"), Some(7));
}
