//! Batches of callers who may do some of it.

use http::Method;
use serde_json::{Value, json};
use simkube::{AccessReview, Verdict};

use super::Governed;
use crate::support::{Client, SimCluster};

async fn batch(client: &Client, body: Value) -> Value {
    let json = [("content-type", "application/json")];
    let answer = client
        .send(Method::POST, "/batches", &json, &body.to_string())
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

async fn cluster() -> SimCluster {
    let sim = SimCluster::start().await;
    for (namespace, name) in [("web", "shop"), ("web", "page"), ("ops", "cron")] {
        sim.create(namespace, name, 1);
        sim.cluster.set_labels(namespace, name, &[("of", "us")]);
    }
    sim
}

fn all() -> Value {
    let item = |namespace, name| json!({"namespace": namespace, "name": name, "replicaCount": 2});
    json!({"items": [item("web", "shop"), item("ops", "cron"), item("web", "page"), item("ops", "none")]})
}

#[tokio::test]
async fn the_policy_decides_over_each_and_bounds_its_count() {
    let policy = "
authorization:
  mode: policy
  rules:
    - {name: shop, subjects: [alice], verbs: [scale], namespaces: [web], deployments: [shop], bounds: {max: 5}}
    - {name: see, subjects: [alice], verbs: [list], namespaces: [web]}
";
    let governed = Governed::by(policy, cluster().await).await;
    let alice = governed.client("alice");
    let done = batch(&alice, all()).await;
    assert_eq!(statuses(&done), [200, 403, 403, 403], "{done}");
    let error = |at: usize| done["results"][at]["error"].as_str().unwrap();
    assert!(error(1).contains("\"scale\""), "{}", error(1));
    assert_eq!(
        error(1).replace("cron", "none"),
        error(3),
        "whether it exists isn't told"
    );
    assert_eq!(governed.sim.count("web", "shop"), Some(2));
    // It selects what the caller may list, and sets what it may scale.
    let selector = json!({"labelSelector": "of=us", "replicaCount": 4});
    let done = batch(&alice, selector).await;
    assert_eq!(
        (statuses(&done), &done["results"][0]["name"]),
        (vec![403, 200], &"page".into())
    );
    let over = batch(&alice, json!({"labelSelector": "of=us", "replicaCount": 6})).await;
    assert_eq!(statuses(&over), [403, 422]);
    let json = [("content-type", "application/json")];
    let bob = governed.client("bob");
    let answer = bob
        .send(Method::POST, "/batches", &json, &all().to_string())
        .await;
    assert_eq!(answer.status, 403);
}

/// Alice may read in `web` and scale its shop.
fn decide(review: &AccessReview) -> Verdict {
    let (verb, resource) = (review.verb.as_str(), review.resource.as_str());
    let may = match (verb, resource, review.namespace.as_str()) {
        ("get" | "list", "deployments", "web") => true,
        ("update", "deployments/scale", "web") => review.name == "shop",
        _ => false,
    };
    Verdict::allowed(may && review.user == "headcount:alice")
}

#[tokio::test]
async fn the_cluster_decides_over_each_where_it_decides() {
    let sim = cluster().await;
    sim.cluster.set_authorizer(decide);
    let governed = Governed::by("authorization: {mode: kubernetes}\n", sim).await;
    let alice = governed.client("alice");
    let done = batch(&alice, all()).await;
    assert_eq!(statuses(&done), [200, 403, 403, 403], "{done}");
    let selected = batch(&alice, json!({"labelSelector": "of=us", "replicaCount": 3})).await;
    assert_eq!(statuses(&selected), [403, 200]);
    assert_eq!(governed.sim.count("web", "shop"), Some(3));
    // Who may do nothing is told so of each, and may select nothing.
    let bob = governed.client("bob");
    assert_eq!(statuses(&batch(&bob, all()).await), [403; 4]);
    let json = [("content-type", "application/json")];
    let selector = json!({"labelSelector": "of=us", "replicaCount": 9}).to_string();
    let answer = bob.send(Method::POST, "/batches", &json, &selector).await;
    assert_eq!(answer.status, 403);
    assert_eq!(governed.sim.count("web", "shop"), Some(3));
}
