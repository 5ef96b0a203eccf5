//! Reads follow the cluster.

use std::{sync::Arc, time::Duration};

use headcount::{
    kubernetes::{self, Informer, InformerStatus, Managed},
    store::{AnnotationBounds, Store},
    telemetry::metrics::Metrics,
};
use serde_json::json;
use tokio::sync::watch;

use super::{Setup, World, eventually};
use crate::support::Events;

/// It is there in milliseconds, but on a busy machine.
const SOON: Duration = Duration::from_secs(30);

pub(super) async fn what_kubectl_does_shows_within_a_second(world: &World) {
    let ns = "following";
    world.create(ns, "shop", Some(2), json!({})).await;
    let server = Setup::new(world.kubeconfig()).healthy().await;
    let client = &server.client;
    assert_eq!(client.count(ns, "shop").await, Ok(2));
    for count in [5, 0, 3] {
        world.scale(ns, "shop", count).await;
        eventually(SOON, "the new count", async || {
            client.count(ns, "shop").await == Ok(count.into())
        })
        .await;
    }
    world.create(ns, "cart", Some(1), json!({})).await;
    eventually(SOON, "the new Deployment", async || {
        client.count(ns, "cart").await == Ok(1)
    })
    .await;
    world.delete(ns, "cart").await;
    eventually(SOON, "its deletion", async || {
        client.count(ns, "cart").await == Err(http::StatusCode::NOT_FOUND)
    })
    .await;
}

pub(super) async fn a_deployment_that_does_not_say_how_many_runs_one(world: &World) {
    let ns = "absent";
    world.create(ns, "shop", None, json!({})).await;
    let server = Setup::new(world.kubeconfig()).healthy().await;
    assert_eq!(server.client.count(ns, "shop").await, Ok(1));
}

pub(super) async fn a_deployment_created_again_is_another_one(world: &World) {
    let ns = "again";
    world.create(ns, "shop", Some(2), json!({})).await;
    let server = Setup::new(world.kubeconfig()).healthy().await;
    let path = format!("/namespaces/{ns}/deployments/shop/replicas");
    let first = server.client.get(&path).await.header("etag").to_owned();
    world.delete(ns, "shop").await;
    eventually(Duration::from_secs(20), "its deletion", async || {
        world.count(ns, "shop").await.is_none()
    })
    .await;
    world.create(ns, "shop", Some(2), json!({})).await;
    eventually(SOON, "another tag", async || {
        let answer = server.client.get(&path).await;
        answer.status == 200 && answer.header("etag") != first
    })
    .await;
    let stale = server
        .client
        .scale(ns, "shop", 4, &[("if-match", &first)])
        .await;
    assert_eq!(stale.status, 412);
}

pub(super) async fn a_list_of_several_pages_is_complete(world: &World) {
    // Pages are of 2,000.
    let ns = "pages";
    world.create_namespace(ns).await;
    let names: Vec<String> = (0..2_100).map(|i| format!("d{i:04}")).collect();
    let create = |names: Vec<String>| async move {
        for name in names {
            world.create(ns, &name, Some(0), json!({})).await;
        }
    };
    futures_util::future::join_all(names.chunks(210).map(|part| create(part.to_vec()))).await;
    let server = Setup::new(world.kubeconfig()).healthy().await;
    let list = server.client.get("/deployments").await.json();
    let listed = list
        .as_array()
        .unwrap()
        .iter()
        .filter(|d| d["namespace"] == ns);
    assert!(
        listed
            .map(|d| d["name"].as_str().unwrap())
            .eq(names.iter().map(String::as_str))
    );
}

