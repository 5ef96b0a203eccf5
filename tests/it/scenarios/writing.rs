//! Writes: what they change, and what they don't.

use std::time::Duration;

use serde_json::json;

use super::{Setup, World, eventually, keep_busy};

const REPRESENTATION: (&str, &str) = ("prefer", "return=representation");

pub(super) async fn a_write_is_read_at_once_and_ends_in_that_many_ready_replicas(world: &World) {
    let ns = "ready";
    world.create(ns, "shop", Some(1), json!({})).await;
    let server = Setup::new(world.kubeconfig()).healthy().await;
    for count in [3, 2, 6] {
        assert_eq!(
            server.client.scale(ns, "shop", count, &[]).await.status,
            200
        );
        assert_eq!(server.client.count(ns, "shop").await, Ok(count));
    }
    eventually(Duration::from_secs(60), "six ready replicas", async || {
        world.ready(ns, "shop").await == 6
    })
    .await;
}

pub(super) async fn a_write_that_changes_nothing_says_so(world: &World) {
    let ns = "unchanged";
    world.create(ns, "shop", Some(2), json!({})).await;
    let server = Setup::new(world.kubeconfig()).healthy().await;
    let first = server.client.scale(ns, "shop", 4, &[REPRESENTATION]).await;
    assert_eq!(first.status, 200);
    assert_eq!(first.header("preference-applied"), "return=representation");
    let (mut first, again) = (
        first.json(),
        server
            .client
            .scale(ns, "shop", 4, &[REPRESENTATION])
            .await
            .json(),
    );
    let version = first
        .as_object_mut()
        .unwrap()
        .remove("resourceVersion")
        .unwrap();
    assert!(version.as_str().unwrap().parse::<u64>().is_ok());
    assert_eq!(
        first,
        json!({"namespace": ns, "name": "shop", "replicaCount": 4, "previousReplicaCount": 2, "changed": true})
    );
    assert_eq!(
        (&again["previousReplicaCount"], &again["changed"]),
        (&4.into(), &false.into())
    );
}

pub(super) async fn a_dry_run_changes_nothing(world: &World) {
    let ns = "dry";
    world.create(ns, "shop", Some(2), json!({})).await;
    let server = Setup::new(world.kubeconfig()).healthy().await;
    let path = format!("/namespaces/{ns}/deployments/shop/replicas?dryRun=true");
    let headers = [("content-type", "application/json"), REPRESENTATION];
    let answer = server
        .client
        .send(http::Method::PUT, &path, &headers, r#"{"replicaCount":9}"#)
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        (&answer.json()["replicaCount"], &answer.json()["changed"]),
        (&9.into(), &true.into())
    );
    assert_eq!(server.client.count(ns, "shop").await, Ok(2));
    assert_eq!(world.count(ns, "shop").await, Some(2));
}

pub(super) async fn of_many_writers_with_the_same_tag_one_wins(world: &World) {
    let ns = "race";
    world.create(ns, "shop", Some(1), json!({})).await;
    let server = Setup::new(world.kubeconfig()).healthy().await;
    let client = &server.client;
    let path = format!("/namespaces/{ns}/deployments/shop/replicas");
    let tag = client.get(&path).await.header("etag").to_owned();
    let write = |count: i64| {
        let tag = &tag;
        async move {
            (
                count,
                client
                    .scale(ns, "shop", count, &[("if-match", tag)])
                    .await
                    .status
                    .as_u16(),
            )
        }
    };
    let results = futures_util::future::join_all((2..12).map(write)).await;
    let won: Vec<_> = results
        .iter()
        .filter(|(_, status)| *status == 200)
        .collect();
    assert_eq!(won.len(), 1, "{results:?}");
    assert!(
        results
            .iter()
            .all(|(_, status)| [200, 412].contains(status)),
        "{results:?}"
    );
    assert_eq!(client.count(ns, "shop").await, Ok(won[0].0));
}

