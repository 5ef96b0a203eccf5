//! Credentials and CAs that change while the server runs: what the cluster refuses, or can't be verified by, is read again.
//!
//! kube reads a token's file and a Pod's `ca.crt` again every minute, and everything else that a kubeconfig names never.

use std::{
    error::Error,
    future::Future,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use arc_swap::ArcSwap;
use http::{Request, Response, StatusCode};
use http_body_util::Either;
use hyper::body::Incoming;
use kube::client::Body;
use tokio::{
    sync::Mutex,
    task::spawn_blocking,
    time::{Instant, timeout},
};
use tower::{BoxError, Service, ServiceExt as _};
use tracing::{info, warn};

use super::connect::{ClusterConfig, ConnectError, Sender};

/// Files are not read, and plugins not run, more often than this.
const PACE: Duration = Duration::from_secs(5);
/// How long reading may take: a credential plugin may ask somebody on the network.
const READ: Duration = Duration::from_secs(10);

/// Sends with the credentials and CAs that were read last.
#[derive(Clone)]
pub(super) struct Authenticated(Arc<Shared>);

struct Shared {
    cluster: ClusterConfig,
    sender: ArcSwap<Sender>,
    /// When the files were last read; held while they are.
    read: Mutex<Instant>,
}

impl Authenticated {
    /// Begins with a sender of what was just read.
    pub(super) fn new(cluster: ClusterConfig, sender: Sender) -> Self {
        // The first refusal is no reason to wait.
        let long_ago = Instant::now().checked_sub(PACE);
        Self(Arc::new(Shared {
            cluster,
            sender: ArcSwap::from_pointee(sender),
            read: Mutex::new(long_ago.unwrap_or_else(Instant::now)),
        }))
    }
}

type Answer = Result<Response<Either<Incoming, Body>>, BoxError>;

impl Service<Request<Body>> for Authenticated {
    type Response = Response<Either<Incoming, Body>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            let copy = copy(&request);
            let used = shared.sender.load_full();
            let answer = Sender::clone(&used).oneshot(request).await;
            let Some(doubt) = Doubt::of(&answer) else {
                return answer;
            };
            match (shared.newer_than(&used, &doubt).await, copy) {
                // Neither was carried out.
                (Some(newer), Some(copy)) if doubt.unsent => {
                    Sender::clone(&newer).oneshot(copy).await
                }
                _ => answer,
            }
        })
    }
}

impl Shared {
    /// A sender that knows more than the one that was used, if there is one or can be.
    async fn newer_than(&self, used: &Arc<Sender>, doubt: &Doubt) -> Option<Arc<Sender>> {
        let mut read = self.read.lock().await;
        let present = self.sender.load_full();
        if !Arc::ptr_eq(&present, used) {
            return Some(present);
        }
        if read.elapsed() < PACE {
            return None;
        }
        *read = Instant::now();
        match timeout(READ, self.read_again()).await {
            Ok(Ok(sender)) => {
                let sender = Arc::new(sender);
                self.sender.store(Arc::clone(&sender));
                info!(name: "kubernetes.credentials.read", reason = %doubt.why,
                    "credentials and CAs for the Kubernetes API were read again");
                Some(sender)
            }
            Ok(Err(error)) => {
                warn!(name: "kubernetes.credentials.unreadable", error = %error, reason = %doubt.why,
                    "credentials and CAs for the Kubernetes API can't be read again, those before stay");
                None
            }
            Err(_elapsed) => {
                warn!(name: "kubernetes.credentials.unreadable", error = "no end", reason = %doubt.why,
                    "reading credentials for the Kubernetes API again took longer than {} s, those before stay", READ.as_secs());
                None
            }
        }
    }

    async fn read_again(&self) -> Result<Sender, ConnectError> {
        let cluster = self.cluster.read_again().await?;
        // A credential plugin is waited for on a thread that nobody else needs.
        spawn_blocking(move || cluster.sender())
            .await
            .map_err(|e| ConnectError::NoCluster(e.to_string()))?
    }
}

/// Why what was read may be out of date.
struct Doubt {
    why: String,
    /// Whether the request can't have been carried out.
    unsent: bool,
}

impl Doubt {
    fn of(answer: &Answer) -> Option<Self> {
        match answer {
            Ok(response) if response.status() == StatusCode::UNAUTHORIZED => Some(Self {
                why: "the cluster answered 401".into(),
                unsent: true,
            }),
            Ok(_) => None,
            Err(error) => {
                let mut tls = None;
                let mut connecting = false;
                let mut next: Option<&(dyn Error + 'static)> = Some(&**error);
                while let Some(cause) = next {
                    connecting |= cause
                        .downcast_ref::<hyper_util::client::legacy::Error>()
                        .is_some_and(|e| e.is_connect());
                    tls = tls.or_else(|| of_tls(cause));
                    next = cause.source();
                }
                tls.map(|tls| Self {
                    why: tls.to_string(),
                    unsent: connecting,
                })
            }
        }
    }
}

/// The error of TLS that an error is, or that an I/O error has inside, however deep.
fn of_tls<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    cause.downcast_ref().or_else(|| {
        let inside = cause.downcast_ref::<io::Error>()?.get_ref()?;
        of_tls(inside)
    })
}

/// The request once more, if its body is one that can be sent twice: all of this server's are.
fn copy(request: &Request<Body>) -> Option<Request<Body>> {
    let mut copy = Request::new(request.body().try_clone()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}
