//! The containers of a Deployment, which the store doesn't hold: read on demand, once for all who ask at once.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use http::{HeaderValue, Request, header};
use kube::client::Body;
use serde::{Deserialize, Serialize, de::IgnoredAny};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::{
    Deployments,
    calls::{CallError, send, small_body},
    wire::version,
    write::WriteError,
};

/// How long a read may take at the API server.
const READ: Duration = Duration::from_secs(10);
/// What was read serves others for so long, counted from when it was asked for.
const FRESH: Duration = Duration::from_secs(1);

/// The containers of one version of a Deployment, and what else of it a write of them is judged on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Containers {
    /// The Deployment's uid.
    pub uid: Uuid,
    /// The version of the Deployment.
    pub resource_version: u64,
    /// Whether it has a deletionTimestamp.
    pub deleting: bool,
    /// The Deployment's own labels.
    pub labels: BTreeMap<String, String>,
    /// The Deployment's own annotations.
    pub annotations: BTreeMap<String, String>,
    /// Those that run beside each other, in their order.
    pub containers: Vec<Container>,
    /// Those that run before them (`initContainers`), in their order.
    pub init_containers: Vec<Container>,
}

/// A container of a Pod template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Its name, which no other container of the template has.
    pub name: String,
    /// Its image; empty where something else sets it later.
    #[serde(default)]
    pub image: String,
}

impl Containers {
    /// The container of this name, whichever list it is in.
    pub fn get(&self, name: &str) -> Option<&Container> {
        self.containers
            .iter()
            .chain(&self.init_containers)
            .find(|c| c.name == name)
    }
}

/// Why containers weren't read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// No such Deployment any more.
    #[error("the Deployment doesn't exist")]
    NotFound,
    /// The cluster refuses this server.
    #[error("the cluster refuses this server's own credentials: {0}")]
    Credentials(String),
    /// The API server is away, overloaded, or answers what can't be read.
    #[error("the Kubernetes API is unavailable: {0}")]
    Unavailable(String, Option<Duration>),
}

impl<E> From<ReadError> for WriteError<E> {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NotFound => Self::NotFound,
            ReadError::Credentials(words) => Self::Credentials(words),
            ReadError::Unavailable(why, retry_after) => Self::Unavailable(why, retry_after),
        }
    }
}

/// The part of an apps/v1 Deployment that is read.
#[derive(Debug, Deserialize)]
pub(super) struct DeploymentObject {
    metadata: Metadata,
    spec: DeploymentSpec,
}

#[derive(Debug, Deserialize)]
struct DeploymentList {
    #[serde(default)]
    items: Vec<DeploymentObject>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    uid: Uuid,
    #[serde(default)]
    resource_version: String,
    deletion_timestamp: Option<IgnoredAny>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
struct DeploymentSpec {
    template: Template,
}

#[derive(Debug, Deserialize)]
struct Template {
    spec: PodSpec,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodSpec {
    containers: Vec<Container>,
    #[serde(default)]
    init_containers: Vec<Container>,
}

impl From<DeploymentObject> for Containers {
    fn from(object: DeploymentObject) -> Self {
        let (metadata, pod) = (object.metadata, object.spec.template.spec);
        Self {
            uid: metadata.uid,
            resource_version: version(&metadata.resource_version).unwrap_or(0),
            deleting: metadata.deletion_timestamp.is_some(),
            labels: metadata.labels,
            annotations: metadata.annotations,
            containers: pod.containers,
            init_containers: pod.init_containers,
        }
    }
}

type Outcome = Result<Arc<Containers>, ReadError>;

/// A read that is under way or done.
#[derive(Clone)]
struct Read {
    asked: Instant,
    outcome: Shared<BoxFuture<'static, Outcome>>,
}

impl Read {
    /// Whether it may serve somebody who has seen the version `at_least`.
    fn serves(&self, at_least: u64) -> bool {
        self.asked.elapsed() <= FRESH
            && match self.outcome.peek() {
                Some(Ok(found)) => found.resource_version >= at_least,
                Some(Err(_)) => false,
                None => true,
            }
    }
}

/// The reads of the last second.
#[derive(Default)]
pub(super) struct Reads(Mutex<Recent>);

#[derive(Default)]
struct Recent {
    reads: HashMap<(String, String), Read>,
    swept: Option<Instant>,
}

impl Reads {
    /// The read that serves, or a new one.
    fn join(
        &self,
        key: (&str, &str),
        at_least: u64,
        begin: impl FnOnce() -> BoxFuture<'static, Outcome>,
    ) -> Read {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if recent.swept.is_none_or(|at| now - at > FRESH) {
            recent.reads.retain(|_, read| now - read.asked <= FRESH);
            recent.swept = Some(now);
        }
        let key = (key.0.to_owned(), key.1.to_owned());
        if let Some(read) = recent.reads.get(&key).filter(|read| read.serves(at_least)) {
            return read.clone();
        }
        let read = Read {
            asked: now,
            outcome: begin().shared(),
        };
        recent.reads.insert(key, read.clone());
        read
    }