pub(super) async fn a_busy_deployment_can_be_scaled(world: &World) {
    let ns = "busy";
    world.create(ns, "shop", Some(1), json!({})).await;
    let server = Setup::new(world.kubeconfig()).healthy().await;
    for count in [2, 3, 1, 4, 2, 3] {
        let writing = server.client.scale(ns, "shop", count, &[]);
        let ((), answer) = tokio::join!(keep_busy(world, ns), writing);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(server.client.count(ns, "shop").await, Ok(count));
    }
}

pub(super) async fn a_deployment_that_is_being_deleted_is_a_conflict(world: &World) {
    let ns = "deleting";
    world.create(ns, "shop", Some(2), json!({})).await;
    world
        .patch(
            ns,
            "shop",
            json!({"metadata": {"finalizers": ["example.com/hold"]}}),
        )
        .await;
    let server = Setup::new(world.kubeconfig()).healthy().await;
    world.delete(ns, "shop").await;
    // Until the informer has seen it the write is judged on the version before, and Kubernetes refuses that.
    let answer = server.client.scale(ns, "shop", 5, &[]).await;
    assert_eq!(answer.status, 409, "{}", answer.text());
    world
        .patch(ns, "shop", json!({"metadata": {"finalizers": null}}))
        .await;
    eventually(Duration::from_secs(20), "its end", async || {
        server.client.count(ns, "shop").await.is_err()
    })
    .await;
    assert_eq!(server.client.scale(ns, "shop", 5, &[]).await.status, 404);
}

pub(super) async fn zero_is_a_count(world: &World) {
    let ns = "zero";
    world.create(ns, "shop", Some(2), json!({})).await;
    let server = Setup::new(world.kubeconfig()).healthy().await;
    assert_eq!(server.client.scale(ns, "shop", 0, &[]).await.status, 200);
    assert_eq!(server.client.count(ns, "shop").await, Ok(0));
    assert_eq!(world.count(ns, "shop").await, Some(0));
    assert_eq!(server.client.scale(ns, "shop", 1, &[]).await.status, 200);
    assert_eq!(world.count(ns, "shop").await, Some(1));
}

pub(super) async fn events_tell_of_writes_with_who_what_and_why(world: &World) {
    let ns = "told";
    world.create(ns, "shop", Some(3), json!({})).await;
    let server = Setup {
        kubernetes_events: true,
        ..Setup::new(world.kubeconfig())
    }
    .healthy()
    .await;
    let incident = [("x-reason", "incident 4711")];
    for (count, why) in [(5, &incident[..]), (3, &[]), (5, &incident), (5, &incident)] {
        let answer = server.client.scale(ns, "shop", count, why).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let path = format!("/namespaces/{ns}/deployments/shop/containers/app/image");
    let headers = [("content-type", "application/json")];
    let body = r#"{"image":"app:2"}"#;
    let set = server.client.send(http::Method::PUT, &path, &headers, body);
    assert_eq!(set.await.status, 200);
    let path = format!("/namespaces/{ns}/deployments/shop/paused");
    for body in [r#"{"paused":true}"#, r#"{"paused":false}"#] {
        let set = server.client.send(http::Method::PUT, &path, &headers, body);
        assert_eq!(set.await.status, 200);
    }
    let expected = [
        ("ImageSetByHeadcount", "alice app: app:1 → app:2", 1),
        ("PausedByHeadcount", "alice paused", 1),
        ("ResumedByHeadcount", "alice resumed", 1),
        ("ScaledByHeadcount", "alice 3 → 5 (incident 4711)", 2),
        ("ScaledByHeadcount", "alice 5 → 3", 1),
    ];
    eventually(Duration::from_secs(60), "five events", async || {
        let mut events = world.events(ns, "shop").await;
        events.sort();
        let events = events.iter().map(|(r, m, n)| (r.as_str(), m.as_str(), *n));
        events.eq(expected)
    })
    .await;
}
