//! What the store doesn't hold of a Deployment: read on demand, once for all who ask at once.

mod applied;
mod object;

use std::{
    collections::{BTreeMap, HashMap},
    panic::resume_unwind,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared, WeakShared},
};
use http::{HeaderValue, Request, header};
use kube::client::Body;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::{
    sync::oneshot,
    task::JoinError,
    time::{Instant, sleep_until, timeout_at},
};
use uuid::Uuid;

pub use applied::Manager;
use object::DeploymentList;
pub(super) use object::{DeploymentObject, OwnedFields, RESTARTED_AT};

use super::{
    Deployments,
    calls::{ApiServer, CallError, small_body},
    circuit::Away,
    field_manager::FieldOwner,
    write::WriteError,
};
use crate::{
    limits::{CallerId, NoTurn, Turns},
    telemetry::request,
};

/// How long a read may take, waiting for its turn included.
const READ: Duration = Duration::from_secs(10);
/// What was read serves others for so long, counted from when it was asked for.
const FRESH: Duration = Duration::from_secs(1);

/// How long a read that was sent goes on though nobody waits for it any more: most have their answer by then.
const GOES_ON: Duration = Duration::from_secs(1);

/// One version of a Deployment: what is shown of it, and what writes of it are judged on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    /// The Deployment's uid.
    pub uid: Uuid,
    /// The version of the Deployment.
    pub resource_version: u64,
    /// Whether it has a deletionTimestamp.
    pub deleting: bool,
    /// How many Pods it has, as far as its count says.
    pub replicas: i32,
    /// The version of what is wanted of it, which status alone doesn't change.
    pub generation: i64,
    /// Whether its rollouts are held.
    pub paused: bool,
    /// The `kubectl.kubernetes.io/restartedAt` of its Pod template: when a restart was asked for last.
    pub restarted_at: Option<String>,
    /// What its controller has come to.
    pub status: Status,
    /// Who set its count last, as far as managed fields tell.
    pub last_set_by: Option<FieldOwner>,
    /// The mark of the write that set its count, if it had one and nobody else has set that count since, not even to the same.
    pub sole_mark: Option<String>,
    /// Of each who owns its count: the mark of its write, if it had one.
    pub marks: Vec<Option<String>>,
    /// Who has set any of its fields, beside its status and its scale.
    pub managers: Vec<Manager>,
    /// The Deployment's own labels.
    pub labels: BTreeMap<String, String>,
    /// The Deployment's own annotations.
    pub annotations: BTreeMap<String, String>,
    /// The labels by which its Pods and ReplicaSets are selected; expressions aren't among them.
    pub selector: BTreeMap<String, String>,
    /// Those that run beside each other, in their order.
    pub containers: Vec<Container>,
    /// Those that run before them (`initContainers`), in their order.
    pub init_containers: Vec<Container>,
}

/// The part of a Deployment's status that is shown (apps/v1 DeploymentStatus).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// The generation that the numbers are of.
    pub observed_generation: i64,
    /// Pods that there are, old and new.
    pub replicas: i32,
    /// Pods of the newest template.
    pub updated_replicas: i32,
    /// Pods that are ready.
    pub ready_replicas: i32,
    /// Pods that have been ready for `minReadySeconds`.
    pub available_replicas: i32,
    /// What else its controller says.
    pub conditions: Vec<Condition>,
}

/// A condition of a Deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What it is about: `Available`, `Progressing`, `ReplicaFailure`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why, in a word.
    #[serde(default)]
    pub reason: String,
    /// Why, in a sentence.
    #[serde(default)]
    pub message: String,
    /// Since when (RFC 3339).
    pub last_transition_time: Option<String>,
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

impl Details {
    /// A Deployment as the API server tells it.
    #[cfg(test)]
    pub(crate) fn of_json(object: serde_json::Value) -> serde_json::Result<Self> {
        let object: DeploymentObject = serde_json::from_value(object)?;
        Ok(object.into())
    }

    /// The container of this name, whichever list it is in.
    pub fn get(&self, name: &str) -> Option<&Container> {
        self.containers
            .iter()
            .chain(&self.init_containers)
            .find(|c| c.name == name)
    }
}

/// Why details weren't read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// No such Deployment any more, or none that is managed.
    #[error("the Deployment doesn't exist")]
    NotFound,
    /// Too many others were under way for too long.
    #[error(transparent)]
    NoTurn(NoTurn),
    /// The cluster refuses this server.
    #[error("the cluster refuses this server's own credentials: {0}")]
    Credentials(String),
    /// The API server is away, overloaded, or answers what can't be read.
    #[error("the Kubernetes API is unavailable: {0}")]
    Unavailable(String, Option<Duration>),
}