    fn last(&self, namespace: &str, name: &str) -> Option<Arc<Containers>> {
        let recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let read = recent.reads.get(&(namespace.to_owned(), name.to_owned()))?;
        read.outcome.peek()?.as_ref().ok().cloned()
    }
}

impl Deployments {
    /// The containers of a Deployment that the store has at version `at_least`, and how long ago they were asked for: at
    /// most a second, since many who ask at once share one call.
    ///
    /// # Errors
    ///
    /// When the API server doesn't tell; nothing was changed.
    pub async fn containers(
        &self,
        namespace: &str,
        name: &str,
        at_least: u64,
    ) -> Result<(Arc<Containers>, Duration), ReadError> {
        if let Some(why) = self.status.away() {
            return Err(ReadError::Unavailable(why, None));
        }
        let begin = || read(self.client.clone(), namespace.into(), name.into()).boxed();
        let shared = self.reads.join((namespace, name), at_least, begin);
        let mut found = shared.outcome.await?;
        let mut asked = shared.asked;
        if found.resource_version < at_least {
            // It was under way before the store saw this version; one that begins now isn't older.
            let own = self.reads.join((namespace, name), at_least, begin);
            (found, asked) = (own.outcome.await?, own.asked);
        }
        Ok((found, asked.elapsed()))
    }

    /// The containers that were read last, if that is no more than some seconds ago: for the log.
    pub fn last_containers(&self, namespace: &str, name: &str) -> Option<Arc<Containers>> {
        self.reads.last(namespace, name)
    }
}

/// A list of one, since whoever may list Deployments for the store needs no further right for it. A consistent read: it
/// shows every version that the store has.
async fn read(client: kube::Client, namespace: String, name: String) -> Outcome {
    let uri = format!(
        "/apis/apps/v1/namespaces/{namespace}/deployments?fieldSelector=metadata.name%3D{name}"
    );
    let mut list = Request::new(Body::empty());
    // Both names were validated: nothing in them needs escaping.
    *list.uri_mut() = uri.parse().map_err(|_| ReadError::NotFound)?;
    list.headers_mut()
        .insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    let exchange = async {
        let mut response = send(&client, list, READ).await?;
        small_body(response.body_mut(), READ).await
    };
    let body = timeout(READ, exchange)
        .await
        .unwrap_or(Err(CallError::Silent(READ)))
        .map_err(failed)?;
    let list: DeploymentList = serde_json::from_slice(&body).map_err(|e| {
        ReadError::Unavailable(format!("it answered what can't be read: {e}"), None)
    })?;
    let one = list.items.into_iter().next().ok_or(ReadError::NotFound)?;
    Ok(Arc::new(one.into()))
}

fn failed(error: CallError) -> ReadError {
    match error.code() {
        401 | 403 => ReadError::Credentials(error.to_string()),
        _ => ReadError::Unavailable(error.to_string(), error.retry_after()),
    }
}
