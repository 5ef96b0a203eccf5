//! A write that succeeds: what it answers, what it sends, and that every read after it shows it.

use std::time::Duration;

use http::Method;
use serde_json::json;
use simkube::{Fault, On, Rule};
use tokio::time::{Instant, sleep};

use super::{UPDATED, in_cluster, shop, told, writes};

const REPRESENTATION: (&str, &str) = ("prefer", "return=representation");

#[tokio::test(start_paused = true)]
async fn every_read_after_a_200_shows_the_write() {
    let server = shop().await;
    // Events that come late make the write wait, not the reads lie.
    server.cluster.faults().add(Rule::new(
        On::Event,
        Fault::Delay(Duration::from_millis(30)),
    ));
    for count in 0..100 {
        let answer = server.put("web", "shop", count, &[]).await;
        assert_eq!(told(&answer), (200, UPDATED));
        let read = server.get("web", "shop", &[]).await;
        assert_eq!(read.json()["replicaCount"], count);
        let list = server.send(Method::GET, "/deployments", &[], "").await;
        assert_eq!(list.json()[0]["replicaCount"], count);
        let version: u64 = answer.header("x-resource-version").parse().unwrap();
        assert!(list.header("x-resource-version").parse::<u64>().unwrap() >= version);
        assert_eq!(in_cluster(&server, "shop"), Some(count));
    }
    assert_eq!(server.cluster.counts().gets, 0, "reads come from the store");
}

#[tokio::test(start_paused = true)]
async fn a_write_tells_its_version_and_the_tag_that_a_read_has() {
    let server = shop().await;
    let before = server.get("web", "shop", &[]).await;
    let written = server.put("web", "shop", 5, &[]).await;
    let read = server.get("web", "shop", &[]).await;
    let version = server
        .cluster
        .deployment("web", "shop")
        .unwrap()
        .resource_version;
    assert_eq!(written.header("x-resource-version"), version.to_string());
    assert_eq!(read.header("x-resource-version"), version.to_string());
    assert!(
        written.header("etag").starts_with('"'),
        "{}",
        written.header("etag")
    );
    assert_eq!(written.header("etag"), read.header("etag"));
    assert_ne!(written.header("etag"), before.header("etag"));
}

#[tokio::test(start_paused = true)]
async fn a_representation_tells_from_and_to() {
    let server = shop().await;
    let answer = server.put("web", "shop", 5, &[REPRESENTATION]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("preference-applied"), "return=representation");
    let version = answer.header("x-resource-version").to_owned();
    let expected = json!({
        "namespace": "web", "name": "shop", "replicaCount": 5, "previousReplicaCount": 3, "changed": true, "resourceVersion": version,
    });
    assert_eq!(answer.json(), expected);
    let plain = server.put("web", "shop", 6, &[]).await;
    assert_eq!(
        (plain.text(), plain.header("preference-applied")),
        (UPDATED, "")
    );
}

