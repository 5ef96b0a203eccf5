//! Writes: the `scale` subresource, conditional on the version and uid that the write was judged on, and the wait until
//! the store has seen it.

use std::{sync::Arc, time::Duration};

use http::{HeaderValue, Method, Request, header};
use kube::client::Body;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use uuid::Uuid;

use super::{
    InformerStatus,
    calls::{CallError, send, small_body},
    wire::version,
};
use crate::store::Record;

/// How long conflicts and overload are retried.
const RETRY_FOR: Duration = Duration::from_secs(5);
/// How long one write may take at the API server; its webhooks may take long.
const WRITE: Duration = Duration::from_secs(10);
/// How long an answer waits until the store shows what was written.
const SEE: Duration = Duration::from_secs(5);
/// A `Retry-After` longer than this is passed on instead of sat out.
const SHORT_RETRY_AFTER: Duration = Duration::from_secs(2);

/// Sets counts through the `scale` subresource.
pub struct Scaler {
    client: kube::Client,
    status: Arc<InformerStatus>,
}

/// One count to be set.
#[derive(Debug, Clone)]
pub struct ScaleRequest {
    /// The Deployment's namespace.
    pub namespace: String,
    /// The Deployment's name.
    pub name: String,
    /// The count, 0 or more.
    pub replicas: i32,
    /// Go as far as the cluster's admission, and change nothing.
    pub dry_run: bool,
    /// W3C trace context of the request, passed on to the API server.
    pub traceparent: String,
}

/// A count that was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scaled {
    /// The Deployment's uid.
    pub uid: Uuid,
    /// The count before.
    pub previous: i32,
    /// The count that the API server has now; admission may have changed what was asked for.
    pub replicas: i32,
    /// The version that the write made, or the one that it left.
    pub resource_version: u64,
    /// Whether this server's reads show it.
    pub seen: bool,
}

/// Why a count wasn't set.
#[derive(Debug, thiserror::Error)]
pub enum ScaleError<E> {
    /// The judge refused it; nothing was sent.
    #[error("refused before anything was sent")]
    Judged(E),
    /// No such Deployment.
    #[error("the Deployment doesn't exist")]
    NotFound,
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
    /// The write was sent, and whether it was carried out isn't known.
    #[error("the outcome isn't known: {0}")]
    Unknown(String),
}

