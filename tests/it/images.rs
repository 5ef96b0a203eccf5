//! Containers that are read, and images that are set: their answers, what is sent for them, and what others do meanwhile.
//!
//! All run in this process with paused time but for those who hang up; what writes have in common is tested with counts.

mod logging;
mod reading;
mod setting;

use http::Method;
use simkube::{Cluster, NewDeployment, Options, SeenRequest};

use crate::support::{Answer, InProcess};

const CONTAINERS: &str = "/namespaces/web/deployments/shop/containers";
const MAIN: &str = "/namespaces/web/deployments/shop/containers/main/image";
const UPDATED: &str = r#"{"message":"Image updated successfully."}"#;

/// A cluster with `web/shop`, whose one container `main` has the image `shop:1`, and a server that has seen it.
async fn shop() -> InProcess {
    let cluster = Cluster::new(Options::default());
    let shop = NewDeployment::new("web", "shop").image("shop:1");
    cluster.create(shop).unwrap();
    let server = InProcess::synced(&cluster).await;
    // A moment, so that the watch is open.
    tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    server
}

/// `GET` of the containers.
async fn read(server: &InProcess, headers: &[(&str, &str)]) -> Answer {
    server.send(Method::GET, CONTAINERS, headers, "").await
}

/// `PUT` of the image of `main`.
fn setting(
    server: &InProcess,
    image: &str,
    headers: &[(&str, &str)],
) -> impl Future<Output = Answer> + Send + use<> {
    setting_at(server, MAIN, image, headers)
}

fn setting_at(
    server: &InProcess,
    path: &str,
    image: &str,
    headers: &[(&str, &str)],
) -> impl Future<Output = Answer> + Send + use<> {
    let headers: Vec<_> = [("content-type", "application/json")]
        .iter()
        .chain(headers)
        .copied()
        .collect();
    let body = serde_json::json!({ "image": image }).to_string();
    server.sending(Method::PUT, path, &headers, &body)
}

/// The image that `main` has in the answer to a read.
async fn image(server: &InProcess) -> String {
    let read = read(server, &[]).await.json();
    read["containers"][0]["image"].as_str().unwrap().to_owned()
}

/// The patches that have reached the cluster.
fn patches(server: &InProcess) -> Vec<SeenRequest> {
    let mut seen = server.cluster.requests();
    seen.retain(|r| r.method == Method::PATCH);
    seen
}

/// Status and body, for assertions that show both.
fn told(answer: &Answer) -> (u16, &str) {
    (answer.status.as_u16(), answer.text())
}

/// Gives `web/shop` an init container `prepare` with the image `tools:1`, and waits until the server has seen that.
async fn give_init_container(server: &InProcess) {
    let client = kube::Client::new(server.cluster.service(), "web");
    let deployments =
        kube::Api::<k8s_openapi::api::apps::v1::Deployment>::namespaced(client, "web");
    let prepare = serde_json::json!([{ "name": "prepare", "image": "tools:1" }]);
    let patch =
        serde_json::json!({ "spec": { "template": { "spec": { "initContainers": prepare } } } });
    let patch = kube::api::Patch::Strategic(patch);
    deployments
        .patch("shop", &Default::default(), &patch)
        .await
        .unwrap();
    server.converges(std::time::Duration::from_secs(1)).await;
    server.cluster.clear_requests();
}
