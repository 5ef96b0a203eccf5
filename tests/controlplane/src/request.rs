//! JSON requests with a deadline, to Kubernetes and to etcd's gateway.

use std::time::Duration;

use http::Request;
use http::header::CONTENT_TYPE;
use kube::Client;
use serde_json::Value;

use crate::Error;

const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) async fn get(client: &Client, path: &str) -> Result<Value, Error> {
    let action = || format!("GET {path}");
    let request = Request::get(path)
        .body(Vec::new())
        .map_err(Error::request(action()))?;
    send(client, request, action).await
}

pub(crate) async fn post(client: &Client, path: &str, body: &Value) -> Result<Value, Error> {
    let action = || format!("POST {path}");
    let request = Request::post(path)
        .header(CONTENT_TYPE, "application/json")
        .body(body.to_string().into_bytes())
        .map_err(Error::request(action()))?;
    send(client, request, action).await
}

async fn send(
    client: &Client,
    request: Request<Vec<u8>>,
    action: impl Fn() -> String,
) -> Result<Value, Error> {
    tokio::time::timeout(DEADLINE, client.request(request))
        .await
        .map_err(|_| Error::Deadline {
            action: action(),
            after: DEADLINE,
        })?
        .map_err(Error::request(action()))
}
