//! The REST API under `/api/v1`: routes, the order of judgement, and one file a resource.
//!
//! A handler sees a request and who sent it, never a connection; every failure is an [`ApiError`].

mod admission;
mod also_set_by;
mod audit;
mod authorization;
mod batches;
mod body;
mod containers;
mod cross_site;
mod deployment;
mod deployments;
mod error;
mod headers;
mod health;
mod history;
mod idempotency;
mod json;
mod lease;
mod leases;
mod limits;
mod list_parameters;
mod list_part;
mod long_poll;
pub mod openapi;
mod page;
mod path;
mod paused;
mod pins;
mod preconditions;
pub(crate) mod reason;
mod rendered;
mod replicas;
mod request;
mod restart;
mod rollback;
mod rollout;
mod step;
mod walks;
mod watch;
mod whoami;
mod write;

use std::{panic::AssertUnwindSafe, sync::Arc};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderValue, Method, Request, Response, header, request::Parts};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, warn};

use admission::{acceptable, standing};
pub use body::Body;
use containers::Image;
pub use error::ApiError;
use idempotency::Steps;
use lease::overtaken;
use lease::{Cancellation, Extension, LeasedReplicas};
pub(crate) use lease::{judge_return, record as lease_record, tell_of_end};
use list_parameters::Parameters;
use path::Route;
use paused::Paused;
use pins::Pins;
use replicas::Replicas;
use restart::Restart;
use rollback::Rollback;
use step::Step;
use walks::Walks;
use write::{Incoming, Origin};

use crate::{
    access::Caller,
    audit::Audit,
    generation::Session,
    kubernetes::{Deployments, InformerStatus},
    limits::{Limit, NoTurn, Reservation},
    store::Shown,
    telemetry::{
        metrics::{Metrics, Template},
        request::{Ids, OfRequest},
    },
};

/// Tells of a request that its caller may not make, or not any more; a write's has a line of its own.
fn log_denied(caller: &Caller, error: &ApiError) {
    warn!(name: "access.denied", principal = %caller.name(), subject = %caller.identity.subject, serial = %caller.identity.serial,
        issuer = %caller.identity.issuer, address = %caller.address, error = %error, "a request was denied");
}

/// The API of one server; connections share it.
pub struct Api {
    status: Arc<InformerStatus>,
    deployments: Arc<Deployments>,
    metrics: Arc<Metrics>,
    compressed: deployments::Compressed,
    pins: Pins,
    walks: Walks,
    audit: Audit,
    steps: Steps,
    wakes: Arc<watch::Wakes>,
    status_wakes: Arc<watch::Wakes>,
    /// Nobody new is let in, and streams end.
    closing: CancellationToken,
    /// Writes go on when their caller hangs up; a shutdown waits for them.
    tasks: TaskTracker,
}

