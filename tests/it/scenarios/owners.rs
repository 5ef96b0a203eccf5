//! Who else sets a count: an autoscaler that fights for it, and a GitOps tool that may.

use std::time::Duration;

use http::Method;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{Setup, World, eventually};

const JSON: (&str, &str) = ("content-type", "application/json");
const REPRESENTATION: (&str, &str) = ("prefer", "return=representation");

pub(super) async fn an_autoscaler_undoes_what_was_warned_of(world: &World) {
    let ns = "fights";
    world.create(ns, "shop", Some(3), json!({})).await;
    let server = Setup::new(world.kubeconfig()).healthy().await;
    let (client, path) = (&server.client, format!("/namespaces/{ns}/deployments/shop"));
    world.autoscale(ns, "shop", 2, 4).await;
    eventually(
        Duration::from_secs(60),
        "the autoscaler is known",
        async || client.get(&path).await.json()["willStick"] == false,
    )
    .await;
    let answer = client.get(&format!("{path}/replicas")).await;
    assert_eq!(
        answer.header("x-also-set-by"),
        "HorizontalPodAutoscaler/shop;min=2;max=4"
    );
    let (headers, count) = ([JSON, REPRESENTATION], format!("{path}/replicas"));
    for (asked, warned, becomes) in [
        (9, "will lower it to 4; set its maxReplicas", 4),
        (1, "will raise it to 2; set its minReplicas", 2),
    ] {
        let body = json!({ "replicaCount": asked }).to_string();
        let put = client.send(Method::PUT, &count, &headers, &body);
        let answer = put.await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["replicaCount"], asked);
        let warning = answer.json()["warnings"][0].to_string();
        assert!(warning.contains(warned), "{warning}");
        eventually(Duration::from_secs(60), "the autoscaler acts", async || {
            world.count(ns, "shop").await == Some(becomes)
        })
        .await;
        let setter = client.get(&path).await.json()["lastSetBy"].clone();
        assert_eq!(setter["manager"], "kube-controller-manager", "{setter}");
        assert_eq!(setter["subresource"], "scale", "{setter}");
        assert!(setter.get("principal").is_none(), "{setter}");
    }
}

pub(super) async fn who_waits_for_a_count_is_told_that_an_autoscaler_took_it_back(world: &World) {
    let ns = "superseded";
    world.create(ns, "shop", Some(3), json!({})).await;
    // Ready Pods are available a minute later: the autoscaler is faster.
    let slow = json!({"spec": {"minReadySeconds": 60}});
    world.patch(ns, "shop", slow).await;
    world.autoscale(ns, "shop", 2, 4).await;
    let server = Setup::new(world.kubeconfig()).healthy().await;
    let path = format!("/namespaces/{ns}/deployments/shop/replicas");
    let wait = ("prefer", "return=representation, wait=50");
    let body = json!({ "replicaCount": 9 }).to_string();
    let headers = [JSON, wait];
    let put = server.client.send(Method::PUT, &path, &headers, &body);
    let answer = put.await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    assert_eq!(told["rollout"]["status"], "superseded", "{told}");
    assert_eq!(told["rollout"]["desired"], 4, "{told}");
    let message = told["rollout"]["message"].as_str().unwrap();
    assert_eq!(message, "somebody else has changed the count to 4 since");
}

pub(super) async fn a_gitops_tool_counts_unless_it_applies_no_count(world: &World) {
    let ns = "gitops";
    world.create_namespace(ns).await;
    let server = Setup::new(world.kubeconfig()).healthy().await;
    let flux = |count: Option<i32>, image: &str| {
        let app = json!({"app": "shop"});
        let mut object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "shop", "labels": {
                "kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
            }},
            "spec": {"selector": {"matchLabels": app}, "template": {
                "metadata": {"labels": app}, "spec": {"containers": [{"name": "app", "image": image}]},
            }},
        });
        if let Some(count) = count {
            object["spec"]["replicas"] = count.into();
        }
        object
    };
    let (client, path) = (&server.client, format!("/namespaces/{ns}/deployments/shop"));
    let becomes = async |sticks: Option<bool>, told_of: usize| {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let now = client.get(&path).await.json();
            let also = now["alsoSetBy"].as_array().map(Vec::len);
            if now["willStick"] == json!(sticks) && also == Some(told_of) {
                break;
            }
            assert!(Instant::now() < until, "{sticks:?}, {told_of}: {now}");
            sleep(Duration::from_millis(200)).await;
        }
    };
    world
        .apply(ns, "shop", "kustomize-controller", flux(Some(2), "app:1"))
        .await;
    becomes(Some(false), 1).await;
    world
        .apply(ns, "shop", "kustomize-controller", flux(None, "app:1"))
        .await;
    becomes(Some(true), 0).await;
    let body = json!({ "replicaCount": 5 }).to_string();
    let count = format!("{path}/replicas");
    let put = client.send(Method::PUT, &count, &[JSON], &body).await;
    assert_eq!(put.status, 200);
    // It may have been taken from the tool.
    becomes(None, 1).await;
    sleep(Duration::from_millis(1100)).await;
    world
        .apply(ns, "shop", "kustomize-controller", flux(None, "app:2"))
        .await;
    becomes(Some(true), 0).await;
    world
        .apply(ns, "shop", "kustomize-controller", flux(Some(2), "app:2"))
        .await;
    becomes(Some(false), 1).await;
}

pub(super) async fn the_history_tells_who_set_which_count_whoever_it_was(world: &World) {
    let ns = "remembered";
    world.create(ns, "shop", Some(3), json!({})).await;
    let server = Setup::new(world.kubeconfig()).healthy().await;
    let client = &server.client;
    let put = client.scale(ns, "shop", 9, &[]).await;
    assert_eq!(put.status, 200, "{}", put.text());
    let kubectl = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 8}});
    world.apply(ns, "shop", "kubectl", kubectl).await;
    world.autoscale(ns, "shop", 2, 4).await;
    let path = format!("/history?namespace={ns}");
    let changes = async || client.get(&path).await.json()["changes"].clone();
    eventually(Duration::from_secs(60), "the autoscaler acts", async || {
        changes().await[0]["to"] == 4
    })
    .await;
    let told = changes().await;
    let told: Vec<_> = told.as_array().unwrap().iter().collect();
    let counts: Vec<_> = told.iter().map(|c| [&c["from"], &c["to"]]).collect();
    assert_eq!(json!(counts), json!([[8, 4], [9, 8], [3, 9]]), "{told:?}");
    assert_eq!(told[0]["by"], json!({"manager": "kube-controller-manager"}));
    assert_eq!(told[1]["by"], json!({"manager": "kubectl"}));
    let manager = told[2]["by"]["manager"].as_str().unwrap();
    assert!(manager.starts_with("headcount:"), "{manager}");
    let principal = told[2]["by"]["principal"].as_str().unwrap();
    assert!(manager.contains(&format!(":{principal}@")), "{manager}");
}
