//! Writes to one Deployment: each conditional on the version and uid that it was judged on, made again after conflicts and
//! under overload, and answered once the store has seen it.
//!
//! What is written, and how it is sent, is in a file for each parameter: `scale.rs` and, of the Deployment itself, `patch.rs`.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use kube::client::Body;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use uuid::Uuid;

use super::{
    EventMetrics, Events, InformerStatus, LeaseObjects, Managed, Told,
    calls::{ApiServer, CallError, small_body},
    circuit::Away,
    details::Reads,
    retry_budget::RetryBudget,
    unanswered::Unanswered,
};
use crate::{
    limits::{CallerId, Limiter, NoTurn},
    store::Store,
    telemetry::metrics::Retry,
};

/// How long conflicts and overload are retried.
const RETRY_FOR: Duration = Duration::from_secs(5);
/// How long one write may take at the API server; its webhooks may take long.
pub(super) const WRITE: Duration = Duration::from_secs(10);
/// How long an answer waits until the store shows what was written.
const SEE: Duration = Duration::from_secs(5);
/// A `Retry-After` longer than this is passed on instead of sat out.
const SHORT_RETRY_AFTER: Duration = Duration::from_secs(2);

/// The cluster's Deployments one at a time: what the store doesn't hold is read on demand, and parameters are set.
pub struct Deployments {
    pub(super) api_server: ApiServer,
    pub(super) status: Arc<InformerStatus>,
    pub(super) managed: Managed,
    pub(super) reads: Reads,
    pub(super) retry_budget: RetryBudget,
    pub(crate) limiter: Arc<Limiter>,
    pub(crate) events: Events,
    pub(super) leases: Option<Arc<LeaseObjects>>,
}

/// Which Deployment is written, and how.
#[derive(Debug, Clone)]
pub struct WriteRequest {
    /// The Deployment's namespace.
    pub namespace: String,
    /// The Deployment's name.
    pub name: String,
    /// Go as far as the cluster's admission, and change nothing.
    pub dry_run: bool,
    /// The caller has made a condition, and must know whether it was this very write that was carried out.
    pub conditional: bool,
    /// Whose write it is, by whom turns go round.
    pub caller: CallerId,
    /// What managed fields call its author: up to 128 bytes, all printable.
    pub field_manager: String,
    /// What tells a write of a count from others of its author, by which it is recognised: 16 hexadecimal digits, or what
    /// says of these that a lease has ended.
    pub mark: Option<String>,
}

impl WriteRequest {
    /// The Deployment's namespace and name.
    pub fn names(&self) -> (&str, &str) {
        (&self.namespace, &self.name)
    }
}

/// A parameter that was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written<T> {
    /// The Deployment's uid.
    pub uid: Uuid,
    /// What it was before.
    pub previous: T,
    /// What the API server has now; admission may have changed what was asked for.
    pub now: T,
    /// The version that the write made, or the one that it left.
    pub resource_version: u64,
    /// Whether this server's reads show it.
    pub seen: bool,
}

impl<T> Written<T> {
    /// The same write, of a part of what was written.
    pub fn map<U>(&self, part: impl Fn(&T) -> U) -> Written<U> {
        Written {
            uid: self.uid,
            previous: part(&self.previous),
            now: part(&self.now),
            resource_version: self.resource_version,
            seen: self.seen,
        }
    }
}

/// Why a parameter wasn't set.
#[derive(Debug, thiserror::Error)]
pub enum WriteError<E> {
    /// The judge refused it; nothing was sent.
    #[error("refused before anything was sent")]
    Judged(E),
    /// No such Deployment.
    #[error("the Deployment doesn't exist")]
    NotFound,
    /// The Deployment has no container of this name.
    #[error("the Deployment has no container {0:?}")]
    NoSuchContainer(String),
    /// Others kept changing the Deployment.
    #[error("conflicts with other writers outlasted {} s of retries", RETRY_FOR.as_secs())]
    Conflict,
    /// Admission, a quota or validation refused it, in these words.
    #[error("Kubernetes refused it: {0}")]
    Refused(String),
    /// The cluster refuses this server.
    #[error("the cluster refuses this server's own credentials: {0}")]
    Credentials(String),
    /// The API server is away or overloaded; nothing was changed.
    #[error("the Kubernetes API is unavailable: {0}")]
    Unavailable(String, Option<Duration>),
    /// Too many others were under way for too long; nothing was changed.
    #[error(transparent)]
    NoTurn(#[from] NoTurn),
    /// The write was sent, and whether it was carried out isn't known.
    #[error("the outcome isn't known: {0}")]
    Unknown(String),
}

/// What an attempt came to, short of a failure.
pub(super) enum Attempt<T> {
    /// It was carried out.
    Done(T),
    /// It wasn't.
    Again(Again),
    /// Nobody knows.
    Unanswered(Unanswered),
}

/// Why an attempt may be made again.
pub(super) enum Again {
    /// The Deployment isn't, or isn't any more, what was judged: the version that was.
    Conflict(u64),
    /// The API server asked for some time.
    Later(Duration, String),
    /// The API server refuses what was judged and shows nothing newer, for now.
    Unexplained(Duration),
}

/// How long one write may still be attempted.
pub(super) struct Retries<'a> {
    status: &'a InformerStatus,
    budget: &'a RetryBudget,
    request: &'a WriteRequest,
    pub(super) begun: Instant,
    pub(super) deadline: Instant,
}

