//! The informer: list, then watch, and list again (relist) when the watch can't go on. The store's only writer.
//!
//! Silence proves nothing on a network, so there are two remedies: watches end by themselves every so often, and a probe
//! asks the API server every few seconds whether it is there.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tracing::{debug, info, warn};

use super::{
    Calls, InformerStatus, Managed,
    backoff::Backoff,
    calls::{ApiServer, CallError, next_chunk},
    probe::probe,
    relist::Relist,
    setters::{self, Objects},
    unreadable::Unreadable,
    wire::{DecodeError, Frame, WatchDecoder, version},
};
use crate::{
    store::{Deployment, Event, LabelKeys, Scope, Store, Transition},
    telemetry::metrics::InformerMetrics,
};

/// The API server ends a watch after so many seconds (its `timeoutSeconds`) …
const WATCH_SECONDS: u64 = 22;
/// … and this one soon: two seconds before the end of a watch a bookmark says how far it has come.
const SHORT_WATCH_SECONDS: u64 = 3;
/// A watch that goes on for so much longer is cut here: the connection is half-open.
const OVERTIME: Duration = Duration::from_secs(3);
/// A watch counts as one once it has shown a whole event, or has gone on for so long: any proxy can answer 200.
const WATCH_PROVEN: Duration = Duration::from_secs(1);
/// Relists that follow each other faster than this wait longer and longer.
const RELIST_PACE: Duration = Duration::from_secs(10);
/// Labels that callers select by are read by a list of their own so often at most, whatever callers ask for.
const LEARNING_PACE: Duration = Duration::from_secs(10);
/// So many counts that changed between two lists have their setter read, as long as one page has no more.
const MOST_OWNERS: usize = 1000;
/// A list of more pages has no end: two million Deployments would be as many.
const MOST_PAGES: usize = 1000;

/// Keeps one store like the cluster. [`Informer::run`] never returns.
pub struct Informer {
    status: Arc<InformerStatus>,
    metrics: Arc<InformerMetrics>,
    client: kube::Client,
    managed: Managed,
    labels: watch::Receiver<Arc<LabelKeys>>,
}

/// How a watch ended.
enum WatchEnd {
    /// As it should: the API server's time was up.
    Ended,
    Failed(CallError),
    Relist(Relist),
}

impl Informer {
    /// An informer for the store that `status` is about, which keeps the labels of the keys that `labels` holds.
    ///
    /// New keys make it list everything again; [`Snapshot::has_labels`](crate::store::Snapshot::has_labels) tells when it has.
    pub fn new(
        client: kube::Client,
        managed: Managed,
        labels: watch::Receiver<Arc<LabelKeys>>,
        status: Arc<InformerStatus>,
        metrics: Arc<InformerMetrics>,
    ) -> Self {
        Self {
            status,
            metrics,
            client,
            managed,
            labels,
        }
    }

    /// Follows every scope and probes, for ever.
    pub async fn run(self) {
        let Self {
            status,
            metrics,
            client,
            managed,
            labels,
        } = self;
        metrics.reasons(Relist::ALL.map(Relist::label));
        let api_server = ApiServer::new(client, status.circuit());
        let calls = |namespace: Option<&str>| {
            let selector = managed.label_selector.as_deref();
            Calls::new(api_server.clone(), namespace, selector)
        };
        let follow = status.store().scopes().into_iter().enumerate().map(
            |(position, (scope, namespace))| {
                let follower = Follower {
                    calls: calls(namespace.as_deref()),
                    namespace: namespace.unwrap_or_else(|| "all".into()),
                    scope,
                    position,
                    wanted: labels.clone(),
                    labels: Arc::default(),
                    status: Arc::clone(&status),
                    metrics: Arc::clone(&metrics),
                    backoff: Backoff::default(),
                    unreadable: Unreadable::default(),
                    lost: false,
                };
                follower.run()
            },
        );
        let follow = futures_util::future::join_all(follow);
        let first = managed.namespaces.first().map(String::as_str);
        let probe = probe(calls(first), Arc::clone(&status));
        tokio::join!(follow, probe);
    }
}

/// Waits until callers select by a label that wasn't read, and until that moment at least.
async fn another(learned: &mut watch::Receiver<Arc<LabelKeys>>, read: &LabelKeys, from: Instant) {
    sleep_until(from).await;
    if learned.wait_for(|keys| !read.include(keys)).await.is_err() {
        // Nobody asks any more.
        std::future::pending::<()>().await;
    }
}

