//! Others who change the same Deployment: conflicts, deletions, labels that bound what is managed.

use std::time::Duration;

use headcount::kubernetes::Managed;
use simkube::{Cluster, Fault, NewDeployment, On, Options, Rule};
use tokio::time::{Instant, sleep};

use super::{UPDATED, in_cluster, shop, told, writes};
use crate::support::InProcess;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Touches `web/shop` every so often until it is aborted.
fn touching(cluster: &Cluster, every: Duration) -> tokio::task::JoinHandle<()> {
    let cluster = cluster.clone();
    tokio::spawn(async move {
        while cluster.touch_status("web", "shop").is_some() {
            sleep(every).await;
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_is_touched_all_the_time_can_still_be_set() {
    let server = shop().await;
    let touching = touching(&server.cluster, ms(50));
    server
        .cluster
        .faults()
        .add(Rule::new(On::Scale, Fault::Delay(ms(30))));
    server
        .cluster
        .faults()
        .add(Rule::new(On::Event, Fault::Delay(ms(5))));
    for count in 10..60 {
        assert_eq!(
            told(&server.put("web", "shop", count, &[]).await),
            (200, UPDATED)
        );
        assert_eq!(server.count("web", "shop"), Some(count));
    }
    touching.abort();
    let sent = writes(&server).len();
    assert!(sent > 60, "{sent} attempts: too few of them met a conflict");
}

#[tokio::test(start_paused = true)]
async fn a_retry_loses_no_update_of_somebody_else() {
    let server = shop().await;
    server
        .cluster
        .faults()
        .add(Rule::new(On::Scale, Fault::Delay(ms(50))).times(1));
    let writer =
        tokio::spawn(server.putting("web", "shop", 9, &[("prefer", "return=representation")]));
    sleep(ms(20)).await;
    server.cluster.scale("web", "shop", 7).unwrap();
    let answer = writer.await.unwrap();
    assert_eq!(
        answer.json()["previousReplicaCount"],
        7,
        "judged again on what the other one had written"
    );
    assert_eq!(answer.json()["replicaCount"], 9);
    assert_eq!(writes(&server).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn conflicts_that_outlast_the_retries_are_409() {
    // Touched faster than a write takes; and a conflict that no newer version explains.
    for endless in [false, true] {
        let server = shop().await;
        let start = Instant::now();
        let touching = touching(
            &server.cluster,
            if endless {
                Duration::from_secs(60)
            } else {
                ms(20)
            },
        );
        let fault = if endless {
            Fault::Conflict
        } else {
            Fault::Delay(ms(50))
        };
        server.cluster.faults().add(Rule::new(On::Scale, fault));
        sleep(ms(10)).await;
        let answer = server.put("web", "shop", 9, &[]).await;
        assert_eq!(answer.status, 409, "{}", answer.text());
        assert!(
            answer.error().contains("others kept changing"),
            "{}",
            answer.error()
        );
        assert!(
            start.elapsed() < Duration::from_millis(5200),
            "{:?}",
            start.elapsed()
        );
        touching.abort();
        assert_eq!(in_cluster(&server, "shop"), Some(3));
        let sent = writes(&server).len();
        assert!(sent <= 110, "{sent} attempts");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_is_being_deleted_is_409_and_nothing_is_sent() {
    let server = shop().await;
    server
        .cluster
        .create(NewDeployment::new("web", "old").finalizer("example.com/wait"))
        .unwrap();
    server.cluster.delete("web", "old").unwrap();
    server.converges(Duration::from_secs(1)).await;
    let answer = server.put("web", "old", 5, &[]).await;
    assert_eq!(answer.status, 409);
    assert!(
        answer.error().contains("being deleted"),
        "{}",
        answer.error()
    );
    assert!(writes(&server).is_empty());
    assert_eq!(server.get("web", "old", &[]).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_deletion_between_judgement_and_write_is_409() {
    let server = shop().await;
    server
        .cluster
        .create(NewDeployment::new("web", "old").finalizer("example.com/wait"))
        .unwrap();
    server.converges(Duration::from_secs(1)).await;
    server
        .cluster
        .faults()
        .add(Rule::new(On::Scale, Fault::Delay(ms(50))).times(1));
    let writer = tokio::spawn(server.putting("web", "old", 9, &[]));
    sleep(ms(20)).await;
    server.cluster.delete("web", "old").unwrap();
    let answer = writer.await.unwrap();
    assert_eq!(answer.status, 409);
    assert!(
        answer.error().contains("being deleted"),
        "{}",
        answer.error()
    );
    assert_eq!(in_cluster(&server, "old"), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_is_gone_though_the_store_still_has_it_is_404() {
    let server = shop().await;
    server
        .cluster
        .faults()
        .add(Rule::new(On::Event, Fault::Delay(Duration::from_secs(2))));
    server.cluster.delete("web", "shop").unwrap();
    assert_eq!(server.count("web", "shop"), Some(3));
    let answer = server.put("web", "shop", 9, &[]).await;
    assert_eq!(answer.status, 404, "{}", answer.text());
    assert_eq!(in_cluster(&server, "shop"), None);
}

#[tokio::test(start_paused = true)]
async fn a_write_never_hits_a_successor_of_what_it_was_judged_on() {
    let server = shop().await;
    let tag = server
        .get("web", "shop", &[])
        .await
        .header("etag")
        .to_owned();
    server
        .cluster
        .faults()
        .add(Rule::new(On::Event, Fault::Delay(ms(200))));
    server.cluster.delete("web", "shop").unwrap();
    server
        .cluster
        .create(NewDeployment::new("web", "shop").replicas(3))
        .unwrap();
    let answer = server.put("web", "shop", 9, &[("if-match", &tag)]).await;
    assert!(
        matches!(answer.status.as_u16(), 404 | 412),
        "{}",
        answer.text()
    );
    assert_eq!(in_cluster(&server, "shop"), Some(3));
}

async fn selecting() -> InProcess {
    let cluster = Cluster::new(Options::default());
    cluster
        .create(
            NewDeployment::new("web", "shop")
                .replicas(3)
                .label("team", "web"),
        )
        .unwrap();
    cluster
        .create(
            NewDeployment::new("web", "cart")
                .replicas(3)
                .label("team", "db"),
        )
        .unwrap();
    let managed = Managed {
        namespaces: Vec::new(),
        label_selector: Some("team=web".into()),
    };
    let server = InProcess::managing(&cluster, managed);
    server.becomes_synced().await;
    sleep(ms(10)).await;
    server
}

#[tokio::test(start_paused = true)]
async fn what_the_selector_does_not_match_is_404_and_nothing_is_sent() {
    let server = selecting().await;
    assert_eq!(server.put("web", "cart", 9, &[]).await.status, 404);
    assert_eq!(server.get("web", "cart", &[]).await.status, 404);
    assert!(writes(&server).is_empty());
    assert_eq!(server.put("web", "shop", 9, &[]).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_label_removed_between_judgement_and_write_bounds_the_write() {
    let server = selecting().await;
    server
        .cluster
        .faults()
        .add(Rule::new(On::Scale, Fault::Delay(ms(50))).times(1));
    let writer = tokio::spawn(server.putting("web", "shop", 9, &[]));
    sleep(ms(20)).await;
    server
        .cluster
        .set_labels("web", "shop", &[("team", "db")])
        .unwrap();
    let answer = writer.await.unwrap();
    assert_eq!(answer.status, 404, "{}", answer.text());
    assert_eq!(in_cluster(&server, "shop"), Some(3));
}

#[tokio::test(start_paused = true)]
async fn a_label_whose_removal_was_not_seen_yet_bounds_the_write_too() {
    let server = selecting().await;
    server
        .cluster
        .faults()
        .add(Rule::new(On::Event, Fault::Delay(Duration::from_secs(1))));
    server.cluster.set_labels("web", "shop", &[]).unwrap();
    assert_eq!(server.put("web", "shop", 9, &[]).await.status, 404);
    assert_eq!(in_cluster(&server, "shop"), Some(3));
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_not_managed_is_404_and_nothing_is_sent() {
    let cluster = Cluster::new(Options::default());
    cluster.create(NewDeployment::new("web", "shop")).unwrap();
    cluster.create(NewDeployment::new("ops", "shop")).unwrap();
    let managed = Managed {
        namespaces: vec!["web".into()],
        label_selector: None,
    };
    let server = InProcess::managing(&cluster, managed);
    server.becomes_synced().await;
    let outside = server.put("ops", "shop", 9, &[]).await;
    let missing = server.put("web", "none", 9, &[]).await;
    assert_eq!(
        (outside.status.as_u16(), missing.status.as_u16()),
        (404, 404)
    );
    // Existing elsewhere and not existing look the same.
    assert_eq!(
        outside
            .error()
            .replace("\"shop\"", "\"none\"")
            .replace("\"ops\"", "\"web\""),
        missing.error()
    );
    assert!(writes(&server).is_empty());
    assert!(cluster.requests().iter().all(|r| !r.path.contains("/ops/")));
    assert_eq!(server.put("web", "shop", 9, &[]).await.status, 200);
}
