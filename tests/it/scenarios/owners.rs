//! An autoscaler that fights for a count.

use std::time::Duration;

use http::Method;
use serde_json::json;

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
        Duration::from_secs(10),
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
        // So the caller sees who it was.
        let setter = client.get(&path).await.json()["lastSetBy"].to_string();
        assert!(!setter.contains("\"headcount\""), "{setter}");
    }
}
