//! Objects of a kind that is kept as JSON, listed and watched. They share the cluster's versions.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use crate::body::Body;
use crate::cluster::{Shared, lock};
use crate::route::Query;
use crate::selector::Selector;
use crate::status::Status;

/// Events that are kept for watches.
const KEPT: usize = 1000;

/// A kind, and where a cluster has its objects.
pub(crate) struct Kind {
    pub(crate) group: &'static str,
    pub(crate) api_version: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) resource: &'static str,
    pub(crate) of: fn(&Shared) -> &Objects,
}

/// All objects of a kind, and what happened to them of late.
#[derive(Debug, Default)]
pub(crate) struct Objects(Mutex<Inner>);

#[derive(Debug, Default)]
pub(crate) struct Inner {
    objects: BTreeMap<(String, String), Value>,
    /// With version, type and object of each event.
    history: VecDeque<(u64, &'static str, Value)>,
    /// Watches from before this version are expired.
    oldest: u64,
    /// Watches that were opened before this number moved end.
    epoch: u64,
}

impl Inner {
    /// Those of a namespace, by name.
    pub(crate) fn of(&self, namespace: &str) -> Vec<Value> {
        let all = self.objects.iter();
        let own = all.filter(|((of, _), _)| of == namespace);
        own.map(|(_, object)| object.clone()).collect()
    }

    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<&Value> {
        self.objects.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// Creates or replaces an object, which has its version then.
    pub(crate) fn put(&mut self, shared: &Shared, namespace: &str, name: &str, object: &mut Value) {
        let version = next_version(shared);
        object["metadata"]["resourceVersion"] = version.to_string().into();
        let key = (namespace.to_owned(), name.to_owned());
        let known = self.objects.insert(key, object.clone()).is_some();
        let what = if known { "MODIFIED" } else { "ADDED" };
        self.happened(version, what, object.clone());
        shared.changed.send_replace(());
    }

    /// Deletes an object; the version that this made, or `None` if it is absent.
    pub(crate) fn remove(&mut self, shared: &Shared, namespace: &str, name: &str) -> Option<u64> {
        let key = (namespace.to_owned(), name.to_owned());
        let mut object = self.objects.remove(&key)?;
        let version = next_version(shared);
        object["metadata"]["resourceVersion"] = version.to_string().into();
        self.happened(version, "DELETED", object);
        shared.changed.send_replace(());
        Some(version)
    }

    fn happened(&mut self, version: u64, what: &'static str, object: Value) {
        self.history.push_back((version, what, object));
        if self.history.len() > KEPT
            && let Some((version, ..)) = self.history.pop_front()
        {
            self.oldest = version;
        }
    }
}

impl Objects {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.0)
    }

    /// The cluster goes back to this version, which knows nothing of what came later; what was changed later is gone, too.
    pub(crate) fn restore(&self, version: u64) {
        let mut inner = self.lock();
        inner.epoch += 1;
        inner.history.retain(|(happened, ..)| *happened <= version);
        inner.objects.retain(|_, object| {
            let own = object["metadata"]["resourceVersion"].as_str();
            own.and_then(|own| own.parse().ok())
                .is_some_and(|own: u64| own <= version)
        });
    }

    /// Ends the open watches; with `expired`, later ones can't go on from an older version than now.
    pub(crate) fn end_watches(&self, shared: &Shared, expired: bool) {
        let mut inner = self.lock();
        inner.epoch += 1;
        if expired {
            inner.history.clear();
            inner.oldest = next_version(shared);
        }
        drop(inner);
        shared.changed.send_replace(());
    }
}

fn next_version(shared: &Shared) -> u64 {
    let mut state = shared.state();
    state.version += 1;
    state.version
}

/// What a list or a watch is of.
#[derive(Clone)]
struct Scope {
    namespace: Option<String>,
    selector: Selector,
}

impl Scope {
    fn new(namespace: Option<&str>, query: &Query) -> Result<Self, Status> {
        Ok(Self {
            namespace: namespace.map(str::to_owned),
            selector: Selector::parse(query.get("labelSelector"), query.get("fieldSelector"))?,
        })
    }

    fn has(&self, object: &Value) -> bool {
        let metadata = &object["metadata"];
        let text = |field: &str| metadata[field].as_str().unwrap_or_default();
        let (namespace, name) = (text("namespace"), text("name"));
        let label = |key: &str| metadata["labels"][key].as_str();
        self.namespace.as_deref().is_none_or(|own| own == namespace)
            && self.selector.selects(label, (namespace, name))
    }
}

/// A page of a list: all namespaces or one; the continue token is the place of the next one.
pub(crate) fn list(
    shared: &Shared,
    kind: &Kind,
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
    let scope = Scope::new(namespace, query)?;
    let inner = (kind.of)(shared).lock();
    let version = shared.state().version;
    let all = inner.objects.values().filter(|object| scope.has(object));
    let all: Vec<_> = all.collect();
    let rest = all.get(start..).ok_or_else(invalid)?;
    let items = &rest[..rest.len().min(limit)];
    let next = match rest.len() > items.len() {
        true => (start + items.len()).to_string(),
        false => String::new(),
    };
    Ok(json!({
        "kind": format!("{}List", kind.kind), "apiVersion": kind.api_version,
        "metadata": { "resourceVersion": version.to_string(), "continue": next },
        "items": items,
    }))
}

fn event(what: &str, object: &Value) -> Bytes {
    let line = json!({ "type": what, "object": object });
    format!("{line}\n").into()
}

/// A watch: what happened since a version, then what happens, and a bookmark at its end.
pub(crate) fn watch(
    shared: &Arc<Shared>,
    kind: &'static Kind,
    namespace: Option<&str>,
    query: &Query,
) -> Result<Body, Status> {
    let from = query.version().map_err(Status::bad_request)?;
    let seconds = query.number("timeoutSeconds")?.unwrap_or(300).max(1);
    let scope = Scope::new(namespace, query)?;
    let mut seen = from.unwrap_or_else(|| shared.state().version);
    let deadline = Instant::now() + Duration::from_secs(seconds.unsigned_abs());
    let inner = (kind.of)(shared).lock();
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
    let mut changed = shared.changed.subscribe();
    let (send, receive) = tokio::sync::mpsc::channel(16);
    tokio::spawn(async move {
        loop {
            changed.mark_unchanged();
            let (news, ended) = {
                let inner = (kind.of)(&shared).lock();
                let news = inner.history.iter();
                let news = news.filter(|(version, _, object)| *version > seen && scope.has(object));
                let news: Vec<_> = news
                    .map(|(version, what, object)| (*version, event(what, object)))
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
                    let mark = json!({ "kind": kind.kind, "apiVersion": kind.api_version, "metadata": { "resourceVersion": version } });
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
