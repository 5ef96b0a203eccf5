//! Images: what setting one changes, and what it doesn't.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use super::{Setup, World, keep_busy};
use crate::support::{Answer, Client, eventually};

const JSON: (&str, &str) = ("content-type", "application/json");
const REPRESENTATION: (&str, &str) = ("prefer", "return=representation");

fn containers(namespace: &str) -> String {
    format!("/namespaces/{namespace}/deployments/shop/containers")
}

/// Sets the image of a container of `shop`.
async fn set(
    client: &Client,
    namespace: &str,
    container: &str,
    image: &str,
    headers: &[(&str, &str)],
) -> Answer {
    let path = format!("{}/{container}/image", containers(namespace));
    let headers: Vec<_> = [JSON].iter().chain(headers).copied().collect();
    let body = json!({ "image": image }).to_string();
    client.send(Method::PUT, &path, &headers, &body).await
}

async fn read(client: &Client, namespace: &str) -> Value {
    let answer = client.get(&containers(namespace)).await;
    answer.json()["containers"].clone()
}

pub(super) async fn an_image_is_set_read_back_at_once_and_left_alone_otherwise(world: &World) {
    let ns = "image";
    world.create(ns, "shop", Some(2), json!({})).await;
    let server = Setup::new(world.kubeconfig()).healthy().await;
    assert_eq!(
        read(&server.client, ns).await,
        json!([{"name": "app", "image": "app:1"}])
    );
    let answer = set(
        &server.client,
        ns,
        "app",
        "example.org/app:2",
        &[REPRESENTATION],
    )
    .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    assert_eq!(
        (&told["previousImage"], &told["image"], &told["changed"]),
        (&json!("app:1"), &json!("example.org/app:2"), &json!(true))
    );
    assert_eq!(
        read(&server.client, ns).await,
        json!([{"name": "app", "image": "example.org/app:2"}])
    );
    assert_eq!(server.client.count(ns, "shop").await, Ok(2));
    // The status of the rollout makes further versions, so the first answer to see is that of a quiet Deployment.
    eventually(
        Duration::from_secs(30),
        "a write that changes nothing",
        async || {
            let again = set(
                &server.client,
                ns,
                "app",
                "example.org/app:2",
                &[REPRESENTATION],
            )
            .await;
            let version = again.header("x-resource-version").to_owned();
            again.json()["changed"] == false
                && server
                    .client
                    .get(&containers(ns))
                    .await
                    .header("x-resource-version")
                    == version
        },
    )
    .await;
}

pub(super) async fn a_container_that_is_not_there_is_not_added(world: &World) {
    let ns = "image-unknown";
    world.create(ns, "shop", Some(0), json!({})).await;
    let server = Setup::new(world.kubeconfig()).healthy().await;
    let answer = set(&server.client, ns, "side", "app:2", &[]).await;
    assert_eq!(answer.status, 404, "{}", answer.text());
    assert_eq!(
        read(&server.client, ns).await,
        json!([{"name": "app", "image": "app:1"}])
    );
}

pub(super) async fn a_dry_run_of_an_image_changes_nothing(world: &World) {
    let ns = "image-dry";
    world.create(ns, "shop", Some(0), json!({})).await;
    let server = Setup::new(world.kubeconfig()).healthy().await;
    let path = format!("{}/app/image?dryRun=true", containers(ns));
    let body = r#"{"image":"app:2"}"#;
    let answer = server
        .client
        .send(Method::PUT, &path, &[JSON, REPRESENTATION], body)
        .await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("x-dry-run")),
        (200, "true")
    );
    assert_eq!(answer.json()["image"], "app:2");
    assert_eq!(
        read(&server.client, ns).await,
        json!([{"name": "app", "image": "app:1"}])
    );
}

pub(super) async fn of_many_who_set_an_image_with_the_same_tag_one_wins(world: &World) {
    let ns = "image-race";
    world.create(ns, "shop", Some(0), json!({})).await;
    let server = Setup::new(world.kubeconfig()).healthy().await;
    let client = &server.client;
    let tag = client.get(&containers(ns)).await.header("etag").to_owned();
    let write = |turn: i32| {
        let guard = tag.clone();
        async move {
            let image = format!("app:{turn}");
            let answer = set(client, ns, "app", &image, &[("if-match", &guard)]).await;
            (image, answer.status.as_u16())
        }
    };
    let results = futures_util::future::join_all((2..12).map(write)).await;
    let won: Vec<_> = results
        .iter()
        .filter(|(_, status)| *status == 200)
        .collect();
    assert_eq!(won.len(), 1, "{results:?}");
    assert!(
        results
            .iter()
            .all(|(_, status)| [200, 412].contains(status)),
        "{results:?}"
    );
    assert_eq!(read(client, ns).await[0]["image"], won[0].0);
}

pub(super) async fn an_image_of_a_busy_deployment_can_be_set(world: &World) {
    let ns = "image-busy";
    world.create(ns, "shop", Some(0), json!({})).await;
    let server = Setup::new(world.kubeconfig()).healthy().await;
    for turn in 2..8 {
        let image = format!("app:{turn}");
        let writing = set(&server.client, ns, "app", &image, &[]);
        let ((), answer) = tokio::join!(keep_busy(world, ns), writing);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(read(&server.client, ns).await[0]["image"], image);
    }
}

/// Alone, since the API server has to stand still while the caller goes.
pub(super) async fn an_image_is_set_though_its_caller_hangs_up(world: &World) {
    let ns = "image-gone";
    world.create(ns, "shop", Some(0), json!({})).await;
    let server = Setup::new(world.kubeconfig()).healthy().await;
    assert_eq!(read(&server.client, ns).await[0]["image"], "app:1");
    world.stop_api_server();
    let body = r#"{"image":"app:2"}"#;
    let request = format!(
        "PUT /api/v1{}/app/image HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        containers(ns),
        body.len()
    );
    let mut caller = server.client.connect().await.unwrap();
    caller.write_all(request.as_bytes()).await.unwrap();
    caller.flush().await.unwrap();
    // What is answered later was sent later.
    server.client.get(&containers("none")).await;
    drop(caller);
    world.continue_api_server();
    eventually(Duration::from_secs(30), "the write", async || {
        read(&server.client, ns).await[0]["image"] == "app:2"
    })
    .await;
}
