//! Events on Deployments: they hold nothing up, and their failure fails nothing.

use std::time::Duration;

use simkube::{Fault, On, Rule};

use crate::support::{Setup, SimCluster, eventually, program::Serving};

#[tokio::test]
async fn a_cluster_that_takes_no_events_costs_no_write_anything_and_the_log_says_so() {
    for fault in [
        Fault::Forbidden {
            user: "headcount".into(),
        },
        Fault::status(500),
        Fault::Hang,
        Fault::Garbage,
    ] {
        let cluster = SimCluster::start().await;
        cluster.create("web", "shop", 1);
        let serving = Serving::healthy(cluster.kubeconfig(), &["--kubernetes-events"]).await;
        cluster
            .cluster
            .faults()
            .add(Rule::new(On::EventWrite, fault.clone()));
        for count in [2, 3, 4] {
            let start = std::time::Instant::now();
            assert_eq!(
                serving.client.scale("web", "shop", count, &[]).await.status,
                200
            );
            assert!(start.elapsed() < Duration::from_secs(2), "{fault:?}");
        }
        if fault != Fault::Garbage {
            let line = serving.program.line("kubernetes.event.failed", 1).await;
            assert!(line.message.contains("create and patch events"));
        }
        // Nor does it open the circuit.
        assert_eq!(
            serving.client.scale("web", "shop", 5, &[]).await.status,
            200
        );
        assert_eq!(serving.terminated().await.code, Some(0));
    }
}

#[tokio::test]
async fn a_busy_deployment_has_few_events_and_one_tells_how_many_are_missing() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 0);
    let server = Setup {
        kubernetes_events: true,
        ..Setup::new(cluster.kubeconfig())
    }
    .healthy()
    .await;
    for count in 1..40 {
        assert_eq!(
            server.client.scale("web", "shop", count, &[]).await.status,
            200
        );
    }
    eventually(Duration::from_secs(10), "ten events", async || {
        cluster.cluster.events().len() == 10
    })
    .await;
    let metrics = crate::support::program::admin(server.admin_address, "GET", "/metrics")
        .await
        .1;
    assert!(
        metrics.contains("headcount_kubernetes_events_total{result=\"created\"} 10"),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_dry_run_a_refusal_and_a_write_without_a_change_have_no_event() {
    let cluster = SimCluster::start().await;
    cluster.create("web", "shop", 1);
    let server = Setup {
        kubernetes_events: true,
        ..Setup::new(cluster.kubeconfig())
    }
    .healthy()
    .await;
    let path = "/namespaces/web/deployments/shop/replicas?dryRun=true";
    let json = [("content-type", "application/json")];
    let dry = server
        .client
        .send(http::Method::PUT, path, &json, r#"{"replicaCount":9}"#);
    assert_eq!(dry.await.status, 200);
    assert_eq!(
        server.client.scale("web", "shop", -1, &[]).await.status,
        400
    );
    assert_eq!(server.client.scale("web", "shop", 1, &[]).await.status, 200);
    // They are sent in order: behind this one none comes that belongs before it.
    assert_eq!(server.client.scale("web", "shop", 2, &[]).await.status, 200);
    eventually(Duration::from_secs(10), "an event", async || {
        !cluster.cluster.events().is_empty()
    })
    .await;
    let events = cluster.cluster.events();
    assert_eq!(events.len(), 1, "{events:#?}");
    assert_eq!(events[0]["message"], "alice 1 → 2");
}
