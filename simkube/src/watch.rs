//! Watches: a stream of events from a version on, with bookmarks, until its time is over or something breaks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::header::CONTENT_TYPE;
use serde_json::json;
use tokio::sync::watch::Receiver;
use tokio::time::Instant;

use crate::body::{Body, BodyError, broken};
use crate::cluster::Shared;
use crate::faults::Fault;
use crate::history::Event;
use crate::json;
use crate::list::BAD_JSON;
use crate::negotiate::Encoding;
use crate::object::Object;
use crate::route::Query;
use crate::selector::Selector;
use crate::state::Scope;
use crate::status::{Causes, Status};
use crate::wire;

/// How often a bookmark comes.
const BOOKMARKS: Duration = Duration::from_secs(60);
/// How long before its end a watch gets its last bookmark.
const LAST_BOOKMARK: Duration = Duration::from_secs(2);
/// How long a watch lasts that doesn't say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2700);
/// How many events are taken from the history at once.
const BATCH: usize = 256;

/// An open watch.
struct Watch {
    shared: Arc<Shared>,
    id: u64,
    epoch: u64,
    encoding: Encoding,
    scope: Scope,
    selector: Selector,
    /// Everything up to this version was sent or didn't match.
    seen: u64,
    pending: VecDeque<Item>,
    ready: VecDeque<Bytes>,
    /// An event that waits for the next one to go first.
    held: Option<Bytes>,
    /// The event that was sent last.
    last: Option<Bytes>,
    deadline: Instant,
    bookmark: Option<Instant>,
    changed: Receiver<()>,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// What is ready is still sent, then it ends or breaks.
    Ending {
        breaks: bool,
    },
    Over,
}

/// What is to be sent.
enum Item {
    Event(Arc<Event>),
    /// The present state at the start of a watch.
    Initial(Arc<Object>),
    /// The bookmark after the present state.
    InitialEnd(u64),
    Error(Status),
}

/// Starts a watch. `fault` is what its start meets: `Expired`, or a body that is broken from the beginning.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    namespace: Option<&str>,
    query: &Query,
    encoding: Encoding,
    fault: Option<Fault>,
) -> Result<Response<Body>, Status> {
    let selector = Selector::parse(query.get("labelSelector"), query.get("fieldSelector"))?;
    // A number that is none is the server's fault here: so kube-apiserver has it.
    let requested = query.version().map_err(|why| Status::new(500, "", why))?;
    let initial_events = initial_events(query)?;
    if let (Some(true), Some(version)) = (initial_events, requested) {
        crate::list::reached(shared, version).await?;
    }
    let timeout = query
        .number("timeoutSeconds")?
        .and_then(|seconds| u64::try_from(seconds).ok());
    let timeout = timeout
        .filter(|seconds| *seconds > 0)
        .map_or(DEFAULT_TIMEOUT, Duration::from_secs);
    let now = Instant::now();
    let changed = shared.changed.subscribe();
    let scope = Scope::new(namespace);
    let mut pending = VecDeque::new();
    let seen_version = shared.seen_version();
    let mut state = shared.state();
    let present = seen_version.min(state.version);
    let from_present = initial_events.unwrap_or(requested.is_none_or(|version| version == 0));
    let mut seen = requested.unwrap_or(present);
    if from_present {
        seen = present;
        let page = state.page_at(present, &scope, None, None, |object| {
            selector.matches(object)
        });
        pending.extend(
            page.unwrap_or_default()
                .objects
                .into_iter()
                .map(Item::Initial),
        );
        if initial_events == Some(true) && query.flag("allowWatchBookmarks") {
            pending.push_back(Item::InitialEnd(present));
        }
    } else if seen < state.history.floor() || fault == Some(Fault::Expired) {
        pending.push_back(Item::Error(Status::too_old(seen, state.history.floor())));
    }
    if from_present && fault == Some(Fault::Expired) {
        pending = VecDeque::from([Item::Error(Status::too_old(seen, state.history.floor()))]);
    }
    let epoch = state.watch_epoch;
    drop(state);

    let mut watch = Watch {
        id: shared.faults.fresh_id(),
        epoch,
        encoding,
        scope,
        selector,
        seen,
        pending,
        ready: VecDeque::new(),
        held: None,
        last: None,
        deadline: now + timeout,
        bookmark: None,
        changed,
        phase: Phase::Open,
        shared: shared.clone(),
    };
    if query.flag("allowWatchBookmarks") {
        watch.schedule_bookmark(now);
    }
    match fault {
        Some(Fault::Garbage) => watch.end_with(GARBAGE.into(), false),
        Some(Fault::Truncate) => watch.end_with(Bytes::from_static(&[0, 0]), false),
        Some(Fault::Break) => watch.end_with(Bytes::from_static(&[0, 0]), true),
        _ => {}
    }
    shared.log.open_watches.fetch_add(1, Ordering::Relaxed);
    let body = Body::stream(futures_util::stream::unfold(watch, async |mut watch| {
        let piece = watch.next().await?;
        Some((piece, watch))
    }));
    let mut response = Response::new(body);
    response.headers_mut().insert(
        CONTENT_TYPE,
        http::HeaderValue::from_static(encoding.watch_content_type()),
    );
    Ok(response)
}