/// Follows one scope.
struct Follower {
    calls: Calls,
    namespace: String,
    scope: Scope,
    position: usize,
    wanted: watch::Receiver<Arc<LabelKeys>>,
    /// The keys of the labels that all records of the scope have, since the last list.
    labels: Arc<LabelKeys>,
    status: Arc<InformerStatus>,
    metrics: Arc<InformerMetrics>,
    backoff: Backoff,
    unreadable: Unreadable,
    /// Whether the loss of the connection has been logged and its return hasn't.
    lost: bool,
}

impl Follower {
    fn store(&self) -> &Store {
        self.status.store()
    }

    async fn run(mut self) {
        let mut restores = self.status.restores.subscribe();
        let mut doubts = self.status.doubts.subscribe();
        let mut wanted = self.wanted.clone();
        let mut learned = self.status.learned_labels().wanted();
        let mut learns_from = Instant::now();
        let mut why = Relist::Start;
        let mut relists = Backoff::default();
        loop {
            let start = Instant::now();
            // A restore may also be recognised while a list is failing, which from then on would be refused as stale.
            if restores.has_changed().unwrap_or(false) {
                restores.mark_unchanged();
                why = Relist::Restored;
            }
            match self.relist(why).await {
                Ok(()) => {}
                // The list's own version expired between two pages.
                Err(error) if error.code() == 410 => {
                    self.status
                        .not_watching(self.position, Relist::ListExpired.reason());
                    if why != Relist::Restored {
                        why = Relist::ListExpired;
                    }
                    sleep(relists.next(None)).await;
                    continue;
                }
                Err(error) => {
                    self.wait_after(&error).await;
                    continue;
                }
            }
            why = loop {
                // Between two watches: whatever it was that spoilt an object, haste is of no use.
                if self.unreadable.is_due() {
                    self.status
                        .not_watching(self.position, Relist::Unreadable.reason());
                    break Relist::Unreadable;
                }
                let version = self.store().snapshot().resource_version_in(&self.namespace);
                let doubted = doubts.has_changed().unwrap_or(false);
                doubts.mark_unchanged();
                let seconds = if doubted {
                    SHORT_WATCH_SECONDS
                } else {
                    WATCH_SECONDS
                };
                let read = Arc::clone(&self.labels);
                // What ends a watch comes first, in this order: what happens is never a matter of chance.
                let end = tokio::select! {
                    biased;
                    _ = restores.changed() => WatchEnd::Relist(Relist::Restored),
                    Ok(_) = wanted.wait_for(|keys| !read.include(keys)) => WatchEnd::Relist(Relist::Labels),
                    () = another(&mut learned, &read, learns_from) => {
                        learns_from = Instant::now() + LEARNING_PACE;
                        WatchEnd::Relist(Relist::Labels)
                    }
                    // A new connection, and a bookmark soon; the next doubt waits until this watch has ended.
                    Ok(()) = doubts.changed(), if !doubted => {
                        doubts.mark_changed();
                        continue;
                    }
                    end = self.watch(version, seconds) => end,
                };
                match end {
                    WatchEnd::Ended => {}
                    WatchEnd::Failed(error) => self.wait_after(&error).await,
                    WatchEnd::Relist(why) => {
                        self.status.not_watching(self.position, why.reason());
                        break why;
                    }
                }
            };
            // One relist is immediate, a row of them is paced.
            if start.elapsed() < RELIST_PACE {
                sleep(relists.next(None)).await;
            } else {
                relists.reset();
            }
        }
    }

    /// The labels that are needed, and those that callers select by.
    fn labels_to_read(&mut self) -> Arc<LabelKeys> {
        let needed = Arc::clone(&self.wanted.borrow_and_update());
        let learned = Arc::clone(&self.status.learned_labels().wanted().borrow());
        if needed.include(&learned) {
            return needed;
        }
        Arc::new(needed.iter().chain(learned.iter()).collect())
    }

