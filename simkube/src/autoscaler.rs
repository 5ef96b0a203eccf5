//! HorizontalPodAutoscalers: listed and watched, set by tests. Nobody here acts on them; they share the cluster's versions.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use crate::body::Body;
use crate::cluster::{Cluster, Shared, lock};
use crate::route::Query;
use crate::status::Status;

pub(crate) const RESOURCE: &str = "horizontalpodautoscalers";
pub(crate) const GROUP: &str = "autoscaling";
const API_VERSION: &str = "autoscaling/v2";
const KIND: &str = "HorizontalPodAutoscaler";
/// Events that are kept for watches.
const KEPT: usize = 1000;

type Key = (String, String);

/// All of them, and what happened to them of late.
#[derive(Debug, Default)]
pub(crate) struct Autoscalers(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    objects: BTreeMap<Key, Value>,
    /// With version, type and object of each event.
    history: VecDeque<(u64, &'static str, Value)>,
    /// Watches from before this version are expired.
    oldest: u64,
    /// Watches that were opened before this number moved end.
    epoch: u64,
}

impl Inner {
    fn happened(&mut self, version: u64, kind: &'static str, object: Value) {
        self.history.push_back((version, kind, object));
        if self.history.len() > KEPT
            && let Some((version, ..)) = self.history.pop_front()
        {
            self.oldest = version;
        }
    }
}

impl Cluster {
    /// Creates or replaces a HorizontalPodAutoscaler with this spec and these owner references, which are JSON as Kubernetes has
    /// them; its version.
    pub fn set_autoscaler(&self, namespace: &str, name: &str, spec: Value, owners: Value) -> u64 {
        let version = self.next_version();
        let object = json!({
            "kind": KIND, "apiVersion": API_VERSION,
            "metadata": {
                "namespace": namespace, "name": name, "resourceVersion": version.to_string(), "ownerReferences": owners,
            },
            "spec": spec, "status": { "currentReplicas": 0, "desiredReplicas": 0 },
        });
        let mut inner = lock(&self.shared.autoscalers.0);
        let key = (namespace.to_owned(), name.to_owned());
        let known = inner.objects.insert(key, object.clone()).is_some();
        inner.happened(version, if known { "MODIFIED" } else { "ADDED" }, object);
        drop(inner);
        self.shared.changed.send_replace(());
        version
    }

    /// Deletes a HorizontalPodAutoscaler; the version that this made, or `None` if it is absent.
    pub fn delete_autoscaler(&self, namespace: &str, name: &str) -> Option<u64> {
        let key = (namespace.to_owned(), name.to_owned());
        let mut object = lock(&self.shared.autoscalers.0).objects.remove(&key)?;
        let version = self.next_version();
        object["metadata"]["resourceVersion"] = version.to_string().into();
        lock(&self.shared.autoscalers.0).happened(version, "DELETED", object);
        self.shared.changed.send_replace(());
        Some(version)
    }

    /// Ends the open watches of HorizontalPodAutoscalers; with `expired`, later ones can't go on from an older version than now.
    pub fn end_autoscaler_watches(&self, expired: bool) {
        let version = self.next_version();
        let mut inner = lock(&self.shared.autoscalers.0);
        inner.epoch += 1;
        if expired {
            inner.history.clear();
            inner.oldest = version;
        }
        drop(inner);
        self.shared.changed.send_replace(());
    }

    fn next_version(&self) -> u64 {
        let mut state = self.shared.state();
        state.version += 1;
        state.version
    }
}

impl Autoscalers {
    /// The cluster goes back to this version, which knows nothing of what came later; what was changed later is gone, too.
    pub(crate) fn restore(&self, version: u64) {
        let mut inner = lock(&self.0);
        inner.epoch += 1;
        inner.history.retain(|(happened, ..)| *happened <= version);
        inner.objects.retain(|_, object| {
            let own = object["metadata"]["resourceVersion"].as_str();
            own.and_then(|own| own.parse().ok())
                .is_some_and(|own: u64| own <= version)
        });
    }
}

fn in_scope(object: &Value, namespace: Option<&str>) -> bool {
    namespace.is_none_or(|namespace| object["metadata"]["namespace"] == namespace)
}

/// A page of a list: all namespaces or one; the continue token is the place of the next one.
pub(crate) fn list(
    shared: &Shared,
    namespace: Option<&str>,
    query: &Query,
) -> Result<Value, Status> {
    let limit = query.number("limit")?.unwrap_or(0);
    let limit = usize::try_from(limit)
        .ok()
        .filter(|n| *n > 0)
        .unwrap_or(usize::MAX);
    let invalid = || Status::bad_request("invalid continue token");
    let start: usize = match query.get("continue") {
        "" => 0,
        token => token.parse().map_err(|_| invalid())?,
    };
    let version = shared.state().version;
    let inner = lock(&shared.autoscalers.0);
    let all: Vec<_> = inner
        .objects
        .values()
        .filter(|object| in_scope(object, namespace))
        .collect();
    let rest = all.get(start..).ok_or_else(invalid)?;
    let items = &rest[..rest.len().min(limit)];
    let next = match rest.len() > items.len() {
        true => (start + items.len()).to_string(),
        false => String::new(),
    };
    Ok(json!({
        "kind": "HorizontalPodAutoscalerList", "apiVersion": API_VERSION,
        "metadata": { "resourceVersion": version.to_string(), "continue": next },
        "items": items,
    }))
}

fn event(kind: &str, object: &Value) -> Bytes {
    let line = json!({ "type": kind, "object": object });
    format!("{line}\n").into()
}

/// A watch: what happened since a version, then what happens, and a bookmark at its end.
pub(crate) fn watch(
    shared: &Arc<Shared>,
    namespace: Option<&str>,
    query: &Query,
) -> Result<Body, Status> {
    let from = query.version().map_err(Status::bad_request)?;
    let seconds = query.number("timeoutSeconds")?.unwrap_or(300).max(1);
    let mut seen = from.unwrap_or_else(|| shared.state().version);
    let deadline = Instant::now() + Duration::from_secs(seconds.unsigned_abs());
    let inner = lock(&shared.autoscalers.0);
    let (epoch, expired) = (inner.epoch, seen < inner.oldest);
    drop(inner);
    if expired {
        let gone = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410,
            "message": format!("too old resource version: {seen}"),
        });
        return Ok(Body::full(event("ERROR", &gone)));
    }
    let shared = shared.clone();
    let namespace = namespace.map(str::to_owned);
    let mut changed = shared.changed.subscribe();
    let (send, receive) = tokio::sync::mpsc::channel(16);
    tokio::spawn(async move {
        loop {
            changed.mark_unchanged();
            let (news, ended) = {
                let inner = lock(&shared.autoscalers.0);
                let news = inner.history.iter().filter(|(version, _, object)| {
                    *version > seen && in_scope(object, namespace.as_deref())
                });
                let news: Vec<_> = news
                    .map(|(version, kind, object)| (*version, event(kind, object)))
                    .collect();
                (news, inner.epoch != epoch)
            };
            for (version, line) in news {
                seen = version;
                if send.send(Ok(line)).await.is_err() {
                    return;
                }
            }
            if ended {
                return;
            }
            tokio::select! {
                () = send.closed() => return,
                waited = timeout_at(deadline, changed.changed()) => if waited.is_err() {
                    let version = shared.state().version.to_string();
                    let mark = json!({ "kind": KIND, "apiVersion": API_VERSION, "metadata": { "resourceVersion": version } });
                    let _ = send.send(Ok(event("BOOKMARK", &mark))).await;
                    return;
                },
            }
        }
    });
    Ok(Body::stream(stream::unfold(
        receive,
        async |mut receive| {
            let piece = receive.recv().await?;
            Some((piece, receive))
        },
    )))
}
