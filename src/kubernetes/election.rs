//! Which of several servers brings counts back: the one that holds a Lease object, as Kubernetes' own controllers elect theirs.
//!
//! Two that both think so do no harm, since each step is made on a condition; it only spares the API server their contest.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};
use tracing::{debug, info};

use super::{LeaseObjects, calls::CallError};

/// The object's name.
const NAME: &str = "headcount-reverter";
/// For how long whoever renews it has it.
const DURATION: Duration = Duration::from_secs(15);
/// Whoever couldn't renew it for so long doesn't act on it any more.
const ACTS_FOR: Duration = Duration::from_secs(10);

/// This server's part in the election.
pub struct Election {
    leases: Arc<LeaseObjects>,
    identity: String,
    /// When it was acquired or renewed last.
    renewed: watch::Sender<Option<Instant>>,
    /// The version that somebody else's renewal had, and since when it is known.
    observed: Option<(String, Instant)>,
}

/// Whether this server is the one, for whoever acts on it.
#[derive(Debug, Clone)]
pub struct Won(watch::Receiver<Option<Instant>>);

impl Won {
    /// Whether it is at this moment.
    pub fn is(&self) -> bool {
        acts(*self.0.borrow())
    }
}

#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    resource_version: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    holder_identity: Option<String>,
    #[serde(default)]
    lease_transitions: i64,
    #[serde(default)]
    acquire_time: Option<String>,
}

impl Election {
    /// How often it has to be renewed, or tried.
    pub const EVERY: Duration = Duration::from_secs(5);

    /// A part in the election in the namespace of these leases.
    pub fn new(leases: Arc<LeaseObjects>) -> Self {
        // A Pod's name, in a Pod.
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname");
        let host = host.unwrap_or_else(|_| "headcount".into());
        Self {
            leases,
            identity: format!("{}_{:08x}", host.trim(), fastrand::u32(..)),
            renewed: watch::Sender::new(None),
            observed: None,
        }
    }

    /// Whether this server is the one.
    pub fn is_won(&self) -> bool {
        acts(*self.renewed.borrow())
    }

    /// The same for others, from now on.
    pub fn won(&self) -> Won {
        Won(self.renewed.subscribe())
    }

    /// Renews what it holds, or takes what nobody holds any more.
    pub async fn attempt(&mut self) {
        let before = self.is_won();
        let began = Instant::now();
        let acquired = match self.leases.admit() {
            Ok(()) => self.acquire().await,
            Err(away) => Err(CallError::Unreachable(away.why)),
        };
        match acquired {
            Ok(true) => drop(self.renewed.send_replace(Some(began))),
            Ok(false) => drop(self.renewed.send_replace(None)),
            Err(error) => {
                debug!(name: "leases.election.failed", error = %error, "the election's object wasn't read or written");
            }
        }
        if before != self.is_won() {
            if before {
                lost();
            } else {
                info!(name: "leases.election.won", "this server brings counts back when their leases are over");
            }
        }
    }

    async fn acquire(&mut self) -> Result<bool, CallError> {
        let path = self.path();
        let found = match self.leases.call(Method::GET, &path, None).await {
            Ok(found) => read(&found)?,
            Err(error) if error.code() == 404 => {
                let collection = path.trim_end_matches(NAME).trim_end_matches('/').to_owned();
                let created = self.object(None, 0, None);
                let created = self.leases.call(Method::POST, &collection, Some(&created));
                return unless_overtaken(created.await);
            }
            Err(error) => return Err(error),
        };
        let Object { metadata, spec } = found;
        let version = metadata.resource_version;
        let holder = spec.holder_identity.filter(|holder| !holder.is_empty());
        let (transitions, acquired) = match holder {
            Some(holder) if holder == self.identity => (spec.lease_transitions, spec.acquire_time),
            Some(_) if !self.is_stale(&version) => return Ok(false),
            _ => (spec.lease_transitions + 1, None),
        };
        let object = self.object(Some(&version), transitions, acquired);
        let taken = self.leases.call(Method::PUT, &path, Some(&object)).await;
        unless_overtaken(taken)
    }

    /// Whether whoever holds it hasn't renewed it for as long as it lasts, by this server's clock alone.
    fn is_stale(&mut self, version: &str) -> bool {
        match &self.observed {
            Some((known, since)) if known == version => since.elapsed() >= DURATION,
            _ => {
                self.observed = Some((version.to_owned(), Instant::now()));
                false
            }
        }
    }

    /// Lets the next one have it at once.
    pub async fn release(&mut self) {
        let won = self.is_won();
        if self.renewed.send_replace(None).is_none() {
            return;
        }
        if won {
            lost();
        }
        if self.leases.admit().is_err() {
            return;
        }
        let path = self.path();
        let released = async {
            let Object { metadata, spec } =
                read(&self.leases.call(Method::GET, &path, None).await?)?;
            if spec.holder_identity.as_deref() != Some(&*self.identity) {
                return Ok(());
            }
            let version = metadata.resource_version;
            let mut object = self.object(Some(&version), spec.lease_transitions, None);
            object["spec"]["holderIdentity"] = Value::Null;
            object["spec"]["leaseDurationSeconds"] = 1.into();
            let released = self.leases.call(Method::PUT, &path, Some(&object));
            released.await.map(drop)
        };
        let released: Result<(), CallError> = released.await;
        if let Err(error) = released {
            debug!(name: "leases.election.failed", error = %error, "the election wasn't left to the others: they wait {} s", DURATION.as_secs());
        }
    }

    fn path(&self) -> String {
        let namespace = &self.leases.rules().namespace;
        format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{NAME}")
    }

    fn object(&self, version: Option<&str>, transitions: i64, acquired: Option<String>) -> Value {
        let now = format!("{:.6}", self.leases.now());
        let mut object = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": NAME,
                "labels": {"app.kubernetes.io/managed-by": "headcount"},
            },
            "spec": {
                "holderIdentity": self.identity,
                "leaseDurationSeconds": DURATION.as_secs(),
                "acquireTime": acquired.unwrap_or_else(|| now.clone()),
                "renewTime": now,
                "leaseTransitions": transitions,
            },
        });
        if let Some(version) = version {
            object["metadata"]["resourceVersion"] = version.into();
        }
        object
    }
}

fn acts(renewed: Option<Instant>) -> bool {
    renewed.is_some_and(|at| at.elapsed() < ACTS_FOR)
}

fn lost() {
    info!(name: "leases.election.lost", "this server brings no counts back until it is elected again");
}

fn read(body: &Bytes) -> Result<Object, CallError> {
    serde_json::from_slice(body)
        .map_err(|e| CallError::Broken(format!("it sent what can't be read: {e}")))
}

fn unless_overtaken(written: Result<Bytes, CallError>) -> Result<bool, CallError> {
    match written {
        Ok(_) => Ok(true),
        Err(error) if error.code() == 409 => Ok(false),
        Err(error) => Err(error),
    }
}