    /// Fetches the whole list aside and puts it into the store when it is complete.
    async fn relist(&mut self, why: Relist) -> Result<(), CallError> {
        info!(name: "informer.relist", namespace = %self.namespace, reason = why.reason(), "listing Deployments");
        let start = Instant::now();
        let labels = self.labels_to_read();
        let mut draft = self.store().draft(self.scope, Arc::clone(&labels));
        let mut token = String::new();
        let mut pages = 0;
        let mut owners = HashMap::new();
        let before = self.store().snapshot();
        let compared = Some(&*before).filter(|before| !before.is_empty());
        self.unreadable.forget();
        let reached = loop {
            pages += 1;
            if pages > MOST_PAGES {
                return Err(DecodeError::NoLastPage(MOST_PAGES).into());
            }
            let page = self.calls.page(&token, &labels, compared).await?;
            page.undecodable
                .iter()
                .for_each(|problem| self.undecodable(problem));
            // Of more than are remembered nobody asks who set them.
            if owners.len() < MOST_OWNERS {
                owners.extend(page.owners);
            }
            draft.add(page.items);
            if page.metadata.continue_token.is_empty() {
                break version(&page.metadata.resource_version).ok_or(DecodeError::Envelope)?;
            }
            token = page.metadata.continue_token;
        };
        let known = self.store().snapshot().resource_version_in(&self.namespace);
        if reached < known && why != Relist::Restored {
            // A consistent list can't be older than what was seen; only the probe decides that the cluster was restored.
            return Err(CallError::Stale {
                found: reached,
                known,
            });
        }
        let count = draft.len();
        if known == 0 {
            self.store().remembers_from(Timestamp::now());
        }
        let transitions = self.store().replace_after(draft, reached, |transitions| {
            let owner = |now: &Deployment| owners.get(&now.resource_version).cloned();
            setters::remember(self.store(), transitions, owner);
        });
        self.labels = labels;
        self.metrics.relist(why.label());
        self.status.listed(self.position);
        self.status.store_changed(self.position);
        self.metrics.applied(self.store().snapshot().len(), reached);
        transitions.iter().for_each(tell);
        let seconds = start.elapsed().as_secs_f64();
        info!(name: "informer.synced", namespace = %self.namespace, count, seconds, resource_version = reached,
            "{count} Deployments in {seconds:.3} s");
        Ok(())
    }

