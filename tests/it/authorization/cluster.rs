//! Mode `kubernetes`, as callers see it: the cluster's answers are this server's.

use std::time::Duration;

use headcount::pki::Leaf;
use http::Method;
use serde_json::json;
use simkube::{AccessReview, Fault, On, Rule, Verdict};

use super::{Governed, seen};
use crate::support::{SimCluster, eventually};

const SETTINGS: &str = "authorization: {mode: kubernetes}\n";

/// Alice may read in `web` and scale its shop, and Olga's group may list everywhere.
fn decide(review: &AccessReview) -> Verdict {
    let AccessReview {
        user,
        groups,
        verb,
        resource,
        namespace,
        name,
        ..
    } = review;
    let alice = user == "headcount:alice"
        && match (verb.as_str(), resource.as_str(), namespace.as_str()) {
            ("get" | "list", "deployments", "web") => true,
            ("update", "deployments/scale", "web") => name == "shop",
            _ => false,
        };
    let olga = *groups == ["headcount:oncall"] && verb == "list";
    Verdict::allowed(alice || olga)
}

async fn governed() -> Governed {
    let sim = SimCluster::start().await;
    for (namespace, name) in [("web", "shop"), ("web", "page"), ("ops", "cron")] {
        sim.create(namespace, name, 1);
    }
    sim.cluster.set_authorizer(decide);
    Governed::by(SETTINGS, sim).await
}

#[tokio::test]
async fn what_the_cluster_allows_is_allowed_and_nothing_else() {
    let governed = governed().await;
    let alice = governed.client("alice");
    assert_eq!(alice.count("web", "shop").await, Ok(1));
    assert_eq!(alice.scale("web", "shop", 2, &[]).await.status, 200);
    assert_eq!(alice.scale("web", "page", 2, &[]).await.status, 403);
    assert_eq!(alice.count("ops", "cron").await.unwrap_err(), 403);
    assert_eq!(alice.count("ops", "nope").await.unwrap_err(), 403);
    assert_eq!(seen(&alice).await, ["web/page", "web/shop"]);
    let stranger = governed.client("stranger");
    assert_eq!(stranger.get("/deployments").await.status, 403);
    assert_eq!(stranger.get("/health").await.status, 200);
    let told = alice.get("/whoami").await.json();
    assert_eq!(
        told["cluster"],
        json!({"user": "headcount:alice", "groups": []})
    );
    assert_eq!(told.get("permissions"), None);
}

#[tokio::test]
async fn groups_have_the_prefix_and_kubernetes_own_are_left_out() {
    let governed = governed().await;
    let mut leaf = Leaf::client("olga");
    leaf.organizations = vec!["oncall".into(), "system:masters".into()];
    let olga = governed.client_of(&leaf);
    assert_eq!(seen(&olga).await, ["ops/cron", "web/page", "web/shop"]);
    assert_eq!(olga.scale("web", "shop", 2, &[]).await.status, 403);
}

#[tokio::test]
async fn a_cluster_that_does_not_answer_denies_and_says_so_and_health_is_told_all_the_same() {
    let governed = governed().await;
    let broken = Rule::new(
        On::Review,
        Fault::Status {
            code: 500,
            retry_after: None,
        },
    );
    governed.sim.cluster.faults().add(broken);
    let alice = governed.client("alice");
    let answer = alice.get("/namespaces/web/deployments/shop/replicas").await;
    assert_eq!(answer.status, 503, "{}", answer.text());
    let told = "the Kubernetes API is unavailable, nothing was changed: the cluster didn't say whether this is allowed: the Kubernetes API ";
    assert!(answer.error().starts_with(told), "{}", answer.error());
    assert!(!answer.error().contains("nothing was done"));
    let put = alice.scale("web", "shop", 2, &[]).await;
    assert_eq!(put.status, 503);
    assert_eq!(governed.sim.count("web", "shop"), Some(1));
    assert_eq!(governed.client("bob").get("/health").await.status, 200);
    let (ready, _) = crate::support::program::admin(governed.admin_address, "GET", "/readyz").await;
    assert_eq!(ready, 200);
}