pub(super) async fn a_selector_bounds_reads_and_writes(world: &World) {
    let ns = "selected";
    world
        .create(ns, "ours", Some(2), json!({"team": "web"}))
        .await;
    world
        .create(ns, "theirs", Some(2), json!({"team": "search"}))
        .await;
    let managed = Managed {
        label_selector: Some("team in (web)".into()),
        ..Managed::default()
    };
    let server = Setup {
        managed,
        ..Setup::new(world.kubeconfig())
    }
    .healthy()
    .await;
    let client = &server.client;
    // Others' Deployments in this world may have the label too.
    let list = client.get("/deployments").await.json();
    let here = list
        .as_array()
        .unwrap()
        .iter()
        .filter(|d| d["namespace"] == ns);
    assert!(here.map(|d| d["name"].as_str().unwrap()).eq(["ours"]));
    assert_eq!(client.scale(ns, "theirs", 5, &[]).await.status, 404);
    assert_eq!(client.scale(ns, "ours", 5, &[]).await.status, 200);
    world
        .patch(ns, "ours", json!({"metadata": {"labels": {"team": null}}}))
        .await;
    // Whether the informer has seen it or not: the write doesn't get through.
    assert_eq!(client.scale(ns, "ours", 6, &[]).await.status, 404);
    assert_eq!(world.count(ns, "ours").await, Some(5));
    assert_eq!(world.count(ns, "theirs").await, Some(2));
}

pub(super) async fn namespaces_bound_reads_and_writes(world: &World) {
    for ns in ["bound-a", "bound-b", "bound-c"] {
        world.create(ns, "shop", Some(2), json!({})).await;
    }
    let managed = Managed {
        namespaces: vec!["bound-a".into(), "bound-b".into()],
        ..Managed::default()
    };
    let server = Setup {
        managed,
        ..Setup::new(world.kubeconfig())
    }
    .healthy()
    .await;
    let list = server.client.get("/deployments").await;
    assert_eq!(
        list.text(),
        r#"[{"namespace":"bound-a","name":"shop","replicaCount":2},{"namespace":"bound-b","name":"shop","replicaCount":2}]"#
    );
    assert_eq!(
        server.client.scale("bound-c", "shop", 5, &[]).await.status,
        404
    );
    assert_eq!(
        server.client.scale("bound-b", "shop", 5, &[]).await.status,
        200
    );
    assert_eq!(server.client.count("bound-b", "shop").await, Ok(5));
    assert_eq!(world.count("bound-c", "shop").await, Some(2));
}

pub(super) async fn a_watch_that_swallows_its_bytes_is_replaced_within_thirty_seconds(
    world: &World,
) {
    let ns = "half-open";
    world.create(ns, "shop", Some(2), json!({})).await;
    let (proxy, kubeconfig) = world.through_proxy().await;
    let server = Setup::new(&kubeconfig).healthy().await;
    proxy.swallow();
    world.scale(ns, "shop", 7).await;
    eventually(
        Duration::from_secs(30),
        "the count through a new watch",
        async || server.client.count(ns, "shop").await == Ok(7),
    )
    .await;
    server.becomes_healthy(SOON).await;
}

pub(super) async fn a_cut_connection_loses_nothing(world: &World) {
    let ns = "cut";
    world.create(ns, "shop", Some(2), json!({})).await;
    world.create(ns, "gone", Some(2), json!({})).await;
    let (proxy, kubeconfig) = world.through_proxy().await;
    let server = Setup::new(&kubeconfig).healthy().await;
    proxy.close(true);
    proxy.cut();
    world.scale(ns, "shop", 7).await;
    world.delete(ns, "gone").await;
    assert_eq!(server.client.count(ns, "shop").await, Ok(2), "reads go on");
    proxy.close(false);
    eventually(Duration::from_secs(20), "what was missed", async || {
        server.client.count(ns, "shop").await == Ok(7)
            && server.client.count(ns, "gone").await.is_err()
    })
    .await;
}

