//! The REST API under `/api/v1`: routes, the order of judgement, and one file a resource.
//!
//! A handler sees a request and who sent it, never a connection; every failure is an [`ApiError`].

mod body;
mod containers;
mod deployments;
mod error;
mod headers;
mod health;
mod path;
mod preconditions;
mod replicas;
mod request;
mod write;

use std::{panic::AssertUnwindSafe, sync::Arc};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderValue, Method, Request, Response, header, request::Parts};
use tokio_util::task::TaskTracker;

pub use body::Body;
use containers::Image;
pub use error::ApiError;
use path::Route;
use replicas::Replicas;
use request::{RequestId, Trace};
use write::Origin;

use crate::{
    kubernetes::{Deployments, InformerStatus},
    telemetry::metrics::Metrics,
    tls::Identity,
};

/// A URI longer than this is 414.
const LONGEST_URI: usize = 8 * 1024;
/// Headers that are larger than this together are 431.
const LARGEST_HEADERS: usize = 32 * 1024;

/// Who sent a request, and from where.
#[derive(Debug, Clone)]
pub struct Caller {
    /// What its certificate says.
    pub identity: Identity,
    /// The address of its end of the connection.
    pub address: std::net::SocketAddr,
}

/// What the configuration says of writes.
#[derive(Debug, Clone, Copy)]
pub struct WriteRules {
    /// Every write is refused.
    pub read_only: bool,
    /// The largest count that may be set.
    pub max_replicas: i32,
    /// Whether images may be set.
    pub enable_image: bool,
}

/// The API of one server; connections share it.
pub struct Api {
    status: Arc<InformerStatus>,
    deployments: Deployments,
    writes: WriteRules,
    metrics: Arc<Metrics>,
    compressed: deployments::Compressed,
    /// Writes go on when their caller hangs up; a shutdown waits for them.
    tasks: TaskTracker,
}

impl Api {
    /// An API that reads from the store of `status` and writes through `deployments`; `tasks` holds the writes under way.
    pub fn new(
        status: Arc<InformerStatus>,
        deployments: Deployments,
        writes: WriteRules,
        metrics: Arc<Metrics>,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            status,
            deployments,
            writes,
            metrics,
            tasks,
            compressed: Default::default(),
        }
    }

    /// Answers one request, whatever it is.
    pub async fn answer<B>(
        self: &Arc<Self>,
        caller: &Arc<Caller>,
        request: Request<B>,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: std::fmt::Display,
    {
        let (request, mut content) = request.into_parts();
        let id = RequestId::of(&request.headers);
        let route = Route::of(request.uri.path());
        let label = route.as_ref().map_or("none", Route::template);
        // A handler that panics costs one request, not the connection's other ones.
        let handled = AssertUnwindSafe(self.judge(caller, &id, route, &request, &mut content))
            .catch_unwind()
            .await;
        let mut response = match handled.unwrap_or(Err(ApiError::Panicked)) {
            Ok(response) => response,
            Err(error) => error.into_response(),
        };
        self.metrics
            .answered(label, &request.method, response.status());
        response
            .headers_mut()
            .insert(&headers::REQUEST_ID, id.into());
        let unread = !content.is_end_stream();
        let awaited = unread && request::awaited(&request);
        if awaited || request.headers.contains_key(header::TRANSFER_ENCODING) {
            // Nobody knows whether an awaited body comes. And hyper drops a Content-Length beside a Transfer-Encoding and
            // doesn't tell: nothing more is read from such connections.
            response
                .headers_mut()
                .insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if unread && !awaited {
            request::discard(content);
        }
        if request.method == Method::HEAD {
            body::without_body(response)
        } else {
            response
        }
    }

    /// The order of judgement: what is wrong with the request as such, path, method, caller, permission, then the resource's own.
    async fn judge<B>(
        self: &Arc<Self>,
        caller: &Arc<Caller>,
        id: &RequestId,
        route: Option<Route<'_>>,
        request: &Parts,
        content: &mut B,
    ) -> Result<Response<Body>, ApiError>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        let acceptable = acceptable(request);
        let route = match route {
            Some(route) if route.methods().contains(&request.method) => route,
            refused => {
                acceptable?;
                let allow = refused.ok_or(ApiError::NoSuchPath)?.methods().header;
                return Err(ApiError::MethodNotAllowed { allow });
            }
        };
        let puts = request.method == Method::PUT;
        let admission = acceptable.and_then(|()| admitted(caller, &route, self.writes));
        if !puts {
            // That of a write goes on to where writes are logged.
            admission.clone()?;
            if !content.is_end_stream() {
                // Of no use, and still bounded: some clients lose their way when a stream succeeds before it was sent.
                request::whole_body(request, content).await?;
            }
        }
        let origin = || Origin {
            caller: Arc::clone(caller),
            id: id.clone(),
            trace: Trace::of(&request.headers),
        };
        match route {
            Route::Health => Ok(health::get(self)),
            Route::Deployments => deployments::list(self, request).await,
            Route::Replicas { namespace, name } => {
                let names = (&*namespace, &*name);
                if puts {
                    let parameter = Replicas;
                    write::put(
                        self,
                        origin(),
                        names,
                        parameter,
                        admission,
                        request,
                        content,
                    )
                    .await
                } else {
                    replicas::get(self, names, request).await
                }
            }
            Route::Containers { namespace, name } => {
                containers::get(self, (&namespace, &name), request).await
            }
            Route::Image {
                namespace,
                name,
                container,
            } => {
                let names = (&*namespace, &*name);
                let parameter = Image::of(&container);
                write::put(
                    self,
                    origin(),
                    names,
                    parameter,
                    admission,
                    request,
                    content,
                )
                .await
            }
        }
    }
}

/// Whether this caller may do this here: the one place for who is let in (401) and for permissions (403).
fn admitted(caller: &Caller, route: &Route<'_>, writes: WriteRules) -> Result<(), ApiError> {
    if caller.identity.expired() {
        return Err(ApiError::CertificateExpired);
    }
    if matches!(route, Route::Image { .. }) && !writes.enable_image {
        return Err(ApiError::Forbidden("image"));
    }
    Ok(())
}

/// What is judged before anything else: sizes and the Host.
fn acceptable(request: &Parts) -> Result<(), ApiError> {
    let uri = request.uri.path_and_query().map_or(0, |p| p.as_str().len());
    if uri > LONGEST_URI {
        return Err(ApiError::UriTooLong { most: LONGEST_URI });
    }
    // As they stand on the wire in HTTP/1.1: name, colon, space, value, line end.
    let headers: usize = request
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    if headers > LARGEST_HEADERS {
        return Err(ApiError::HeadersTooLarge {
            most: LARGEST_HEADERS,
        });
    }
    let hosts = request.headers.get_all(header::HOST).iter().count();
    match (hosts, request.uri.authority()) {
        (1, _) | (0, Some(_)) => Ok(()),
        (0, None) => Err(ApiError::BadRequest(
            "the request has no Host header; send exactly one".into(),
        )),
        _ => Err(ApiError::BadRequest(
            "the request has more than one Host header; send exactly one".into(),
        )),
    }
}
