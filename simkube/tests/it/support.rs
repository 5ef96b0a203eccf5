//! Bare requests to the service, and their answers.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;
use simkube::{Body, Cluster, NewDeployment, Options, TransportError};
use tower::ServiceExt as _;

pub(crate) const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
pub(crate) const ALL: &str = "/apis/apps/v1/deployments";
pub(crate) const SHOP: &str = "/apis/apps/v1/namespaces/shop/deployments";

/// `cart` (3), `checkout` (2) and `search` (1) in `shop`.
pub(crate) fn shop() -> Cluster {
    let cluster = Cluster::new(Options::default());
    for (name, replicas) in [("cart", 3), ("checkout", 2), ("search", 1)] {
        cluster.create(
            NewDeployment::new("shop", name)
                .replicas(replicas)
                .label("app", name)
                .label("tier", "web"),
        );
    }
    cluster
}

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let json = self.json();
        json["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["metadata"]["name"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The events of a JSON watch as (type, name or version of a bookmark, resourceVersion).
    pub(crate) fn events(&self) -> Vec<(String, String, String)> {
        let text = std::str::from_utf8(&self.body).unwrap();
        text.lines()
            .map(|line| {
                let event: Value = serde_json::from_str(line).unwrap();
                let text = |pointer: &str| {
                    event
                        .pointer(pointer)
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                        .to_owned()
                };
                (
                    text("/type"),
                    text("/object/metadata/name"),
                    text("/object/metadata/resourceVersion"),
                )
            })
            .collect()
    }
}

pub(crate) fn request(
    method: &str,
    uri: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::new(body.into())).unwrap()
}

/// Sends a request; the body is still to be read.
pub(crate) async fn open(
    cluster: &Cluster,
    request: Request<Full<Bytes>>,
) -> Result<http::Response<Body>, TransportError> {
    cluster.service().oneshot(request).await
}

pub(crate) async fn send(cluster: &Cluster, request: Request<Full<Bytes>>) -> Answer {
    let (parts, body) = open(cluster, request).await.unwrap().into_parts();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: body.collect().await.unwrap().to_bytes(),
    }
}

pub(crate) async fn get(cluster: &Cluster, uri: &str) -> Answer {
    send(cluster, request("GET", uri, &[], "")).await
}

pub(crate) async fn get_as(cluster: &Cluster, uri: &str, accept: &str) -> Answer {
    send(cluster, request("GET", uri, &[("accept", accept)], "")).await
}

pub(crate) async fn patch(cluster: &Cluster, uri: &str, patch: Value) -> Answer {
    let headers = [("content-type", "application/merge-patch+json")];
    send(cluster, request("PATCH", uri, &headers, patch.to_string())).await
}

pub(crate) async fn put(cluster: &Cluster, uri: &str, body: &Value) -> Answer {
    send(
        cluster,
        request(
            "PUT",
            uri,
            &[("content-type", "application/json")],
            body.to_string(),
        ),
    )
    .await
}

/// The next piece of a body, `None` at its end; fails if none comes within `time`.
pub(crate) async fn piece(
    body: &mut Body,
    time: Duration,
) -> Option<Result<Bytes, simkube::BodyError>> {
    let frame = tokio::time::timeout(time, body.frame())
        .await
        .expect("a piece in time");
    frame.map(|frame| frame.map(|frame| frame.into_data().unwrap()))
}

/// Whether nothing comes within `time`.
pub(crate) async fn silent(body: &mut Body, time: Duration) -> bool {
    tokio::time::timeout(time, body.frame()).await.is_err()
}
