//! The Lease objects that keep leases of counts: this server's copy of them, and writes of one, each on a condition.

mod copy;

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, header};
use jiff::{SignedDuration, Timestamp};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};
use uuid::Uuid;

use copy::Copy;
pub use copy::KnownLeases;

use super::{
    InformerStatus, WriteError,
    calls::{ApiServer, CallError, small_body},
    circuit::Away,
    follower::Follower,
};
use crate::leases::{Lease, NotALease, Stored, object_name};

/// How long one call may take.
const CALL: Duration = Duration::from_secs(5);
/// How long an answer waits until the copy has what was written.
const SEE: Duration = Duration::from_secs(5);
/// Those that are leases of counts, and not those of elections.
const SELECTION: &str = "&labelSelector=headcount%2Flease%3Dcount";

/// How many leases there may be, for how long, and where their objects are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRules {
    /// The namespace of their objects, which is this server's own.
    pub namespace: String,
    /// The longest time that one may ask for, in seconds.
    pub longest: u32,
    /// How many there may be in all.
    pub most: usize,
}

/// What time it is for leases: that of this machine, or another one in tests.
#[derive(Debug, Clone, Default)]
pub struct Clock(Arc<AtomicI64>);

impl Clock {
    /// The time, in whole microseconds, as the objects keep it.
    pub fn now(&self) -> Timestamp {
        let ahead = SignedDuration::from_millis(self.0.load(Ordering::Relaxed));
        let now = Timestamp::now().saturating_add(ahead);
        let now = now.unwrap_or(Timestamp::MAX);
        Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
    }

    /// Is ahead of this machine's by so much more.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        self.0.fetch_add(by, Ordering::Relaxed);
    }
}

/// Why an object wasn't read or written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// Its condition doesn't hold: somebody else has changed, deleted or created it.
    #[error("others changed the Lease object")]
    Changed,
    /// There is an object by this name that isn't a lease.
    #[error(
        "the Lease object {0} is none of headcount's, or was changed by hand: {1}; mend it, or end the lease with `kubectl delete lease {0}`, which leaves the count as it is"
    )]
    Unreadable(String, NotALease),
    /// Admission, a quota or validation refused it, in these words.
    #[error("Kubernetes refused the Lease object: {0}")]
    Refused(String),
    /// The cluster refuses this server.
    #[error("the cluster refuses this server's own credentials: {0}")]
    Credentials(String),
    /// The API server is away or overloaded.
    #[error("the Kubernetes API is unavailable: {0}")]
    Unavailable(String, Option<Duration>),
    /// It was sent, and whether it was carried out isn't known.
    #[error("the outcome isn't known: {0}")]
    Unknown(String),
}

impl From<Away> for LeaseError {
    fn from(Away { why, retry_after }: Away) -> Self {
        Self::Unavailable(why, Some(retry_after))
    }
}

impl<E> From<LeaseError> for WriteError<E> {
    fn from(error: LeaseError) -> Self {
        let words = error.to_string();
        match error {
            LeaseError::Changed => Self::Conflict,
            LeaseError::Unreadable(..) | LeaseError::Refused(_) => Self::Refused(words),
            LeaseError::Credentials(words) => Self::Credentials(words),
            LeaseError::Unavailable(why, retry_after) => Self::Unavailable(why, retry_after),
            LeaseError::Unknown(why) => Self::Unknown(why),
        }
    }
}

/// The objects of one namespace. [`LeaseObjects::follow`] keeps the copy.
pub struct LeaseObjects {
    api_server: ApiServer,
    status: Arc<InformerStatus>,
    rules: LeaseRules,
    clock: Clock,
    copy: Copy,
}

impl LeaseObjects {
    /// Those in the namespace that the rules name; nothing is known of them yet.
    pub fn new(
        client: kube::Client,
        status: Arc<InformerStatus>,
        rules: LeaseRules,
        clock: Clock,
    ) -> Self {
        Self {
            api_server: ApiServer::new(client, status.circuit()),
            copy: Copy::new(status.restores.subscribe()),
            status,
            rules,
            clock,
        }
    }

    /// What leases are bounded by.
    pub fn rules(&self) -> &LeaseRules {
        &self.rules
    }

    /// What time it is for leases.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Those that are known; `None` before the first list, or without the right to list them.
    pub fn known(&self) -> Option<Arc<KnownLeases>> {
        self.copy.known()
    }

    /// Tells of every change of what is known.
    pub fn changes(&self) -> watch::Receiver<Option<Arc<KnownLeases>>> {
        self.copy.changes()
    }

    /// Keeps the copy like the cluster, for ever.
    pub async fn follow(self: Arc<Self>) {
        let restores = self.status.restores.subscribe();
        let api_server = self.api_server.clone();
        Follower::new(
            api_server,
            self.collection(),
            SELECTION,
            restores,
            &self.copy,
        )
        .run()
        .await;
    }

    fn collection(&self) -> String {
        let namespace = &self.rules.namespace;
        format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases")
    }

    /// The lease of a Deployment, as it is in the cluster now.
    ///
    /// # Errors
    ///
    /// It isn't known, or can't be read.
    pub async fn read(&self, namespace: &str, name: &str) -> Result<Option<Stored>, LeaseError> {
        let own = object_name(namespace, name);
        let path = format!("{}/{own}", self.collection());
        self.api_server.admit()?;
        let copied = self.known();
        let copied = copied.as_ref().and_then(|known| known.of(namespace, name));
        match self.call(Method::GET, &path, None).await {
            Ok(body) => self.told(&own, &body).map(Some),
            Err(error) if error.code() == 404 => {
                // That one was there before this was asked; another may be since.
                if let Some(copied) = copied {
                    self.copy.deleted(copied);
                }
                Ok(None)
            }
            Err(error) => Err(failed(error, false)),
        }
    }