impl From<Away> for ReadError {
    fn from(Away { why, retry_after }: Away) -> Self {
        Self::Unavailable(why, Some(retry_after))
    }
}

impl<E> From<ReadError> for WriteError<E> {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::NotFound => Self::NotFound,
            ReadError::NoTurn(why) => Self::NoTurn(why),
            ReadError::Credentials(words) => Self::Credentials(words),
            ReadError::Unavailable(why, retry_after) => Self::Unavailable(why, retry_after),
        }
    }
}

type Outcome = Result<Arc<Details>, ReadError>;

/// A read that somebody waits for. All who do drive it; when the last of them leaves before it is sent, it isn't.
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

/// A read as it is remembered: what is under way is held by those who wait for it.
struct Remembered {
    asked: Instant,
    under_way: WeakShared<BoxFuture<'static, Outcome>>,
    done: Option<Shared<BoxFuture<'static, Outcome>>>,
}

impl Remembered {
    fn read(&self) -> Option<Read> {
        let outcome = self.done.clone().or_else(|| self.under_way.upgrade())?;
        Some(Read {
            asked: self.asked,
            outcome,
        })
    }
}

type Key = (String, String);

/// The reads of the last second.
#[derive(Default)]
pub(super) struct Reads {
    recent: Mutex<Recent>,
}

/// Who asks, and what for.
struct Question<'a> {
    api_server: &'a ApiServer,
    turns: &'a Turns,
    caller: &'a CallerId,
    key: &'a Key,
    at_least: u64,
}

#[derive(Default)]
struct Recent {
    reads: HashMap<Key, Remembered>,
    swept: Option<Instant>,
}

impl Reads {
    /// What the read that serves finds, or a new one, and when it was asked for.
    async fn find(&self, question: &Question<'_>) -> Result<(Arc<Details>, Instant), ReadError> {
        let (read, own) = self.join(question);
        let found = read.outcome.clone().await.map_err(|error| match error {
            // Who joined another's read has used up nothing of its own.
            ReadError::NoTurn(why) => ReadError::NoTurn(NoTurn {
                own: why.own && own,
                ..why
            }),
            error => error,
        })?;
        self.keep(question.key, &read);
        Ok((found, read.asked))
    }

    /// The read that serves, or a new one, and whether it is one.
    fn join(&self, question: &Question<'_>) -> (Read, bool) {
        let Question { key, at_least, .. } = *question;
        let mut recent = self.recent();
        let now = Instant::now();
        if recent.swept.is_none_or(|at| now - at > FRESH) {
            // A read that takes longer serves those who wait for it, and nobody who comes now.
            recent.reads.retain(|_, read| now - read.asked <= FRESH);
            recent.swept = Some(now);
        }
        let serving = recent.reads.get(key).and_then(Remembered::read);
        if let Some(read) = serving.filter(|read| read.serves(at_least)) {
            return (read, false);
        }
        let outcome = in_turn(question, now).boxed().shared();
        if let Some(under_way) = outcome.downgrade() {
            let begun = Remembered {
                asked: now,
                under_way,
                done: None,
            };
            recent.reads.insert(key.clone(), begun);
        }
        let read = Read {
            asked: now,
            outcome,
        };
        (read, true)
    }

    /// Keeps a read that is done for those who come later, unless another has begun since.
    fn keep(&self, key: &Key, read: &Read) {
        let mut recent = self.recent();
        let Some(remembered) = recent.reads.get_mut(key) else {
            return;
        };
        let same = |other: Read| other.outcome.ptr_eq(&read.outcome);
        if remembered.done.is_none() && remembered.read().is_some_and(same) {
            remembered.done = Some(read.outcome.clone());
        }
    }

