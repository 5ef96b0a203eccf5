//! Batches, and what restores them.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use super::{Setup, World, eventually};
use crate::support::Client;

const JSON: (&str, &str) = ("content-type", "application/json");

async fn post(client: &Client, path: &str, body: &Value) -> Value {
    let answer = client
        .send(Method::POST, path, &[JSON], &body.to_string())
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn statuses(answer: &Value) -> Vec<u64> {
    let results = answer["results"].as_array().unwrap();
    results
        .iter()
        .map(|one| one["status"].as_u64().unwrap())
        .collect()
}

pub(super) async fn a_batch_is_restored_but_for_what_others_changed_by_whichever_server_is_asked(
    world: &World,
) {
    let ns = "batch";
    for name in ["a", "b", "c", "d"] {
        world
            .create(ns, name, Some(2), json!({"of": "batch"}))
            .await;
    }
    let server = Setup::new(world.kubeconfig()).healthy().await;
    let other = Setup::new(world.kubeconfig()).healthy().await;
    let wanted = json!({"labelSelector": "of=batch", "namespace": ns, "replicaCount": 5});
    let dry = post(&server.client, "/batches?dryRun=true", &wanted).await;
    assert_eq!(
        (statuses(&dry), world.count(ns, "a").await),
        (vec![200; 4], Some(2))
    );
    let done = post(&server.client, "/batches", &wanted).await;
    assert_eq!(statuses(&done), [200; 4]);
    for name in ["a", "b", "c", "d"] {
        assert_eq!(server.client.count(ns, name).await, Ok(5));
        assert_eq!(world.count(ns, name).await, Some(5));
    }
    world.scale(ns, "b", 7).await;
    // Away and back.
    world.scale(ns, "c", 7).await;
    world.scale(ns, "c", 5).await;
    world.delete(ns, "d").await;
    let seen = async || {
        let gone = other.client.count(ns, "d").await == Err(http::StatusCode::NOT_FOUND);
        gone && other.client.count(ns, "b").await == Ok(7)
    };
    eventually(
        Duration::from_secs(60),
        "the other server has seen it",
        seen,
    )
    .await;
    let back = post(&other.client, "/batches/restore", &done["snapshot"]).await;
    assert_eq!(statuses(&back), [200, 412, 412, 404], "{back}");
    assert!(
        back["results"][1]["error"]
            .as_str()
            .unwrap()
            .contains("from 5 to 7")
    );
    let counts = [
        world.count(ns, "a").await,
        world.count(ns, "b").await,
        world.count(ns, "c").await,
    ];
    assert_eq!(counts, [Some(2), Some(7), Some(5)]);
    let again = post(&server.client, "/batches/restore", &done["snapshot"]).await;
    assert_eq!(
        (statuses(&again), &again["results"][0]["changed"]),
        (vec![200, 412, 412, 404], &false.into())
    );
    // The restoration is undone by its own snapshot.
    let undone = post(&server.client, "/batches/restore", &back["snapshot"]).await;
    assert_eq!(
        (statuses(&undone), world.count(ns, "a").await),
        (vec![200], Some(5))
    );
}

pub(super) async fn a_batch_as_large_as_it_may_be_is_set_and_restored(world: &World) {
    let ns = "batches";
    let names: Vec<_> = (0..250).map(|n| format!("d{n:03}")).collect();
    for name in &names {
        // Their Pods would keep the cluster from its other scenarios.
        world.create_paused(ns, name, 0).await;
    }
    let server = Setup::new(world.kubeconfig()).healthy().await;
    let item = |name: &String| json!({"namespace": ns, "name": name, "replicaCount": 1});
    let wanted = json!({"items": names.iter().map(item).collect::<Vec<_>>()});
    let start = Instant::now();
    let done = post(&server.client, "/batches", &wanted).await;
    let set = start.elapsed();
    assert_eq!(done["succeeded"], 250, "{}", done["results"]);
    let start = Instant::now();
    let back = post(&server.client, "/batches/restore", &done["snapshot"]).await;
    assert_eq!(back["succeeded"], 250, "{}", back["results"]);
    let line = format!(
        "250 Deployments on {}: set in {:.1} s, restored in {:.1} s\n",
        world.name(),
        set.as_secs_f64(),
        start.elapsed().as_secs_f64()
    );
    let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
    assert_eq!(world.count(ns, "d249").await, Some(0));
}

pub(super) async fn what_an_autoscaler_or_a_gitops_tool_took_is_left_to_it(world: &World) {
    let ns = "taken";
    for name in ["scaled", "applied", "ours"] {
        world.create(ns, name, Some(2), json!({})).await;
    }
    let server = Setup::new(world.kubeconfig()).healthy().await;
    let item = |name| json!({"namespace": ns, "name": name, "replicaCount": 6});
    let wanted = json!({"items": [item("scaled"), item("applied"), item("ours")]});
    let done = post(&server.client, "/batches", &wanted).await;
    assert_eq!(statuses(&done), [200; 3]);
    // It brings the count down to its most.
    world.autoscale(ns, "scaled", 1, 4).await;
    // It owns the count too, though it is the same.
    let same = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "applied", "namespace": ns}, "spec": {"replicas": 6}});
    world.apply(ns, "applied", "argocd-controller", same).await;
    eventually(
        Duration::from_secs(60),
        "the autoscaler has acted",
        async || server.client.count(ns, "scaled").await == Ok(4),
    )
    .await;
    let back = post(&server.client, "/batches/restore", &done["snapshot"]).await;
    assert_eq!(statuses(&back), [412, 412, 200], "{back}");
    assert_eq!(world.count(ns, "scaled").await, Some(4));
    assert_eq!(
        (
            world.count(ns, "applied").await,
            world.count(ns, "ours").await
        ),
        (Some(6), Some(2))
    );
}