    /// Creates the object of a lease, unless there is one for this Deployment.
    ///
    /// # Errors
    ///
    /// Each says what is known of the outcome.
    pub async fn create(&self, lease: &Lease) -> Result<Stored, LeaseError> {
        self.api_server.admit()?;
        let object = lease.object();
        let body = self
            .call(Method::POST, &self.collection(), Some(&object))
            .await
            .map_err(|error| match error.code() {
                404 => LeaseError::Unavailable(
                    format!("its namespace {:?}, which keeps leases (leases.namespace), isn't there: whoever runs this server has to create it", self.rules.namespace),
                    None,
                ),
                _ => failed(error, true),
            })?;
        self.told(&object_name(&lease.namespace, &lease.name), &body)
    }

    /// Has the object say this of the lease, if it wasn't changed.
    ///
    /// # Errors
    ///
    /// Each says what is known of the outcome.
    pub async fn replace(&self, before: &Stored, lease: &Lease) -> Result<Stored, LeaseError> {
        self.api_server.admit()?;
        let own = object_name(&before.lease.namespace, &before.lease.name);
        let path = format!("{}/{own}", self.collection());
        let object = before.replaced_by(lease);
        let body = self.call(Method::PUT, &path, Some(&object)).await;
        self.told(&own, &body.map_err(|error| failed(error, true))?)
    }

    /// Deletes the object, if it wasn't changed.
    ///
    /// # Errors
    ///
    /// Each says what is known of the outcome.
    pub async fn delete(&self, before: &Stored) -> Result<(), LeaseError> {
        self.api_server.admit()?;
        let own = object_name(&before.lease.namespace, &before.lease.name);
        let path = format!("{}/{own}", self.collection());
        let options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {
                "uid": before.uid.to_string(),
                "resourceVersion": before.version.to_string(),
            },
        });
        let deleted = self.call(Method::DELETE, &path, Some(&options)).await;
        // Either way that one is gone.
        let failure = deleted.as_ref().err();
        if failure.is_none_or(|error| error.code() == 404) {
            self.copy.deleted(before);
        }
        match deleted.map(drop).map_err(|error| failed(error, true)) {
            // Whoever deleted it tells what it came to: it is looked whether that was this one.
            Err(LeaseError::Unknown(why)) => {
                let names = (&*before.lease.namespace, &*before.lease.name);
                let there = self.read(names.0, names.1).await;
                let gone = there.is_ok_and(|there| there.is_none_or(|it| it.uid != before.uid));
                if gone {
                    self.copy.deleted(before);
                    Ok(())
                } else {
                    Err(LeaseError::Unknown(why))
                }
            }
            known => known,
        }
    }

    /// The object as the API server has just told it, which this server's reads show from now on.
    fn told(&self, own: &str, body: &Bytes) -> Result<Stored, LeaseError> {
        let stored = stored(own, body)?;
        self.copy.told(&stored);
        Ok(stored)
    }

    /// Waits until the copy doesn't have an object any more; not for long.
    pub async fn seen_gone(&self, uid: Uuid) {
        self.until(|known| !known.keeps(uid)).await;
    }

    /// Whether the API server is there, as far as is known: a dead one isn't tried.
    pub(super) fn admit(&self) -> Result<(), Away> {
        self.api_server.admit()
    }

    async fn until(&self, holds: impl Fn(&KnownLeases) -> bool) {
        let mut known = self.copy.changes();
        // Where nothing is known there is nothing to wait for.
        let seen = known.wait_for(|known| known.as_ref().is_none_or(|known| holds(known)));
        let _ = timeout_at(Instant::now() + SEE, seen).await;
    }

    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Bytes, CallError> {
        let bytes = body.map(Value::to_string).unwrap_or_default();
        let mut request = Request::new(Body::from(bytes.into_bytes()));
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().unwrap_or_default();
        for name in [header::CONTENT_TYPE, header::ACCEPT] {
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().insert(name, json);
        }
        let mut response = self.api_server.send(request, CALL).await?;
        small_body(response.body_mut(), CALL).await
    }
}

fn stored(own: &str, body: &Bytes) -> Result<Stored, LeaseError> {
    let object: Value = serde_json::from_slice(body).map_err(|e| {
        LeaseError::Unknown(format!(
            "the Kubernetes API answered what can't be read: {e}"
        ))
    })?;
    Stored::read(&object).map_err(|why| LeaseError::Unreadable(own.to_owned(), why))
}

/// What a failed call means; only what `writes` can have been carried out.
fn failed(error: CallError, writes: bool) -> LeaseError {
    let retry_after = error.retry_after();
    let status = match error {
        CallError::Status { status, .. } => status,
        CallError::Unreachable(why) => return LeaseError::Unavailable(why, None),
        sent if writes => return LeaseError::Unknown(sent.to_string()),
        sent => return LeaseError::Unavailable(sent.to_string(), None),
    };
    let message = status.message;
    match status.code {
        _ if message.contains("denied the request") => LeaseError::Refused(message),
        401 => LeaseError::Credentials(message),
        403 if message.contains("cannot ") && message.contains("resource ") => {
            LeaseError::Credentials(message)
        }
        400 | 403 | 422 => LeaseError::Refused(message),
        404 | 409 => LeaseError::Changed,
        429 | 503 => LeaseError::Unavailable(message, retry_after),
        code if writes => LeaseError::Unknown(format!("it answered {code}: {message}")),
        code => LeaseError::Unavailable(format!("it answered {code}: {message}"), None),
    }
}
