//! The API server goes away, and comes back.

use std::time::Duration;

use http::Method;
use serde_json::json;

use super::{Setup, World, eventually};
use crate::support::TestServer;

const TOLD: Duration = Duration::from_secs(10);
const HEALED: Duration = Duration::from_secs(30);

async fn is_told_and_reads_go_on(server: &TestServer, ns: &str) {
    eventually(TOLD, "health says so", async || {
        server.client.get("/health").await.status == 503
    })
    .await;
    let health = server.client.get("/health").await;
    assert_eq!(health.json()["status"], "unhealthy");
    assert!(!health.json()["error"].as_str().unwrap().is_empty());
    assert!(health.headers.contains_key("retry-after"));
    assert_eq!(server.client.count(ns, "shop").await, Ok(2));
    let write = server.client.scale(ns, "shop", 5, &[]).await;
    assert_eq!(write.status, 503, "{}", write.text());
    assert!(write.headers.contains_key("retry-after"));
    eventually(TOLD, "the age shows", async || {
        server
            .client
            .get("/deployments")
            .await
            .header("age")
            .parse::<u64>()
            .unwrap()
            >= 5
    })
    .await;
}

pub(super) async fn a_killed_api_server_is_told_within_ten_seconds_and_heals(world: &World) {
    let ns = "killed";
    world.create(ns, "shop", Some(2), json!({})).await;
    let server = Setup::new(world.kubeconfig()).healthy().await;
    world.kill_api_server().await;
    is_told_and_reads_go_on(&server, ns).await;
    world.start_api_server().await;
    server.becomes_healthy(HEALED).await;
    world.scale(ns, "shop", 3).await;
    eventually(HEALED, "a later change", async || {
        server.client.count(ns, "shop").await == Ok(3)
    })
    .await;
    assert_eq!(server.client.scale(ns, "shop", 4, &[]).await.status, 200);
}

pub(super) async fn a_stopped_api_server_is_told_within_ten_seconds_and_heals(world: &World) {
    let ns = "stopped";
    world.create(ns, "shop", Some(2), json!({})).await;
    let server = Setup::new(world.kubeconfig()).healthy().await;
    world.stop_api_server();
    is_told_and_reads_go_on(&server, ns).await;
    world.continue_api_server();
    server.becomes_healthy(HEALED).await;
    world.scale(ns, "shop", 3).await;
    eventually(HEALED, "a later change", async || {
        server.client.count(ns, "shop").await == Ok(3)
    })
    .await;
}

pub(super) async fn history_compacted_away_is_listed_anew(world: &World) {
    let ns = "compacted";
    world.create(ns, "shop", Some(2), json!({})).await;
    world.create(ns, "gone", Some(2), json!({})).await;
    let (proxy, kubeconfig) = world.through_proxy().await;
    let server = Setup::new(&kubeconfig).healthy().await;
    proxy.close(true);
    proxy.cut();
    world.scale(ns, "shop", 7).await;
    world.delete(ns, "gone").await;
    for turn in 0..5 {
        world.scale(ns, "shop", 7 + turn).await;
    }
    world.forget_history().await;
    assert_eq!(server.client.count(ns, "shop").await, Ok(2));
    proxy.close(false);
    eventually(HEALED, "what was missed", async || {
        server.client.count(ns, "shop").await == Ok(11)
            && server.client.count(ns, "gone").await.is_err()
    })
    .await;
    server.becomes_healthy(HEALED).await;
}

pub(super) async fn a_server_started_before_its_cluster_waits_for_it(world: &World) {
    let ns = "early";
    world.create(ns, "shop", Some(2), json!({})).await;
    let (proxy, kubeconfig) = world.through_proxy().await;
    proxy.close(true);
    let server = Setup::new(&kubeconfig).start().await;
    for path in [
        "/deployments",
        "/health",
        "/namespaces/early/deployments/shop/replicas",
    ] {
        let answer = server.client.get(path).await;
        assert_eq!(answer.status, 503, "{path}");
        assert!(answer.headers.contains_key("retry-after"), "{path}");
    }
    assert_eq!(
        server
            .client
            .send(Method::GET, "/nowhere", &[], "")
            .await
            .status,
        404
    );
    assert_eq!(server.client.scale(ns, "shop", 3, &[]).await.status, 503);
    proxy.close(false);
    server.becomes_healthy(HEALED).await;
    assert_eq!(server.client.count(ns, "shop").await, Ok(2));
}
