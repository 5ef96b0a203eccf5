//! Requests to the API of a server in this process.

use std::sync::Arc;

use bytes::Bytes;
use headcount::generation::Session;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};

use super::{
    super::{Answer, documented},
    InProcess,
};

impl InProcess {
    /// Sends a request to the API.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        self.sending(method, path, headers, body).await
    }

    /// The same as a future of its own, for those that are dropped or run side by side.
    pub(crate) fn sending(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> impl Future<Output = Answer> + Send + use<> {
        self.sending_as(&self.session, method, path, headers, body)
    }

    /// The same by somebody else.
    pub(crate) fn sending_as(
        &self,
        session: &Arc<Session>,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> impl Future<Output = Answer> + Send + use<> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::new(Bytes::from(body.to_owned())))
            .unwrap();
        let (api, session) = (Arc::clone(&self.api), Arc::clone(session));
        let (method, path) = (request.method().clone(), request.uri().to_string());
        async move {
            let began = tokio::time::Instant::now();
            let answer = api.answer(&session, session.caller(), request, began).await;
            let (parts, body) = answer.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let answer = Answer {
                status: parts.status,
                headers: parts.headers,
                body,
            };
            documented::check(&method, &path, &answer);
            answer
        }
    }

    /// `GET` of one count.
    pub(crate) async fn get(
        &self,
        namespace: &str,
        name: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        self.send(Method::GET, &replicas(namespace, name), headers, "")
            .await
    }

    /// `PUT` of one count.
    pub(crate) async fn put(
        &self,
        namespace: &str,
        name: &str,
        count: i32,
        headers: &[(&str, &str)],
    ) -> Answer {
        self.putting(namespace, name, count, headers).await
    }

    /// `PUT` of one count as a future of its own.
    pub(crate) fn putting(
        &self,
        namespace: &str,
        name: &str,
        count: i32,
        headers: &[(&str, &str)],
    ) -> impl Future<Output = Answer> + Send + use<> {
        let headers: Vec<_> = [("content-type", "application/json")]
            .iter()
            .chain(headers)
            .copied()
            .collect();
        self.sending(
            Method::PUT,
            &replicas(namespace, name),
            &headers,
            &format!("{{\"replicaCount\":{count}}}"),
        )
    }
}

fn replicas(namespace: &str, name: &str) -> String {
    format!("/namespaces/{namespace}/deployments/{name}/replicas")
}