impl Retries<'_> {
    /// Waits until the next attempt is worth it: after a conflict until the store has another version than the one that
    /// was judged, under overload for as long as the API server said.
    pub(super) async fn wait<E>(&self, again: Again) -> Result<(), WriteError<E>> {
        let (request, deadline) = (self.request, self.deadline);
        match again {
            Again::Conflict(judged) => {
                let newer = self.status.wait_until(deadline, |now| {
                    now.get(&request.namespace, &request.name)
                        .map(|r| r.resource_version())
                        != Some(judged)
                });
                if !newer.await {
                    return Err(WriteError::Conflict);
                }
                self.budget.free(Retry::Conflict);
            }
            Again::Later(wait, why) => {
                if !self.budget.withdraw(Retry::Throttled) {
                    let why = format!("{why}; so much was sent again already that this wasn't");
                    return Err(WriteError::Unavailable(why, Some(wait)));
                }
                let jitter = Duration::from_millis(fastrand::u64(0..100));
                if timeout_at(deadline, sleep(wait + jitter)).await.is_err() {
                    return Err(WriteError::Unavailable(why, Some(wait)));
                }
            }
            Again::Unexplained(wait) => {
                self.budget.free(Retry::Unexplained);
                sleep(wait).await;
            }
        }
        self.in_time()
    }

    /// Whether another attempt may begin.
    pub(super) fn in_time<E>(&self) -> Result<(), WriteError<E>> {
        if Instant::now() >= self.deadline {
            return Err(WriteError::Conflict);
        }
        Ok(())
    }
}

/// What is applied takes the fields over from whoever owned them (Kubernetes' server-side apply).
pub(super) const APPLY: &str = "application/apply-patch+yaml";

/// One write as it is sent.
pub(super) struct Sending {
    pub(super) field_manager: String,
    pub(super) method: Method,
    /// The subresource with a slash before it, or nothing for the Deployment itself.
    pub(super) path: &'static str,
    pub(super) content_type: &'static str,
    pub(super) body: Bytes,
    /// The version that was judged, which `body` makes a condition.
    pub(super) judged: u64,
}

impl Deployments {
    /// The store that writes are judged by.
    pub fn store(&self) -> &Store {
        self.status.store()
    }

    /// Has an Event on a Deployment tell of something, sooner or later or not at all.
    pub fn tell(&self, make: impl FnOnce() -> Told) {
        self.events.tell(make);
    }

    /// What is managed.
    pub fn managed(&self) -> &Managed {
        &self.managed
    }

    /// Reads and writes through `client` what is managed; judges and waits by the store that `status` is about. The default
    /// limits hold.
    pub fn new(client: kube::Client, status: Arc<InformerStatus>, managed: Managed) -> Self {
        Self {
            api_server: ApiServer::new(client, status.circuit()),
            retry_budget: RetryBudget::new(status.circuit().calls()),
            status,
            managed,
            reads: Reads::default(),
            limiter: Arc::default(),
            events: Events::default(),
            leases: None,
        }
    }

    /// The same with leases of counts.
    #[must_use]
    pub fn with_leases(self, leases: Option<Arc<LeaseObjects>>) -> Self {
        Self { leases, ..self }
    }

    /// The leases of counts, if there are any here.
    pub fn leases(&self) -> Option<&Arc<LeaseObjects>> {
        self.leases.as_ref()
    }

    /// The same with Events that tell of writes. Must be called within a runtime.
    #[must_use]
    pub fn told_in_events(self, metrics: Arc<EventMetrics>) -> Self {
        let events = Events::start(self.api_server.clone(), metrics);
        Self { events, ..self }
    }

    /// The same by other limits.
    pub fn limited_by(self, limiter: Arc<Limiter>) -> Self {
        Self { limiter, ..self }
    }

    /// Whether the store has a version of a namespace, once it does or too long has passed.
    pub async fn has_seen(&self, namespace: &str, version: u64) -> bool {
        let deadline = Instant::now() + SEE;
        let seen = self.status.wait_until(deadline, |now| {
            now.resource_version_in(namespace) >= version
        });
        seen.await
    }

    /// From the first attempt on.
    pub(super) fn retries<'a>(&'a self, request: &'a WriteRequest) -> Retries<'a> {
        self.retry_budget.deposit();
        let begun = Instant::now();
        Retries {
            status: &self.status,
            budget: &self.retry_budget,
            request,
            begun,
            deadline: begun + RETRY_FOR,
        }
    }