    async fn watch(&mut self, from: u64, seconds: u64) -> WatchEnd {
        let cut = Duration::from_secs(seconds) + OVERTIME;
        self.status.opening_watch(self.position);
        let mut body = match self.calls.watch(from, seconds).await {
            Ok(body) => body,
            Err(error) if error.code() == 410 => return WatchEnd::Relist(Relist::Expired),
            Err(error) => return WatchEnd::Failed(error),
        };
        let opened = Instant::now();
        debug!(name: "informer.watch.opened", namespace = %self.namespace, resource_version = from, "watching");
        let mut frames = WatchDecoder::new(Arc::clone(&self.labels));
        let mut seen = from;
        let mut proven = false;
        loop {
            let until = if proven { cut } else { WATCH_PROVEN };
            let chunk = match next_chunk(&mut body, until.saturating_sub(opened.elapsed())).await {
                Ok(Some(chunk)) => chunk,
                Err(CallError::Silent(_)) if !proven => {
                    proven = true;
                    self.watching();
                    continue;
                }
                // A watch that ends at once again and again is a failure, however cleanly it ends.
                Ok(None) if opened.elapsed() < Duration::from_secs(1) && seen == from => {
                    return WatchEnd::Failed(CallError::Broken(
                        "the watch ended as soon as it began".into(),
                    ));
                }
                Ok(None) => return WatchEnd::Ended,
                Err(CallError::Silent(_)) => {
                    return WatchEnd::Failed(CallError::Broken(format!(
                        "no end of the watch within {} s",
                        cut.as_secs()
                    )));
                }
                Err(error) => return WatchEnd::Failed(error),
            };
            frames.push(&chunk);
            let before = seen;
            let end = self.take(&mut frames, &mut seen);
            if seen > before {
                self.backoff.reset();
                if !std::mem::replace(&mut proven, true) {
                    self.watching();
                }
            }
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// The watch that was opened works.
    fn watching(&mut self) {
        self.status.watching(self.position);
        if std::mem::take(&mut self.lost) {
            info!(name: "informer.connection.restored", namespace = %self.namespace, "watching again");
        }
    }

    /// Applies all whole frames; says so when the watch can't go on.
    fn take(&mut self, frames: &mut WatchDecoder, seen: &mut u64) -> Option<WatchEnd> {
        let mut batch = Batch::default();
        let before = *seen;
        let mut marked = false;
        let end = loop {
            let frame = frames.next();
            if matches!(frame, Ok(Some(Frame::Error(_)))) {
                self.metrics.events("error", 1);
            }
            match frame {
                Ok(None) => break None,
                Ok(Some(Frame::Bookmark(version))) if version >= *seen => {
                    *seen = version;
                    marked = true;
                    self.metrics.events("bookmark", 1);
                }
                Ok(Some(Frame::Error(status))) if status.code == 410 => {
                    break Some(WatchEnd::Relist(Relist::Expired));
                }
                // Asked for some time, it need not list: the watch is to go on then.
                Ok(Some(Frame::Error(status))) if status.retry_after().is_some() => {
                    break Some(WatchEnd::Failed(CallError::Status {
                        retry_after: status.retry_after(),
                        status,
                    }));
                }
                Ok(Some(Frame::Error(status))) => {
                    warn!(name: "informer.watch.error", namespace = %self.namespace, code = status.code,
                        reason = %status.reason, error = %status.message, "the watch reported an error");
                    break Some(WatchEnd::Relist(Relist::WatchError));
                }
                Ok(Some(Frame::Upsert(deployment))) if deployment.resource_version >= *seen => {
                    *seen = deployment.resource_version;
                    self.add(&mut batch, Event::Upsert(deployment));
                    batch.objects.push(*seen, frames.take_object());
                }
                Ok(Some(Frame::Delete(deployment))) if deployment.resource_version >= *seen => {
                    *seen = deployment.resource_version;
                    self.add(&mut batch, Event::Delete(deployment));
                }
                Ok(Some(Frame::Upsert(_) | Frame::Delete(_) | Frame::Bookmark(_))) => {
                    break Some(WatchEnd::Relist(Relist::OutOfOrder));
                }
                Err(error @ DecodeError::TooLarge(_)) => {
                    break Some(WatchEnd::Failed(error.into()));
                }
                Err(error) => self.undecodable(&error.to_string()),
            }
        };
        // What can't be read says nothing of how current the store is.
        if *seen > before || marked || !batch.events.is_empty() {
            self.apply(&mut batch, *seen);
        }
        end
    }

    fn add(&self, batch: &mut Batch, event: Event) {
        if batch.events.iter().any(|e| e.key() == event.key()) {
            // Not further than what is applied: a write may be waiting for the version of this very event.
            let reached = batch.events.last().map(|e| e.deployment().resource_version);
            self.apply(batch, reached.unwrap_or(0));
        }
        batch.events.push(event);
    }

    fn apply(&self, batch: &mut Batch, version: u64) {
        let Batch { events, objects } = std::mem::take(batch);
        let upserts = events.iter().filter(|e| matches!(e, Event::Upsert(_)));
        let upserts = upserts.count();
        self.metrics.events("upsert", upserts as u64);
        self.metrics
            .events("delete", (events.len() - upserts) as u64);
        let store = self.store();
        let transitions = store.apply_after(self.scope, events, version, |transitions| {
            setters::remember(store, transitions, |now| objects.owner(now));
        });
        self.status.store_changed(self.position);
        self.metrics.applied(self.store().snapshot().len(), version);
        transitions.iter().for_each(tell);
    }

    fn undecodable(&mut self, problem: &str) {
        self.unreadable.noticed();
        self.metrics.undecodable();
        warn!(name: "informer.object.skipped", namespace = %self.namespace, error = problem, "skipped an object that can't be read");
    }

    async fn wait_after(&mut self, error: &CallError) {
        let wait = self.backoff.next(error.retry_after());
        self.status.not_watching(self.position, &error.told());
        self.metrics.disconnected();
        self.lost = true;
        warn!(name: "informer.connection.lost", namespace = %self.namespace, error = %error, retry_in = wait.as_secs_f64(),
            "connection lost, retry in {:.1} s", wait.as_secs_f64());
        tokio::select! {
            biased;
            () = sleep(wait) => {}
            // With a Retry-After the API server has said when; otherwise its return ends the wait.
            () = self.status.reconnected.notified(), if error.retry_after().is_none() => {}
        }
    }
}

/// Events on their way into the store, each object once.
#[derive(Default)]
struct Batch {
    events: Vec<Event>,
    objects: Objects,
}

fn tell(transition: &Transition) {
    match transition {
        Transition::Added(d) => {
            info!(name: "informer.deployment.added", namespace = %d.namespace, name = %d.name, replicas = d.replicas,
                resource_version = d.resource_version, "Deployment {}/{} added with {} replicas", d.namespace, d.name, d.replicas);
        }
        Transition::Changed { from, to: d } if *from != d.replicas => {
            info!(name: "informer.deployment.changed", namespace = %d.namespace, name = %d.name, from, to = d.replicas,
                resource_version = d.resource_version, "Deployment {}/{} changed from {from} to {} replicas", d.namespace, d.name, d.replicas);
        }
        Transition::Changed { to: d, .. } => {
            debug!(name: "informer.deployment.touched", namespace = %d.namespace, name = %d.name,
                resource_version = d.resource_version, "Deployment {}/{} changed, its count didn't", d.namespace, d.name);
        }
        Transition::Deleted(d) => {
            info!(name: "informer.deployment.deleted", namespace = %d.namespace, name = %d.name, replicas = d.replicas,
                "Deployment {}/{} deleted", d.namespace, d.name);
        }
    }
}
