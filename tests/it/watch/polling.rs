//! A read of one count that waits for another.

use std::time::Duration;

use http::Method;
use tokio::time::Instant;

use super::{WATCH, served};
use crate::support::{Answer, Events, Setup, SimCluster};

const DETAIL: &str = "/namespaces/web/deployments/shop";
const REPLICAS: &str = "/namespaces/web/deployments/shop/replicas";

#[tokio::test]
async fn a_read_with_the_present_tag_waits_for_another_count() {
    let (sim, server) = served().await;
    let tag = server.client.get(REPLICAS).await.header("etag").to_owned();
    let poll = async |wait: &str| -> (Answer, Duration) {
        let headers = [("if-none-match", &*tag), ("prefer", wait)];
        let request = server.client.request(Method::GET, REPLICAS, &headers, "");
        let began = Instant::now();
        let answer = server.client.try_send(request).await.unwrap();
        (answer, began.elapsed())
    };
    let (unchanged, took) = poll("wait=1").await;
    assert_eq!(unchanged.status, 304);
    assert_eq!(unchanged.header("preference-applied"), "wait=1");
    assert!(took >= Duration::from_secs(1));
    let change = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        sim.cluster.scale("web", "shop", 9);
    };
    let ((changed, took), ()) = tokio::join!(poll("wait=30"), change);
    assert_eq!(
        (changed.status.as_u16(), &changed.json()["replicaCount"]),
        (200, &9.into())
    );
    assert!(took < Duration::from_secs(5), "{took:?}");
    // It has another tag already.
    assert_eq!(poll("wait=30").await.0.status, 200);
}

#[tokio::test]
async fn a_read_that_waits_is_404_when_its_deployment_goes() {
    let (sim, server) = served().await;
    let tag = server.client.get(REPLICAS).await.header("etag").to_owned();
    let headers = [("if-none-match", &*tag), ("prefer", "wait=30")];
    let request = server.client.request(Method::GET, REPLICAS, &headers, "");
    let change = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        sim.cluster.delete("web", "shop");
    };
    let (answer, ()) = tokio::join!(server.client.try_send(request), change);
    assert_eq!(answer.unwrap().status, 404);
}

#[tokio::test]
async fn waits_for_a_count_and_for_a_rollout_take_the_places_of_watches() {
    let sim = SimCluster::start().await;
    sim.create("web", "shop", 3);
    let mut setup = Setup::new(sim.kubeconfig());
    setup.limits.watches.per_caller = 1;
    let server = setup.healthy().await;
    let tag = server.client.get(REPLICAS).await.header("etag").to_owned();
    let mut watch = Events::open(&server.client, WATCH, &[]).await;
    assert_eq!(watch.told().await, "snapshot of 1");
    let ask = async |path: &str, headers: &[(&str, &str)]| {
        let request = server.client.request(Method::GET, path, headers, "");
        server.client.try_send(request).await.unwrap()
    };
    let poll = ask(REPLICAS, &[("if-none-match", &*tag), ("prefer", "wait=1")]).await;
    let rollout = ask(DETAIL, &[("prefer", "wait=1")]).await;
    for answer in [poll, rollout] {
        assert_eq!(answer.status, 429, "{}", answer.text());
        assert!(answer.headers.contains_key("retry-after"));
    }
    // Who doesn't wait needs no place.
    assert_eq!(ask(DETAIL, &[]).await.status, 200);
    assert_eq!(ask(REPLICAS, &[]).await.status, 200);
}