#[tokio::test(start_paused = true)]
async fn a_write_that_changes_nothing_says_so_and_waits_for_nothing() {
    let server = shop().await;
    // If it waited for an event, it would wait long.
    server
        .cluster
        .faults()
        .add(Rule::new(On::OpenWatches, Fault::Hang));
    let (version, start) = (server.cluster.resource_version(), Instant::now());
    let answer = server.put("web", "shop", 3, &[REPRESENTATION]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["changed"], false);
    assert_eq!(answer.json()["previousReplicaCount"], 3);
    assert!(
        start.elapsed() < Duration::from_millis(100),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(server.cluster.resource_version(), version);
    assert_eq!(
        told(&server.put("web", "shop", 3, &[]).await),
        (200, UPDATED)
    );
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_goes_as_far_as_admission_and_changes_nothing() {
    let server = shop().await;
    let version = server.cluster.resource_version();
    let path = "/namespaces/web/deployments/shop/replicas?dryRun=true";
    let headers = [("content-type", "application/json"), REPRESENTATION];
    let start = Instant::now();
    let answer = server
        .send(Method::PUT, path, &headers, r#"{"replicaCount":9}"#)
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-dry-run"), "true");
    assert_eq!(
        (&answer.json()["replicaCount"], &answer.json()["changed"]),
        (&json!(9), &json!(true))
    );
    assert!(
        start.elapsed() < Duration::from_millis(100),
        "{:?}",
        start.elapsed()
    );
    let sent = writes(&server);
    assert_eq!(sent.len(), 1);
    let query = &sent[0].query;
    assert!(query.starts_with("fieldManager=headcount%3Aalice%40"));
    assert!(query.ends_with("&force=true&dryRun=All"), "{query}");
    let denied = Fault::Webhook {
        name: "policy.example.com".into(),
        message: "at night nothing grows".into(),
        code: 403,
    };
    server.cluster.faults().add(Rule::new(On::Scale, denied));
    let refused = server
        .send(Method::PUT, path, &headers[..1], r#"{"replicaCount":9}"#)
        .await;
    assert_eq!(refused.status, 422);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(
        (in_cluster(&server, "shop"), server.count("web", "shop")),
        (Some(3), Some(3))
    );
    assert_eq!(server.cluster.resource_version(), version);
}

#[tokio::test(start_paused = true)]
async fn only_the_scale_subresource_is_written_on_the_version_and_uid_that_were_judged() {
    let server = shop().await;
    let judged = server.cluster.deployment("web", "shop").unwrap();
    server.put("web", "shop", 5, &[]).await;
    let sent = writes(&server);
    assert_eq!(sent.len(), 1);
    assert_eq!(
        (sent[0].method.as_str(), sent[0].path.as_str()),
        (
            "PATCH",
            "/apis/apps/v1/namespaces/web/deployments/shop/scale"
        )
    );
    // Applied, so that Kubernetes keeps whose it is.
    assert_eq!(
        sent[0].header("content-type"),
        Some("application/apply-patch+yaml")
    );
    // The same write judged on what has changed meanwhile would be a conflict, so this was conditional.
    assert_eq!(
        server.cluster.deployment("web", "shop").unwrap().uid,
        judged.uid
    );
    assert_eq!(
        (
            server.cluster.counts().scales,
            server.cluster.counts().writes,
            server.cluster.counts().gets
        ),
        (1, 0, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_trace_is_passed_on_to_kubernetes() {
    let server = shop().await;
    let given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    server
        .put("web", "shop", 5, &[("traceparent", given)])
        .await;
    server.put("web", "shop", 6, &[]).await;
    let sent: Vec<_> = writes(&server)
        .iter()
        .map(|r| r.header("traceparent").unwrap().to_owned())
        .collect();
    let parts: Vec<Vec<&str>> = sent.iter().map(|t| t.split('-').collect()).collect();
    assert_eq!(
        (parts[0][0], parts[0][1], parts[0][3]),
        ("00", "0af7651916cd43dd8448eb211c80319c", "01")
    );
    assert_ne!(
        parts[0][2], "b7ad6b7169203331",
        "a span of this server's own"
    );
    assert_eq!((parts[1].len(), parts[1][1].len()), (4, 32));
    assert_ne!(parts[1][1], parts[0][1]);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_not_seen_within_5_s_answers_202() {
    for (headers, representation) in [(vec![], false), (vec![REPRESENTATION], true)] {
        let server = shop().await;
        let hung = [On::OpenWatches, On::Watch]
            .map(|on| server.cluster.faults().add(Rule::new(on, Fault::Hang)));
        let start = Instant::now();
        let answer = server.put("web", "shop", 5, &headers).await;
        assert_eq!(answer.status, 202);
        if representation {
            assert_eq!(
                (&answer.json()["replicaCount"], &answer.json()["changed"]),
                (&json!(5), &json!(true))
            );
        } else {
            assert_eq!(
                answer.text(),
                r#"{"message":"Replica count updated; this server's copy has not caught up yet."}"#
            );
        }
        assert!(
            start.elapsed() >= Duration::from_secs(5)
                && start.elapsed() < Duration::from_millis(5100),
            "{:?}",
            start.elapsed()
        );
        assert_eq!(
            server.get("web", "shop", &[]).await.json()["replicaCount"],
            3
        );
        assert_eq!(in_cluster(&server, "shop"), Some(5));
        for rule in hung {
            server.cluster.faults().remove(rule);
        }
        server.converges(Duration::from_secs(1)).await;
        let version = answer.header("x-resource-version").to_owned();
        let read = server
            .get("web", "shop", &[("x-min-resource-version", &version)])
            .await;
        assert_eq!(read.json()["replicaCount"], 5);
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_is_seen_though_the_watch_is_half_open() {
    let server = shop().await;
    server
        .cluster
        .faults()
        .add(Rule::new(On::OpenWatches, Fault::Hang));
    let start = Instant::now();
    let answer = server.put("web", "shop", 5, &[]).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    // Whoever waits makes the informer watch on another connection.
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_seen_within_5_s_waits_for_it() {
    let server = shop().await;
    server
        .cluster
        .faults()
        .add(Rule::new(On::Event, Fault::Delay(Duration::from_secs(4))));
    let start = Instant::now();
    assert_eq!(server.put("web", "shop", 5, &[]).await.status, 200);
    assert!(
        start.elapsed() >= Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(server.count("web", "shop"), Some(5));
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_does_not_say_its_count_has_one() {
    let server = shop().await;
    server.cluster.scale("web", "shop", None).unwrap();
    server.converges(Duration::from_secs(1)).await;
    let answer = server.put("web", "shop", 2, &[REPRESENTATION]).await;
    assert_eq!(
        (
            &answer.json()["previousReplicaCount"],
            &answer.json()["changed"]
        ),
        (&json!(1), &json!(true))
    );
    let down = server.put("web", "shop", 0, &[REPRESENTATION]).await;
    assert_eq!(down.json()["replicaCount"], 0);
    assert_eq!(
        server.get("web", "shop", &[]).await.json()["replicaCount"],
        0
    );
}

#[tokio::test(start_paused = true)]
async fn before_the_first_sync_a_write_is_503_and_nothing_is_sent() {
    let cluster = simkube::Cluster::new(simkube::Options::default());
    cluster
        .create(simkube::NewDeployment::new("web", "shop"))
        .unwrap();
    cluster.faults().add(Rule::new(On::List, Fault::Hang));
    let server = crate::support::InProcess::start(&cluster);
    sleep(Duration::from_secs(2)).await;
    for answer in [
        server.put("web", "shop", 5, &[]).await,
        server.get("web", "shop", &[]).await,
        server.get("web", "none", &[]).await,
    ] {
        assert_eq!(answer.status, 503);
        assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0);
    }
    assert!(writes(&server).is_empty());
}
