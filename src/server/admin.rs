//! The admin listener: `/livez`, `/readyz` and `/metrics` over plain HTTP, for a kubelet and a Prometheus. Nothing else.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    task::AbortHandle,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use crate::{
    kubernetes::{Connection, InformerStatus},
    telemetry::metrics::Metrics,
};

/// Connections at once; a kubelet and a Prometheus need few.
const CONNECTIONS: usize = 64;
/// How long a connection may take for its one request and the answer.
const REQUEST: Duration = Duration::from_secs(5);

/// What the admin listener tells of.
pub struct Admin {
    /// The informer's state, for readiness.
    pub status: Arc<InformerStatus>,
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// Cancelled once a shutdown has begun: no longer ready.
    pub stopping: CancellationToken,
}

impl Admin {
    /// Answers until the process ends, through a drain too. Its connections end with `connections`.
    pub async fn run(self: Arc<Self>, listener: TcpListener, connections: TaskTracker) {
        let mut open: VecDeque<AbortHandle> = VecDeque::with_capacity(CONNECTIONS);
        loop {
            let tcp = match listener.accept().await {
                Ok((tcp, _)) => tcp,
                Err(error) => {
                    warn!(name: "admin.accept.failed", error = %error, "failed to accept an admin connection, pausing");
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            open.retain(|connection| !connection.is_finished());
            if open.len() == CONNECTIONS {
                // The oldest has had the most time, and the new one may be a kubelet's.
                open.drain(..1).for_each(|oldest| oldest.abort());
            }
            let admin = Arc::clone(&self);
            let connection = connections.spawn(async move {
                let service = service_fn(|request| {
                    std::future::ready(Ok::<_, Infallible>(admin.answer(&request)))
                });
                let mut http1 = http1::Builder::new();
                // One request each, so that nobody's connections stand in the way of a kubelet's.
                http1.keep_alive(false).header_read_timeout(None);
                // A peer that goes away, or is slow, is no news here.
                let _ = timeout(REQUEST, http1.serve_connection(TokioIo::new(tcp), service)).await;
            });
            open.push_back(connection.abort_handle());
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let known = matches!(request.uri().path(), "/livez" | "/readyz" | "/metrics");
        if !known {
            return text(
                StatusCode::NOT_FOUND,
                "not found: there are /livez, /readyz and /metrics\n".into(),
            );
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = text(
                StatusCode::METHOD_NOT_ALLOWED,
                "method not allowed: GET and HEAD are\n".into(),
            );
            response
                .headers_mut()
                .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        match request.uri().path() {
            "/livez" => text(StatusCode::OK, "ok\n".into()),
            "/readyz" => self.ready(),
            _ => {
                let connected = self.status.connection() == Connection::Connected;
                let synced = self.status.store().snapshot().synced();
                let mut response = text(
                    StatusCode::OK,
                    self.metrics.render(synced, connected, self.status.age()),
                );
                let open_metrics = HeaderValue::from_static(
                    "application/openmetrics-text; version=1.0.0; charset=utf-8",
                );
                response
                    .headers_mut()
                    .insert(header::CONTENT_TYPE, open_metrics);
                response
            }
        }
    }

    /// Ready once synced, until the drain. A lost cluster changes nothing: reads go on, and if all servers
    /// became unready together nobody would be served.
    fn ready(&self) -> Response<Full<Bytes>> {
        if self.stopping.is_cancelled() {
            text(
                StatusCode::SERVICE_UNAVAILABLE,
                "not ready: shutting down\n".into(),
            )
        } else if !self.status.store().snapshot().synced() {
            text(
                StatusCode::SERVICE_UNAVAILABLE,
                "not ready: the first list of Deployments isn't complete\n".into(),
            )
        } else {
            text(StatusCode::OK, "ok\n".into())
        }
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}
