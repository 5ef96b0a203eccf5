//! Details, restarts, pauses, rollbacks and steps, with Pods that start.

use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Setup, World};
use crate::support::{Answer, Client};

const JSON: (&str, &str) = ("content-type", "application/json");
const WAITING: (&str, &str) = ("prefer", "return=representation, wait=240");

async fn send(client: &Client, method: Method, path: &str, body: &Value) -> Answer {
    let body = body.to_string();
    client.send(method, path, &[JSON, WAITING], &body).await
}

/// `POST` of a call below a Deployment that takes nothing.
async fn call(client: &Client, path: &str, call: &str) -> Answer {
    send(client, Method::POST, &format!("{path}/{call}"), &json!({})).await
}

async fn detail(client: &Client, path: &str) -> Value {
    client.get(path).await.json()
}

pub(super) async fn a_rollout_is_waited_for_and_who_made_it_is_told(world: &World) {
    let ns = "rollout";
    world.create(ns, "shop", Some(2), json!({})).await;
    let server = Setup::new(world.kubeconfig()).healthy().await;
    let (client, path) = (&server.client, format!("/namespaces/{ns}/deployments/shop"));
    let body = json!({ "replicaCount": 4 });
    let answer = send(client, Method::PUT, &format!("{path}/replicas"), &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["rollout"]["status"], "complete");
    let told = detail(client, &path).await;
    assert_eq!(
        told["replicas"],
        json!({"desired": 4, "current": 4, "updated": 4, "ready": 4, "available": 4})
    );
    if world.is_real() {
        let setter = &told["lastSetBy"];
        assert_eq!(
            (&setter["manager"], &setter["subresource"]),
            (&json!("headcount"), &json!("scale"))
        );
        assert_eq!(
            setter["principal"],
            detail(client, "/whoami").await["principal"]
        );
        let at: Timestamp = setter["at"].as_str().unwrap().parse().unwrap();
        assert!(at.duration_until(Timestamp::now()).as_secs() < 300, "{at}");
    }
    let answer = call(client, &path, "restart").await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(
        answer.json()["rollout"]["status"],
        "complete",
        "{}",
        answer.text()
    );
}

pub(super) async fn a_step_is_made_once_by_whichever_server_is_asked(world: &World) {
    let ns = "step";
    world.create(ns, "shop", Some(2), json!({})).await;
    let server = Setup::new(world.kubeconfig()).healthy().await;
    let other = Setup::new(world.kubeconfig()).healthy().await;
    let shop = format!("/namespaces/{ns}/deployments/shop");
    let path = format!("{shop}/replicas");
    // The API server keeps no owner of a Scale that is replaced by one with 0 replicas, nor of any after it.
    for count in [0, 2, 0, 2] {
        let body = json!({ "replicaCount": count }).to_string();
        let put = server.client.send(Method::PUT, &path, &[JSON], &body);
        let answer = put.await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        if world.is_real() {
            let told = detail(&server.client, &shop).await;
            assert_eq!(told["replicas"]["desired"], count);
            assert_eq!(told["lastSetBy"]["manager"], "headcount", "{told}");
        }
    }
    let headers = [JSON, ("idempotency-key", "one")];
    // On simkube nobody keeps managed fields, so there each server knows only its own.
    let again = if world.is_real() { &other } else { &server };
    for asked in [&server, again, again] {
        let answer = asked
            .client
            .send(Method::PATCH, &path, &headers, r#"{"delta":3}"#)
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(world.count(ns, "shop").await, Some(5));
}

pub(super) async fn a_bad_image_is_taken_back(world: &World) {
    let ns = "rollback";
    world.create(ns, "shop", Some(2), json!({})).await;
    let server = Setup::new(world.kubeconfig()).healthy().await;
    let (client, path) = (&server.client, format!("/namespaces/{ns}/deployments/shop"));
    let first = client
        .send(Method::GET, &path, &[("prefer", "wait=240")], "")
        .await;
    assert_eq!(first.status, 200, "{}", first.text());
    let refused = call(client, &path, "rollback").await;
    assert_eq!(refused.status, 404, "{}", refused.text());
    let image = json!({ "image": "app:bad" });
    let answer = send(
        client,
        Method::PUT,
        &format!("{path}/containers/app/image"),
        &image,
    )
    .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(detail(client, &path).await["revision"], 2);
    for call_of in ["rollback?dryRun=true", "rollback"] {
        let answer = call(client, &path, call_of).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let told = answer.json();
        assert_eq!(
            [
                &told["previousRevision"],
                &told["revision"],
                &told["changed"]
            ],
            [&json!(2), &json!(1), &json!(true)],
            "{call_of}"
        );
    }
    for (revision, changed) in [(3, false), (2, true)] {
        let body = json!({ "revision": revision });
        let path = format!("{path}/rollback?dryRun=true");
        let told = send(client, Method::POST, &path, &body).await.json();
        assert_eq!(told["changed"], changed, "{told}");
    }
    let now = detail(client, &path).await;
    assert_eq!(
        now["containers"][0]["image"],
        first.json()["containers"][0]["image"]
    );
    assert_eq!(now["revision"], 3);
    let paused = send(
        client,
        Method::PUT,
        &format!("{path}/paused"),
        &json!({"paused": true}),
    )
    .await;
    assert_eq!(paused.status, 200, "{}", paused.text());
    let refused = call(client, &path, "rollback").await;
    assert_eq!(refused.status, 409, "{}", refused.text());
}