#[tokio::test]
async fn a_detail_has_bounds_for_whom_the_cluster_lets_scale_it_or_does_not_say() {
    let sim = SimCluster::start().await;
    for name in ["shop", "page", "unsure"] {
        sim.create("web", name, 1);
    }
    sim.cluster.set_authorizer(|review: &AccessReview| {
        let unsure = review.resource == "deployments/scale" && review.name == "unsure";
        Verdict {
            denied: unsure,
            allowed: unsure || decide(review).allowed,
            ..Verdict::default()
        }
    });
    let governed = Governed::by(SETTINGS, sim).await;
    let alice = governed.client("alice");
    for (name, expected) in [("shop", true), ("page", false), ("unsure", true)] {
        let path = format!("/namespaces/web/deployments/{name}");
        let answer = alice.get(&path).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let bounded = answer.json().get("bounds").is_some();
        assert_eq!(bounded, expected, "{name}");
    }
}

#[tokio::test]
async fn who_may_not_get_a_deployment_is_not_told_whose_lease_or_count_stands_in_the_way_of_a_write()
 {
    let sim = SimCluster::start().await;
    sim.create("web", "shop", 1);
    sim.cluster.create_namespace("headcount");
    sim.cluster.set_authorizer(|review: &AccessReview| {
        let scales = review.resource == "deployments/scale";
        Verdict::allowed(scales || review.user == "headcount:alice")
    });
    let settings = format!("{SETTINGS}leases: {{namespace: headcount}}\n");
    let governed = Governed::by(&settings, sim).await;
    let alice = governed.client("alice");
    eventually(Duration::from_secs(60), "leases", async || {
        alice.get("/leases").await.status == 200
    })
    .await;
    let lease = "/namespaces/web/deployments/shop/lease";
    let reasoned = [("content-type", "application/json"), ("x-reason", "a sale")];
    for (name, holder, reason) in [
        ("alice", json!("alice"), json!("a sale")),
        ("bob", json!(""), json!(null)),
    ] {
        let body = r#"{"replicaCount":10,"durationSeconds":3600}"#;
        let taken = alice.send(Method::PUT, lease, &reasoned, body).await;
        assert_eq!(taken.status, 200, "{}", taken.text());
        let representation = [("prefer", "return=representation")];
        let client = governed.client(name);
        let put = client.scale("web", "shop", 12, &representation).await;
        let before = &put.json()["leaseBefore"];
        assert_eq!(before["replicaCount"], 10, "{}", put.text());
        assert_eq!((&before["holder"], &before["reason"]), (&holder, &reason));
    }
    let items = json!([{"namespace": "web", "name": "shop", "replicaCount": 5}]);
    let body = json!({ "items": items }).to_string();
    let set = alice.send(Method::POST, "/batches", &reasoned, &body).await;
    let snapshot = set.json()["snapshot"].to_string();
    governed
        .sim
        .cluster
        .scale_by("web", "shop", 7, ("kubectl", "scale"));
    for (name, told) in [("alice", true), ("bob", false)] {
        let client = governed.client(name);
        let restored = client.send(Method::POST, "/batches/restore", &reasoned, &snapshot);
        let error = restored.await.json()["results"][0]["error"].to_string();
        assert!(
            error.contains("changed since, from 5 to 7 replicas"),
            "{error}"
        );
        assert_eq!(error.contains("kubectl"), told, "{error}");
    }
}

#[tokio::test]
async fn a_certificate_that_names_nobody_is_asked_for_nothing() {
    let governed = governed().await;
    let mut leaf = Leaf::client("alice");
    leaf.dns_names = vec!["a.example.org".into(), "b.example.org".into()];
    let nobody = governed.client_of(&leaf);
    assert_eq!(nobody.count("web", "shop").await.unwrap_err(), 403);
    assert_eq!(nobody.get("/deployments").await.status, 403);
    assert!(governed.sim.cluster.reviews().is_empty());
}