    fn last(&self, key: &Key) -> Option<Arc<Details>> {
        let recent = self.recent();
        let done = recent.reads.get(key)?.done.as_ref()?;
        done.peek()?.as_ref().ok().cloned()
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deployments {
    /// The details of a Deployment that the store has at version `at_least`, and how long ago they were asked for: at
    /// most a second, since many who ask at once share one call. Turns for such calls go round by `caller`.
    ///
    /// # Errors
    ///
    /// When the API server doesn't tell; nothing was changed.
    pub async fn details(
        &self,
        namespace: &str,
        name: &str,
        at_least: u64,
        caller: &CallerId,
    ) -> Result<(Arc<Details>, Duration), ReadError> {
        self.api_server.admit()?;
        let key = (namespace.to_owned(), name.to_owned());
        let question = Question {
            api_server: &self.api_server,
            turns: &self.limiter.container_reads,
            caller,
            key: &key,
            at_least,
        };
        let read = || self.reads.find(&question);
        let (mut found, mut asked) = read().await?;
        if found.resource_version < at_least {
            // It was under way before the store saw this version; one that begins now isn't older.
            (found, asked) = read().await?;
        }
        // The store may not know yet that it has lost its label. An older state than the store's says nothing of that.
        if found.resource_version >= at_least && !self.managed.selects(&found.labels) {
            return Err(ReadError::NotFound);
        }
        Ok((found, asked.elapsed()))
    }

    /// The version that the store has of a Deployment, if it is there: nothing is sent for what isn't managed.
    pub fn stored_version(&self, (namespace, name): (&str, &str)) -> Option<u64> {
        let snapshot = self.status.store().snapshot();
        let record = snapshot.get(namespace, name)?;
        Some(record.resource_version())
    }

    /// The details that were read last, if that is no more than some seconds ago: for the log.
    pub fn last_details(&self, namespace: &str, name: &str) -> Option<Arc<Details>> {
        self.reads.last(&(namespace.to_owned(), name.to_owned()))
    }
}

/// A read that waits for its turn first. Once it is sent it goes on for a moment when all who wait for it hang up, and keeps its turn: so
/// asking and hanging up again and again asks no more of the API server than waiting does, and ends none of its connections.
fn in_turn(question: &Question<'_>, asked: Instant) -> impl Future<Output = Outcome> + use<> {
    let (api_server, key) = (question.api_server.clone(), question.key.clone());
    let (turns, caller) = (question.turns.clone(), question.caller.clone());
    async move {
        let turn = turns.take(&caller).await.map_err(ReadError::NoTurn)?;
        let (waits, all_left) = oneshot::channel::<()>();
        let reading = request::spawn(async move {
            let (_turn, sent) = (turn, Instant::now());
            let late = |_| ReadError::Unavailable(CallError::Silent(READ).to_string(), None);
            let left = async {
                let _ = all_left.await;
                sleep_until(sent + GOES_ON).await;
            };
            tokio::select! {
                outcome = timeout_at(asked + READ, read(&api_server, &key)) => {
                    outcome.map_err(late)?.map(|object| Arc::new(object.into()))
                }
                () = left => Err(ReadError::Unavailable("nobody waits for it".into(), None)),
            }
        });
        let outcome = reading.await;
        drop(waits);
        match outcome.map_err(JoinError::try_into_panic) {
            Ok(outcome) => outcome,
            Err(Ok(panic)) => resume_unwind(panic),
            Err(Err(ended)) => Err(ReadError::Unavailable(ended.to_string(), None)),
        }
    }
}

/// A list of one, since whoever may list Deployments for the store needs no further right for it. A consistent read: it
/// shows every version that the store has.
pub(super) async fn read(
    api_server: &ApiServer,
    (namespace, name): &Key,
) -> Result<DeploymentObject, ReadError> {
    let uri = format!(
        "/apis/apps/v1/namespaces/{namespace}/deployments?fieldSelector=metadata.name%3D{name}"
    );
    // Both names were validated: nothing in them needs escaping.
    let list: DeploymentList = ask(api_server, &uri).await?;
    list.items.into_iter().next().ok_or(ReadError::NotFound)
}

/// A list, as it is told in JSON.
pub(super) async fn ask<T: DeserializeOwned>(
    api_server: &ApiServer,
    uri: &str,
) -> Result<T, ReadError> {
    let mut list = Request::new(Body::empty());
    *list.uri_mut() = uri.parse().map_err(|_| ReadError::NotFound)?;
    list.headers_mut()
        .insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    let mut response = api_server.send(list, READ).await.map_err(failed)?;
    let body = small_body(response.body_mut(), READ).await;
    serde_json::from_slice(&body.map_err(failed)?)
        .map_err(|e| ReadError::Unavailable(format!("it answered what can't be read: {e}"), None))
}

fn failed(error: CallError) -> ReadError {
    match error.code() {
        401 | 403 => ReadError::Credentials(error.to_string()),
        _ => ReadError::Unavailable(error.to_string(), error.retry_after()),
    }
}
