//! Counts for some time.

use std::time::Duration;

use headcount::config::LeaseSettings;
use http::Method;
use serde_json::{Value, json};

use super::{Setup, World, eventually};

const JSON: (&str, &str) = ("content-type", "application/json");
const REPRESENTATION: (&str, &str) = ("prefer", "return=representation");

pub(super) async fn a_leased_count_goes_back_and_one_that_others_set_is_left_to_them(
    world: &World,
) {
    let ns = "leased";
    world.create(ns, "shop", Some(3), json!({})).await;
    let setup = || Setup {
        leases: LeaseSettings {
            namespace: Some(ns.into()),
            ..LeaseSettings::default()
        },
        ..Setup::new(world.kubeconfig())
    };
    let server = setup().healthy().await;
    let (client, path) = (
        &server.client,
        format!("/namespaces/{ns}/deployments/shop/lease"),
    );
    eventually(Duration::from_secs(60), "leases are known", async || {
        client.get("/leases").await.status == 200
    })
    .await;
    let take = async |count: i32, seconds: u32| -> Value {
        let body = json!({"replicaCount": count, "durationSeconds": seconds}).to_string();
        let headers = [JSON, REPRESENTATION];
        let taken = client.send(Method::PUT, &path, &headers, &body).await;
        assert_eq!(taken.status, 200, "{}", taken.text());
        taken.json()["lease"].clone()
    };
    let lease = take(5, 10).await;
    assert_eq!(
        (&lease["state"], &lease["previousReplicaCount"]),
        (&json!("held"), &json!(3))
    );
    assert_eq!(world.count(ns, "shop").await, Some(5));
    let other = setup().healthy().await;
    eventually(
        Duration::from_secs(60),
        "another server has it",
        async || other.client.get(&path).await.json()["until"] == lease["until"],
    )
    .await;
    eventually(Duration::from_secs(60), "the count goes back", async || {
        world.count(ns, "shop").await == Some(3) && client.get(&path).await.status == 404
    })
    .await;

    take(6, 3600).await;
    world.scale(ns, "shop", 7).await;
    eventually(Duration::from_secs(30), "it is overtaken", async || {
        client.get(&path).await.status == 404
    })
    .await;
    assert_eq!(world.count(ns, "shop").await, Some(7));

    // Of the count that is there, which its owner has beside the lease.
    let same = take(7, 3600).await;
    assert_eq!(same["previousReplicaCount"], 7);
    let body = json!({"durationSeconds": 7200}).to_string();
    let extended = client.send(Method::PATCH, &path, &[JSON], &body).await;
    assert_eq!(extended.status, 200, "{}", extended.text());
    let raised = take(8, 3600).await;
    assert_eq!(raised["previousReplicaCount"], 7);
    let ended = client
        .send(Method::DELETE, &path, &[REPRESENTATION], "")
        .await;
    assert_eq!(ended.json()["reverted"], true, "{}", ended.text());
    assert_eq!(world.count(ns, "shop").await, Some(7));
    assert_eq!(client.get("/leases").await.json(), json!([]));

    // Each owner of a count is an entry of the Deployment, which has room for so many.
    let before = world.owners(ns, "shop").await;
    for _ in 0..20 {
        take(7, 3600).await;
        assert_eq!(client.scale(ns, "shop", 7, &[]).await.status, 200);
        let ended = client.send(Method::DELETE, &path, &[], "").await;
        assert_eq!(ended.status, 200, "{}", ended.text());
    }
    assert_eq!(world.owners(ns, "shop").await, before);
}