/// Whether a watch asks for the present state first, and by which rules.
fn initial_events(query: &Query) -> Result<Option<bool>, Status> {
    let asked = match query.get("sendInitialEvents") {
        "" => None,
        text => Some(text == "true" || text == "1"),
    };
    let matching = query.get("resourceVersionMatch");
    let field = "resourceVersionMatch";
    let mut wrong = Causes::default();
    if asked.is_some() && matching != "NotOlderThan" {
        wrong.forbidden(
            field,
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        );
    }
    if !matching.is_empty() {
        if asked.is_none() {
            wrong.forbidden(
                field,
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            );
        }
        if matching != "NotOlderThan" {
            wrong.unsupported(field, matching, "\"NotOlderThan\"");
        }
    }
    wrong.check("meta.k8s.io", "ListOptions", "")?;
    Ok(asked)
}

/// Bytes that mean nothing in either encoding; read as a length they are absurd.
pub(crate) const GARBAGE: &str =
    "\u{7f}\u{7f}<html>upstream connect error or disconnect/reset before headers</html>\n";

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.log.open_watches.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Watch {
    fn schedule_bookmark(&mut self, now: Instant) {
        let last = self
            .deadline
            .checked_sub(LAST_BOOKMARK)
            .filter(|last| *last > now);
        // None when it is too close to the end for another.
        self.bookmark = last.map(|last| last.min(now + BOOKMARKS));
    }

    fn end_with(&mut self, bytes: Bytes, breaks: bool) {
        self.pending.clear();
        self.ready.push_back(bytes);
        self.phase = Phase::Ending { breaks };
    }

    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            if self.phase == Phase::Over {
                return None;
            }
            self.changed.mark_unchanged();
            match self.shared.faults.on_open_watch(self.id) {
                Some(Fault::Hang) => {
                    if self.changed.changed().await.is_err() {
                        return None;
                    }
                    continue;
                }
                Some(Fault::End) => return None,
                Some(Fault::Break) if self.phase == Phase::Open => {
                    self.ready.clear();
                    self.end_with(Bytes::from_static(&[0, 0]), true);
                }
                _ => {}
            }
            // What was on its way when the cluster was restored has gone with the connection.
            if self.shared.state().watch_epoch != self.epoch {
                return None;
            }
            if let Some(bytes) = self.ready.pop_front() {
                return Some(Ok(bytes));
            }
            if let Phase::Ending { breaks } = self.phase {
                self.phase = Phase::Over;
                return if breaks {
                    Some(Err(broken().await))
                } else {
                    None
                };
            }
            if self.pending.is_empty() && !self.take_events() {
                return None;
            }
            match self.pending.pop_front() {
                Some(item) => self.send(item).await,
                None => self.wait().await,
            }
        }
    }

    /// Takes what happened since; false if the watch can't go on.
    fn take_events(&mut self) -> bool {
        let until = self.shared.seen_version();
        let state = self.shared.state();
        if state.watch_epoch != self.epoch {
            return false;
        }
        // A watch from the future stays silent until that version is there.
        if self.seen >= until.min(state.version) {
            return true;
        }
        // A watcher that fell behind the history is dropped, as kube-apiserver does with slow ones.
        let Some(events) = state.history.after(self.seen, until, BATCH) else {
            return false;
        };
        self.seen = match events.last() {
            Some(last) if events.len() == BATCH => last.version,
            _ => until.min(state.version),
        };
        drop(state);
        let scope = &self.scope;
        self.pending.extend(
            events
                .into_iter()
                .filter(|event| scope.contains(&event.object))
                .map(Item::Event),
        );
        true
    }

    async fn wait(&mut self) {
        let now = Instant::now();
        if now >= self.deadline {
            self.ready.extend(self.held.take());
            self.phase = Phase::Ending { breaks: false };
            return;
        }
        if self.bookmark.is_some_and(|at| now >= at) {
            self.ready.extend(self.held.take());
            self.ready.push_back(self.bookmark_frame(self.seen, false));
            self.schedule_bookmark(now);
            return;
        }
        let wake = self
            .bookmark
            .map_or(self.deadline, |at| at.min(self.deadline));
        // What is left to do is found out by the loop; a closed channel can't be, since the cluster is held here.
        let _ = tokio::time::timeout_at(wake, self.changed.changed()).await;
    }

    async fn send(&mut self, item: Item) {
        match item {
            Item::Error(status) => {
                let frame = self.error_frame(&status);
                self.end_with(frame, false);
            }
            Item::InitialEnd(version) => self.ready.push_back(self.bookmark_frame(version, true)),
            Item::Initial(object) => {
                let bytes = self.encode(&object);
                self.send_event("ADDED", bytes, &object).await;
            }
            Item::Event(event) => {
                let matched = event
                    .before
                    .as_ref()
                    .is_some_and(|before| self.selector.matches(before));
                let matches = !event.deletes && self.selector.matches(&event.object);
                let kind = match (matched, matches) {
                    (false, false) => return,
                    (false, true) => "ADDED",
                    (true, true) => "MODIFIED",
                    (true, false) => "DELETED",
                };
                let bytes = match &event.before {
                    // Leaves the selection: what it was, with the version at which it left.
                    Some(before) if matched && !matches && !event.deletes => {
                        let mut last = Object::clone(before);
                        last.resource_version = event.version;
                        self.encode(&last)
                    }
                    _ => event.encoded(self.encoding, |object| self.encode(object)),
                };
                self.send_event(kind, bytes, &event.object).await;
            }
        }
    }

    async fn send_event(&mut self, kind: &str, bytes: Bytes, object: &Object) {
        let (delay, fault) = self.shared.faults.on_event();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let frame = self.frame(kind, &bytes);
        let held = self.held.take();
        let before = self.last.replace(frame.clone());
        if let Some(Fault::Drop | Fault::Reorder | Fault::BadObject | Fault::WrongKind) = fault {
            let silent = fault == Some(Fault::Drop);
            let version = object.resource_version;
            self.shared.log.lose(object, version, silent);
        }
        match fault {
            Some(Fault::Drop) => {}
            Some(Fault::Replay) => {
                self.ready.push_back(frame);
                self.ready.extend(before);
            }
            Some(Fault::Duplicate) => self.ready.extend([frame.clone(), frame]),
            Some(Fault::Reorder) if held.is_none() => {
                self.held = Some(frame);
                return;
            }
            Some(Fault::BadObject) => {
                let bad = match self.encoding {
                    Encoding::Json => BAD_JSON.to_vec(),
                    Encoding::Protobuf => {
                        wire::envelope("apps/v1", "Deployment", wire::BAD_DEPLOYMENT)
                    }
                };
                self.ready.push_back(self.frame(kind, &bad));
            }
            Some(Fault::WrongKind) => {
                let wrong = wrong_kind(self.encoding, "ConfigMap");
                self.ready.push_back(self.frame(kind, &wrong));
            }
            Some(Fault::Expired) => {
                let floor = self.shared.state().history.floor();
                let frame = self.error_frame(&Status::too_old(self.seen, floor));
                self.end_with(frame, false);
            }
            Some(Fault::TooLargeVersion) => {
                let frame = self.error_frame(&Status::too_large(self.seen, self.seen - 1));
                self.end_with(frame, false);
            }
            Some(Fault::Status { code, .. }) => {
                let frame = self.error_frame(&Status::usual(code));
                self.end_with(frame, false);
            }
            Some(Fault::Garbage) => self.end_with(GARBAGE.into(), false),
            Some(Fault::Truncate) => self.end_with(frame.slice(..frame.len() / 2), false),
            Some(Fault::Break) => self.end_with(frame.slice(..frame.len() / 2), true),
            _ => self.ready.push_back(frame),
        }
        self.ready.extend(held);
    }

    fn encode(&self, object: &Object) -> Bytes {
        let managed = &self.shared.managed_fields;
        match self.encoding {
            Encoding::Json => serde_json::to_vec(&json::deployment(object, managed))
                .unwrap_or_default()
                .into(),
            Encoding::Protobuf => {
                let mut raw = Vec::with_capacity(2048);
                wire::deployment(&mut raw, object, managed);
                wire::envelope("apps/v1", "Deployment", &raw).into()
            }
        }
    }

    fn frame(&self, kind: &str, object: &[u8]) -> Bytes {
        match self.encoding {
            Encoding::Protobuf => wire::watch_frame(kind, object),
            Encoding::Json => {
                let mut out = Vec::with_capacity(object.len() + 40);
                out.extend_from_slice(format!("{{\"type\":\"{kind}\",\"object\":").as_bytes());
                out.extend_from_slice(object);
                out.extend_from_slice(b"}\n");
                out.into()
            }
        }
    }

    fn error_frame(&self, status: &Status) -> Bytes {
        self.frame("ERROR", &self.encoding.status(status))
    }

    fn bookmark_frame(&self, version: u64, initial_events_end: bool) -> Bytes {
        let object = match self.encoding {
            Encoding::Json => json::bookmark(version, initial_events_end)
                .to_string()
                .into_bytes(),
            Encoding::Protobuf => wire::bookmark(version, initial_events_end),
        };
        self.frame("BOOKMARK", &object)
    }
}

/// A well-formed object, or list, of a kind that nobody asked for.
pub(crate) fn wrong_kind(encoding: Encoding, kind: &str) -> Vec<u8> {
    match encoding {
        Encoding::Json => {
            let mut value =
                json!({ "kind": kind, "apiVersion": "v1", "metadata": { "resourceVersion": "1" } });
            if kind.ends_with("List") {
                value["items"] = json!([]);
            }
            value.to_string().into_bytes()
        }
        Encoding::Protobuf => wire::envelope("v1", kind, &wire::list_meta(1, "", None)),
    }
}