pub(super) async fn the_list_equals_the_clusters_after_a_storm_of_changes(world: &World) {
    let ns = "storm";
    for i in 0..20 {
        world.create(ns, &format!("d{i}"), Some(1), json!({})).await;
    }
    let server = Setup::new(world.kubeconfig()).healthy().await;
    let client = &server.client;
    let churn = async {
        for turn in 0..60 {
            let name = format!("d{}", fastrand::usize(..15));
            match turn % 3 {
                0 => world.scale(ns, &name, fastrand::i32(0..3)).await,
                1 => {
                    world
                        .create(ns, &format!("new{turn}"), Some(turn % 2), json!({}))
                        .await
                }
                _ => world.delete(ns, &format!("new{}", turn - 1)).await,
            }
        }
    };
    let writes = async {
        for turn in 0..30 {
            let name = format!("d{}", turn % 20);
            assert_eq!(
                client.scale(ns, &name, turn % 3, &[]).await.status,
                200,
                "{name}"
            );
            assert!(client.get("/deployments").await.status == 200);
        }
    };
    tokio::join!(churn, writes);
    let ours = |list: Vec<(String, String, i64)>| {
        list.into_iter().filter(|d| d.0 == ns).collect::<Vec<_>>()
    };
    let expected = ours(world.list().await);
    eventually(SOON, "the same list", async || {
        let list = client.get("/deployments").await.json();
        let one = |d: &serde_json::Value| {
            (
                d["namespace"].as_str().unwrap().to_owned(),
                d["name"].as_str().unwrap().to_owned(),
                d["replicaCount"].as_i64().unwrap(),
            )
        };
        ours(list.as_array().unwrap().iter().map(one).collect()) == expected
    })
    .await;
}

pub(super) async fn labels_and_annotations_are_in_the_copy(world: &World) {
    let ns = "attributes";
    let labels = json!({"team": "web", "tier": "front"});
    world.create(ns, "shop", Some(2), labels).await;
    let cluster = kubernetes::connection(Some(world.kubeconfig()), None)
        .await
        .unwrap();
    let status = Arc::new(InformerStatus::new(Arc::new(Store::new(&[ns.into()]))));
    let managed = Managed {
        namespaces: vec![ns.into()],
        label_selector: None,
    };
    let informer = Informer::new(
        kubernetes::client(&cluster).unwrap(),
        managed,
        watch::channel(Arc::new(["team"].into_iter().collect())).1,
        Arc::clone(&status),
        Arc::clone(&Metrics::default().informer),
    );
    let following = tokio::spawn(informer.run());
    let shows = async |team: &str, max: Option<i32>| {
        let bounds = AnnotationBounds {
            max,
            ..AnnotationBounds::default()
        };
        eventually(SOON, "label and bound", async || {
            let snapshot = status.store().snapshot();
            snapshot.get(ns, "shop").is_some_and(|r| {
                r.label("team") == Some(team)
                    && r.label("tier").is_none()
                    && r.annotation_bounds() == bounds
            })
        })
        .await;
    };
    shows("web", None).await;
    let patch = json!({"labels": {"team": "ops"}, "annotations": {"headcount/max-replicas": "5"}});
    world.patch(ns, "shop", json!({"metadata": patch})).await;
    shows("ops", Some(5)).await;
    following.abort();
}

pub(super) async fn a_watch_with_status_shows_pods_become_ready(world: &World) {
    let ns = "ready-counts";
    world.create(ns, "shop", Some(0), json!({})).await;
    let server = Setup::new(world.kubeconfig()).healthy().await;
    let path = format!("/namespaces/{ns}/deployments?watch&status=true");
    let mut watch = Events::open(&server.client, &path, &[]).await;
    let list = watch.next().await.unwrap().data;
    assert_eq!(list[0]["readyReplicas"], 0, "{list}");
    let put = server.client.scale(ns, "shop", 2, &[]).await;
    assert_eq!(put.status, 200, "{}", put.text());
    loop {
        let event = watch.next().await.unwrap();
        assert_eq!(
            (&*event.name, &event.data["replicaCount"]),
            ("changed", &json!(2))
        );
        if event.data["readyReplicas"] == 2 {
            break;
        }
    }
    let list = server.client.get(&path.replace("watch&", "")).await;
    assert_eq!(
        list.json()[0]["readyReplicas"],
        world.ready(ns, "shop").await
    );
}
