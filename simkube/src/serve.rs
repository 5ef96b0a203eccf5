//! The API as a tower service, in process or on a port.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tower::Service;

use crate::body::Body;
use crate::cluster::{Cluster, Shared};

/// The simulated API as a tower service; clones are handles to the same cluster.
#[derive(Clone)]
pub struct ApiServer {
    shared: Arc<Shared>,
}

/// The connection to the API server failed: what [`Fault::Refuse`](crate::Fault::Refuse) means in process.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("connection refused by the simulated API server")]
pub struct TransportError;

impl ApiServer {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiServer").finish_non_exhaustive()
    }
}

impl<B> Service<Request<B>> for ApiServer
where
    B: http_body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Response = Response<Body>;
    type Error = TransportError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, TransportError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        Box::pin(crate::http::answer(self.shared.clone(), request))
    }
}

impl Cluster {
    /// Serves the API in plain HTTP/1.1 until `shutdown` is done; connections that are open then are cut.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let mut connections = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut shutdown => return,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(_) => {
                    // Out of file descriptors, most likely: some connection will end.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            // Reaps what has ended, so that the set holds open connections only.
            while connections.try_join_next().is_some() {}
            let _ = stream.set_nodelay(true);
            let shared = self.shared.clone();
            let api = service_fn(move |request| crate::http::answer(shared.clone(), request));
            connections.spawn(async move {
                // An error is a client that went away, or a fault that is meant.
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), api)
                    .await;
            });
        }
    }
}