    /// Refuses what would be sent while the API server is known to be away.
    pub(super) fn reachable<E>(&self) -> Result<(), WriteError<E>> {
        let admitted = self.api_server.admit();
        admitted.map_err(|Away { why, retry_after }| {
            WriteError::Unavailable(format!("{why}; nothing was sent"), Some(retry_after))
        })
    }

    /// Makes one attempt when it is its caller's turn, and reads its answer; without an answer another one, on the same condition.
    pub(super) async fn send<T: DeserializeOwned, E>(
        &self,
        retries: &Retries<'_>,
        sending: &Sending,
    ) -> Result<Attempt<T>, WriteError<E>> {
        let first = self.attempt(retries.request, sending, WRITE).await?;
        let Attempt::Unanswered(unanswered) = first else {
            return Ok(first);
        };
        if let Some(within) = self.second_attempt(retries)
            && let Ok(Attempt::Done(answer)) =
                self.attempt::<T, E>(retries.request, sending, within).await
        {
            return Ok(Attempt::Done(answer));
        }
        // Whatever else the second came to says nothing of the first.
        Ok(Attempt::Unanswered(unanswered))
    }

    async fn attempt<T: DeserializeOwned, E>(
        &self,
        request: &WriteRequest,
        sending: &Sending,
        within: Duration,
    ) -> Result<Attempt<T>, WriteError<E>> {
        let &Sending { path, judged, .. } = sending;
        let force = if sending.content_type == APPLY {
            "&force=true"
        } else {
            ""
        };
        let dry_run = if request.dry_run { "&dryRun=All" } else { "" };
        let manager = utf8_percent_encode(&sending.field_manager, NON_ALPHANUMERIC);
        let uri = format!(
            "/apis/apps/v1/namespaces/{}/deployments/{}{path}?fieldManager={manager}{force}{dry_run}",
            request.namespace, request.name
        );
        let mut write = Request::new(Body::from(sending.body.to_vec()));
        *write.method_mut() = sending.method.clone();
        // Both names were validated: nothing in them needs escaping.
        *write.uri_mut() = uri.parse().map_err(|_| WriteError::NotFound)?;
        for (name, value) in [
            (header::CONTENT_TYPE, sending.content_type),
            (header::ACCEPT, "application/json"),
        ] {
            write
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        let _turn = self.limiter.writes.take(&request.caller).await?;
        let exchange = async {
            let mut response = self.api_server.send(write, within).await?;
            small_body(response.body_mut(), within).await
        };
        // However slowly its answer trickles in.
        let answer: Result<Bytes, _> = timeout(within, exchange)
            .await
            .unwrap_or(Err(CallError::Silent(within)));
        let unanswered = |why| Ok(Attempt::Unanswered(Unanswered { why }));
        match answer {
            Ok(body) => match serde_json::from_slice(&body) {
                Ok(answer) => Ok(Attempt::Done(answer)),
                Err(error) => unanswered(format!("its answer can't be read: {error}")),
            },
            Err(error) => match failed(error, judged) {
                Ok(again) => Ok(Attempt::Again(again)),
                Err(WriteError::Unknown(why)) => unanswered(why),
                Err(error) => Err(error),
            },
        }
    }

    /// Whether the store shows a write that was judged at one version and made another, once it does or too long has passed.
    pub(super) async fn seen(&self, request: &WriteRequest, judged: u64, made: u64) -> bool {
        // A write that changed nothing makes no event, and a dry run neither.
        request.dry_run || made == judged || self.has_seen(&request.namespace, made).await
    }
}

/// What a failed write means: try again, or an error that says what is known of the outcome.
fn failed<E>(error: CallError, judged: u64) -> Result<Again, WriteError<E>> {
    let retry_after = error.retry_after();
    let status = match error {
        CallError::Unreachable(why) => {
            return Err(WriteError::Unavailable(
                format!("{why}; nothing was sent"),
                None,
            ));
        }
        CallError::Status { status, .. } => status,
        sent => return Err(WriteError::Unknown(sent.to_string())),
    };
    let message = status.message;
    Err(match status.code {
        // Admission webhooks choose their own code; their words are the same with each.
        _ if message.contains("denied the request") => WriteError::Refused(message),
        401 => WriteError::Credentials(message),
        // RBAC says who cannot do what; a quota or an admission policy says something else.
        403 if message.contains("cannot ") && message.contains("resource ") => {
            WriteError::Credentials(message)
        }
        400 | 403 | 422 => WriteError::Refused(message),
        404 => WriteError::NotFound,
        409 => return Ok(Again::Conflict(judged)),
        429 => match retry_after.unwrap_or(Duration::from_secs(1)) {
            wait if wait <= SHORT_RETRY_AFTER => return Ok(Again::Later(wait, message)),
            wait => WriteError::Unavailable(message, Some(wait)),
        },
        500 if message.contains("failed calling webhook") => {
            WriteError::Unavailable(message, retry_after)
        }
        503 => WriteError::Unavailable(message, retry_after),
        code => WriteError::Unknown(format!("the Kubernetes API answered {code}: {message}")),
    })
}