impl Api {
    /// An API that reads from the store of `status` and writes through `deployments`; `tasks` holds the writes under way.
    pub fn new(
        status: Arc<InformerStatus>,
        deployments: Deployments,
        metrics: Arc<Metrics>,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            status,
            deployments: Arc::new(deployments),
            metrics,
            tasks,
            compressed: Default::default(),
            pins: Pins::default(),
            walks: Walks::default(),
            audit: Audit::default(),
            steps: Steps::default(),
            wakes: Arc::new(watch::Wakes::of(Shown::Count)),
            status_wakes: Arc::new(watch::Wakes::of(Shown::Status)),
            closing: CancellationToken::new(),
        }
    }

    /// What it reads and writes through.
    pub fn deployments(&self) -> &Arc<Deployments> {
        &self.deployments
    }

    /// The same, whose watches end when `closing` says so.
    #[must_use]
    pub fn closed_by(self, closing: CancellationToken) -> Self {
        Self { closing, ..self }
    }

    /// The same with an audit trail.
    #[must_use]
    pub fn audited(self, audit: Audit) -> Self {
        Self { audit, ..self }
    }

    /// Answers one request of a session, whatever it is. `caller` is who that is now, `began` when the request's headers were there.
    pub async fn answer<B>(
        self: &Arc<Self>,
        session: &Arc<Session>,
        caller: Arc<Caller>,
        request: Request<B>,
        began: Instant,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: std::fmt::Display,
    {
        let _in_flight = self.metrics.http.in_flight();
        let (request, mut content) = request.into_parts();
        let asked = OfRequest::of(&request.headers);
        let route = Route::of(request.uri.path());
        let label = route.as_ref().map_or(Template::None, Route::template);
        // A handler that panics costs one request, not the connection's other ones.
        let judged = self.judge(session, caller, &asked, route, &request, &mut content);
        let handled = AssertUnwindSafe(judged).catch_unwind().await;
        let mut response = match handled.unwrap_or(Err(ApiError::Panicked)) {
            Ok(response) => response,
            Err(error) => self.failed(session, &asked, &request, error),
        };
        self.answered(label, &request.method, &asked, began, &mut response);
        if cross_site::is_browsers(&request.headers) {
            let (name, policy) = cross_site::RESOURCE_POLICY.clone();
            response.headers_mut().insert(name, policy);
        }
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

    /// The answer to a request beside too many others of its caller: 429 without a body, which a client that takes nothing would
    /// leave in memory too.
    #[cold]
    pub fn too_many_streams<B>(
        &self,
        session: &Session,
        request: Request<B>,
        began: Instant,
    ) -> Response<Body> {
        let (request, _) = request.into_parts();
        let asked = OfRequest::of(&request.headers);
        let refused = ApiError::NoTurn(NoTurn {
            limit: Limit::CallerStreams,
            own: true,
        });
        let refused = self.failed(session, &asked, &request, refused);
        let mut response = refused.map(|_| Body::empty());
        let route = Route::of(request.uri.path());
        let label = route.as_ref().map_or(Template::None, Route::template);
        self.answered(label, &request.method, &asked, began, &mut response);
        let length = HeaderValue::from_static("0");
        response
            .headers_mut()
            .insert(header::CONTENT_LENGTH, length);
        response
    }

    /// What every answer has: a count, and the id of its request.
    fn answered(
        &self,
        label: Template,
        method: &Method,
        asked: &OfRequest<'_>,
        began: Instant,
        response: &mut Response<Body>,
    ) {
        let http = &self.metrics.http;
        http.answered(label, method, response.status(), began.elapsed());
        response
            .headers_mut()
            .insert(&headers::REQUEST_ID, asked.id());
    }

    /// So many bytes for what is expensive.
    fn reserve(&self, bytes: usize) -> Result<Reservation, ApiError> {
        let reserved = self.metrics.memory.reserve(bytes);
        reserved.ok_or(ApiError::ShortOfMemory)
    }

    /// The answer of a failure; some have a line.
    #[cold]
    fn failed(
        &self,
        session: &Session,
        asked: &OfRequest<'_>,
        request: &Parts,
        error: ApiError,
    ) -> Response<Body> {
        let told = match &error {
            // That of a write was told of where writes are.
            denial if denial.is_denial() => !path::writes(&request.method),
            ApiError::Panicked => true,
            other => other.limit().is_some(),
        };
        if told {
            asked
                .ids()
                .within(|| self.tell(session, asked.ids(), request, &error));
        }
        error.into_response()
    }

    fn tell(&self, session: &Session, ids: &Ids, request: &Parts, error: &ApiError) {
        let caller = session.caller();
        match (error, error.limit()) {
            (_, Some(limit)) => self.metrics.limits.reached(limit, caller.who()),
            (ApiError::Panicked, _) => {
                error!(name: "request.panicked", principal = %caller.name(), address = %caller.address, method = %request.method,
                    path = request.uri.path(), "a request met a defect of this server and was answered with 500");
            }
            _ => {
                log_denied(&caller, error);
                self.audit_denied(session, ids, request, error);
            }
        }
    }

    /// The order of judgement: what is wrong with the request as such, path, method, caller, permission, rate, then the resource's
    /// own.
    async fn judge<B>(
        self: &Arc<Self>,
        session: &Arc<Session>,
        mut caller: Arc<Caller>,
        asked: &OfRequest<'_>,
        route: Option<Route<'_>>,
        request: &Parts,
        content: &mut B,
    ) -> Result<Response<Body>, ApiError>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
        B::Error: std::fmt::Display,
    {
        if let Some(most) = session.is_crowded() {
            return Err(ApiError::TooManyConnections { most });
        }
        let size = acceptable(request, &caller.rules.limits.sizes);
        let place = size.and_then(|bytes| Ok(caller.allowance.head(bytes)?));
        let (acceptable, _place) = match place {
            Ok(place) => (Ok(()), place),
            Err(refused) => (Err(refused), None),
        };
        let route = match route {
            Some(route) if route.methods().contains(&request.method) => route,
            refused => {
                acceptable?;
                let allow = refused.ok_or(ApiError::NoSuchPath)?.methods().header;
                return Err(ApiError::MethodNotAllowed { allow });
            }
        };
        let writes = path::writes(&request.method);
        let admission = match acceptable.and_then(|()| self.affordable(&route, writes)) {
            Ok(()) => {
                let admitted = self.admit(&caller, asked, &route, request).await;
                admitted.and_then(|()| limits::within_rate(&caller, writes))
            }
            refused => refused,
        };
        if !writes {
            // That of a write goes on to where writes are logged.
            admission.clone()?;
            if !content.is_end_stream() {
                let _turn = Box::pin(limits::turn(self, &caller)).await?;
                // Of no use, and still bounded: some clients lose their way when a stream succeeds before it was sent.
                let most = caller.rules.limits.sizes.body;
                request::whole_body(self, &caller, request, content, most).await?;
                // It took its time, and so may have a reload.
                caller = session.caller();
                self.admit(&caller, asked, &route, request).await?;
            }
        }
        if let Some(namespace) = watch::asked(&route, request) {
            let watch = watch::open(self, session, caller, namespace, request);
            return asked.ids().scope(Box::pin(watch)).await;
        }
        if !writes {
            watch::refuse_of_one(&route, request)?;
        }
        let incoming = || Incoming {
            api: self,
            origin: Origin {
                session: Arc::clone(session),
                caller: Arc::clone(&caller),
                ids: asked.ids().clone(),
                reason: reason::reason(&request.headers),
            },
            admission,
            request,
            content,
        };
        match route {
            Route::Page => Ok(page::index(&request.headers)),
            Route::PageFile { file } => page::file(file, &request.headers),
            Route::Health => Ok(health::get(self)),
            Route::WhoAmI => Ok(whoami::get(&caller)),
            Route::Deployments if request.uri.query().is_some_and(Parameters::are_in) => {
                let list = list_part::list(self, &caller, None, request);
                asked.ids().scope(Box::pin(list)).await
            }
            Route::NamespaceDeployments { namespace } => {
                let list = list_part::list(self, &caller, Some(&namespace), request);
                asked.ids().scope(Box::pin(list)).await
            }
            // The cluster is asked.
            Route::Deployments if caller.rules.reviewer.is_some() => {
                let list = deployments::list(self, &caller, request);
                asked.ids().scope(Box::pin(list)).await
            }
            Route::Deployments => deployments::list(self, &caller, request).await,
            Route::Replicas { namespace, name } => {
                let names = (&*namespace, &*name);
                if request.method == Method::PATCH {
                    Box::pin(incoming().set(names, Step::of(&request.headers))).await
                } else if writes {
                    Box::pin(incoming().set(names, Replicas)).await
                } else {
                    long_poll::get(self, session, &caller, asked, names, request).await
                }
            }
            Route::Leases => {
                let list = leases::list(self, &caller, request);
                asked.ids().scope(Box::pin(list)).await
            }
            Route::Lease { namespace, name } => {
                let names = (&*namespace, &*name);
                match request.method {
                    Method::PUT => Box::pin(incoming().set(names, LeasedReplicas)).await,
                    Method::PATCH => Box::pin(incoming().set(names, Extension)).await,
                    Method::DELETE => {
                        let cancellation = Cancellation::of(request.uri.query());
                        Box::pin(incoming().set(names, cancellation)).await
                    }
                    _ => Box::pin(lease::get(self, &caller, names, request)).await,
                }
            }
            Route::History => {
                let history = history::get(self, &caller, request);
                asked.ids().scope(Box::pin(history)).await
            }
            Route::OpenApi => Ok(openapi::get(&request.headers)),
            Route::Docs => Ok(openapi::docs(&request.headers)),
            Route::Deployment { namespace, name } => {
                let read = deployment::get(self, &caller, (&namespace, &name), request);
                let answer = asked.ids().scope(Box::pin(read)).await?;
                if rollout::preferred_wait(&request.headers).is_some() {
                    // Much may have happened to the caller's access since.
                    let caller = session.caller();
                    let route = Route::Deployment { namespace, name };
                    let again = self.admit(&caller, asked, &route, request);
                    Box::pin(again).await?;
                }
                Ok(answer)
            }
            Route::Batches => Box::pin(incoming().batch()).await,
            Route::BatchRestore => Box::pin(incoming().restore()).await,
            Route::Restart { namespace, name } => {
                Box::pin(incoming().set((&namespace, &name), Restart)).await
            }
            Route::Paused { namespace, name } => {
                Box::pin(incoming().set((&namespace, &name), Paused)).await
            }
            Route::Rollback { namespace, name } => {
                Box::pin(incoming().set((&namespace, &name), Rollback)).await
            }
            Route::Containers { namespace, name } => {
                let read = containers::get(self, &caller, (&namespace, &name), request);
                asked.ids().scope(Box::pin(read)).await
            }
            Route::Image {
                namespace,
                name,
                container,
            } => {
                let image = Image::of(&container);
                Box::pin(incoming().set((&namespace, &name), image)).await
            }
        }
    }
}