/// The part of autoscaling/v1 Scale that is written and read.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Scale {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    metadata: ScaleMeta,
    #[serde(default)]
    spec: ScaleSpec,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScaleMeta {
    name: String,
    namespace: String,
    uid: Uuid,
    resource_version: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct ScaleSpec {
    /// Absent means 0 here, other than in a Deployment.
    #[serde(default)]
    replicas: i32,
}

/// One attempt that may be made again.
enum Again {
    /// The Deployment changed since it was judged.
    Conflict,
    /// The API server asked for some time.
    Later(Duration, String),
}

impl Scaler {
    /// Writes through `client`; judges and waits by the store that `status` is about.
    pub fn new(client: kube::Client, status: Arc<InformerStatus>) -> Self {
        Self { client, status }
    }

    /// Sets the count of one Deployment if `judge` lets it, and waits until the store shows it.
    ///
    /// The write holds only for the version that was judged: if somebody else was faster it is judged again on the newer one.
    pub async fn scale<E>(
        &self,
        request: &ScaleRequest,
        judge: impl Fn(Record<'_>) -> Result<(), E>,
    ) -> Result<Scaled, ScaleError<E>> {
        let deadline = Instant::now() + RETRY_FOR;
        loop {
            let (scale, previous) = {
                let snapshot = self.status.store().snapshot();
                let record = snapshot
                    .get(&request.namespace, &request.name)
                    .ok_or(ScaleError::NotFound)?;
                judge(record).map_err(ScaleError::Judged)?;
                (conditional(&record, request), record.replicas())
            };
            if let Some(why) = self.status.away() {
                return Err(ScaleError::Unavailable(
                    format!("{why}; nothing was sent"),
                    None,
                ));
            }
            match self.put(&scale, request).await? {
                Ok(answer) => return Ok(self.seen(request, scale, previous, answer).await),
                Err(Again::Conflict) => {
                    let judged = version(&scale.metadata.resource_version);
                    let newer = self.status.wait_until(deadline, |now| {
                        now.get(&request.namespace, &request.name)
                            .map(|r| r.resource_version())
                            != judged
                    });
                    if !newer.await {
                        return Err(ScaleError::Conflict);
                    }
                }
                Err(Again::Later(wait, why)) => {
                    let jitter = Duration::from_millis(fastrand::u64(0..100));
                    if timeout_at(deadline, sleep(wait + jitter)).await.is_err() {
                        return Err(ScaleError::Unavailable(why, Some(wait)));
                    }
                }
            }
            if Instant::now() >= deadline {
                return Err(ScaleError::Conflict);
            }
        }
    }

    async fn put<E>(
        &self,
        scale: &Scale,
        request: &ScaleRequest,
    ) -> Result<Result<Scale, Again>, ScaleError<E>> {
        let dry_run = if request.dry_run { "?dryRun=All" } else { "" };
        let uri = format!(
            "/apis/apps/v1/namespaces/{}/deployments/{}/scale{dry_run}",
            request.namespace, request.name
        );
        let body = serde_json::to_vec(scale).map_err(|e| ScaleError::Refused(e.to_string()))?;
        let mut put = Request::new(Body::from(body));
        *put.method_mut() = Method::PUT;
        // Both names were validated: nothing in them needs escaping.
        *put.uri_mut() = uri.parse().map_err(|_| ScaleError::NotFound)?;
        for name in [header::CONTENT_TYPE, header::ACCEPT] {
            put.headers_mut()
                .insert(name, HeaderValue::from_static("application/json"));
        }
        if let Ok(traceparent) = HeaderValue::from_str(&request.traceparent) {
            put.headers_mut().insert("traceparent", traceparent);
        }
        let exchange = async {
            let mut response = send(&self.client, put, WRITE).await?;
            small_body(response.body_mut(), WRITE).await
        };
        // However slowly its answer trickles in.
        let answer = timeout(WRITE, exchange)
            .await
            .unwrap_or(Err(CallError::Silent(WRITE)));
        let answer = match answer {
            Ok(body) => body,
            Err(error) => return failed(error).map(Err),
        };
        serde_json::from_slice(&answer)
            .map(Ok)
            .map_err(|e| ScaleError::Unknown(format!("its answer can't be read: {e}")))
    }

    /// The answer, once the store has applied the version that the write made.
    async fn seen(
        &self,
        request: &ScaleRequest,
        judged: Scale,
        previous: i32,
        answer: Scale,
    ) -> Scaled {
        let made = version(&answer.metadata.resource_version).unwrap_or(0);
        // A write that changed nothing makes no event, and a dry run neither.
        let unchanged = answer.metadata.resource_version == judged.metadata.resource_version;
        let seen = request.dry_run
            || unchanged
            || self
                .status
                .wait_until(Instant::now() + SEE, |now| {
                    now.resource_version_in(&request.namespace) >= made
                })
                .await;
        Scaled {
            uid: answer.metadata.uid,
            previous,
            replicas: answer.spec.replicas,
            resource_version: made,
            seen,
        }
    }
}

fn conditional(record: &Record<'_>, request: &ScaleRequest) -> Scale {
    Scale {
        api_version: "autoscaling/v1".into(),
        kind: "Scale".into(),
        metadata: ScaleMeta {
            name: request.name.clone(),
            namespace: request.namespace.clone(),
            uid: record.uid(),
            resource_version: record.resource_version().to_string(),
        },
        spec: ScaleSpec {
            replicas: request.replicas,
        },
    }
}

/// What a failed write means: try again, or an error that says what is known of the outcome.
fn failed<E>(error: CallError) -> Result<Again, ScaleError<E>> {
    let retry_after = error.retry_after();
    let status = match error {
        CallError::Unreachable(why) => {
            return Err(ScaleError::Unavailable(
                format!("{why}; nothing was sent"),
                None,
            ));
        }
        CallError::Status { status, .. } => status,
        sent => return Err(ScaleError::Unknown(sent.to_string())),
    };
    let message = status.message;
    Err(match status.code {
        // Admission webhooks choose their own code; their words are the same with each.
        _ if message.contains("denied the request") => ScaleError::Refused(message),
        401 => ScaleError::Credentials(message),
        // RBAC says who cannot do what; a quota or an admission policy says something else.
        403 if message.contains("cannot ") && message.contains("resource ") => {
            ScaleError::Credentials(message)
        }
        400 | 403 | 422 => ScaleError::Refused(message),
        404 => ScaleError::NotFound,
        409 => return Ok(Again::Conflict),
        429 => match retry_after.unwrap_or(Duration::from_secs(1)) {
            wait if wait <= SHORT_RETRY_AFTER => return Ok(Again::Later(wait, message)),
            wait => ScaleError::Unavailable(message, Some(wait)),
        },
        500 if message.contains("failed calling webhook") => {
            ScaleError::Unavailable(message, retry_after)
        }
        503 => ScaleError::Unavailable(message, retry_after),
        code => ScaleError::Unknown(format!("the Kubernetes API answered {code}: {message}")),
    })
}
