//! Whether the informer's copy follows the cluster, and since when not.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout_at},
};

use super::{Autoscalers, Circuit, LearnedLabels};
use crate::{
    store::{Snapshot, Store},
    telemetry::metrics::{CallMetrics, Following},
};

/// Without a good probe, or without a watch, for so long the copy no longer counts as following.
const PATIENCE: Duration = Duration::from_secs(8);
/// An event that somebody waits for comes within this time, or the watches are asked for a sign of life.
const DOUBT: Duration = Duration::from_millis(500);

/// What the informer knows of its connection; shared with health, metrics, reads and writes.
#[derive(Debug)]
pub struct InformerStatus {
    store: Arc<Store>,
    circuit: Arc<Circuit>,
    autoscalers: Autoscalers,
    start: Instant,
    /// Milliseconds after `start` at which the copy was last known to be the cluster's state.
    confirmed: AtomicU64,
    state: Mutex<State>,
    /// Moves with every change of the store.
    progress: watch::Sender<()>,
    /// The API server answers again: waits need not be sat out.
    pub(super) reconnected: Notify,
    /// Moves when the watches should show that they live: somebody waits for what they haven't brought, or the API server
    /// was away.
    pub(super) doubts: watch::Sender<u64>,
    /// How often the cluster was recognised as restored from an older state.
    pub(super) restores: watch::Sender<u64>,
    learned: LearnedLabels,
}

#[derive(Debug)]
struct State {
    /// When a probe last succeeded, and why the last one didn't.
    probed: Option<Instant>,
    probe_problem: Option<String>,
    /// By scope: since when there is no watch, and why; `None` while there is one.
    watchless: Vec<Option<(Instant, String)>>,
    /// By scope: since when its present watch works.
    watched: Vec<Option<Instant>>,
}

/// The connection to the Kubernetes API as health tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// The copy is complete and follows the cluster.
    Connected,
    /// The first list isn't complete.
    NotSynced(String),
    /// The API server doesn't answer, or there is no watch.
    Lost(String),
}

impl InformerStatus {
    /// For a store that nothing is known of yet.
    pub fn new(store: Arc<Store>) -> Self {
        let now = Instant::now();
        let scopes = store.scopes();
        let autoscalers = Autoscalers::unknown(scopes.iter().map(|(_, n)| n.clone()));
        let scopes = scopes.len();
        let watchless = vec![Some((now, "the first list is on its way".to_owned())); scopes];
        Self {
            store,
            autoscalers,
            circuit: Arc::default(),
            start: now,
            confirmed: AtomicU64::new(0),
            state: Mutex::new(State {
                probed: None,
                probe_problem: None,
                watchless,
                watched: vec![None; scopes],
            }),
            progress: watch::Sender::new(()),
            reconnected: Notify::new(),
            doubts: watch::Sender::new(0),
            restores: watch::Sender::new(0),
            learned: LearnedLabels::default(),
        }
    }

    /// The same, with calls to the API server counted there.
    #[must_use]
    pub fn counted_by(self, calls: &Arc<CallMetrics>) -> Self {
        Self {
            circuit: Arc::new(Circuit::new(Arc::clone(calls))),
            ..self
        }
    }

    /// The store that this is about.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Whether the API server answers at all.
    pub fn circuit(&self) -> &Arc<Circuit> {
        &self.circuit
    }

    /// The autoscalers of the same namespaces.
    pub fn autoscalers(&self) -> &Autoscalers {
        &self.autoscalers
    }

    /// Whether the copy follows the cluster now.
    pub fn connection(&self) -> Connection {
        let state = self.state();
        let now = Instant::now();
        let watchless = state.watchless.iter().flatten().min_by_key(|(at, _)| *at);
        if !self.store.snapshot().synced() {
            let why = state
                .probe_problem
                .clone()
                .or(watchless.map(|(_, why)| why.clone()));
            return Connection::NotSynced(
                why.unwrap_or_else(|| "the first list is on its way".into()),
            );
        }
        if let Some(problem) = &state.probe_problem {
            return Connection::Lost(problem.clone());
        }
        if now - state.probed.unwrap_or(self.start) > PATIENCE {
            return Connection::Lost(format!(
                "the Kubernetes API hasn't answered for {} s",
                PATIENCE.as_secs()
            ));
        }
        match watchless {
            Some((since, why)) if now - *since > PATIENCE => Connection::Lost(format!(
                "no watch for {} s: {why}",
                (now - *since).as_secs()
            )),
            _ => Connection::Connected,
        }
    }

    /// How long ago the copy was last known to be the cluster's state.
    pub fn age(&self) -> Duration {
        self.start.elapsed().saturating_sub(Duration::from_millis(
            self.confirmed.load(Ordering::Relaxed),
        ))
    }

    /// How the copy follows the cluster, for the metrics.
    pub(crate) fn following(&self) -> Following {
        let watched = self.state().watched.clone();
        let open = watched.iter().flatten();
        Following {
            synced: self.store.snapshot().synced(),
            connected: self.connection() == Connection::Connected,
            age: self.age(),
            scopes: watched.len(),
            watches: open.clone().count(),
            watch_age: open.min().map(Instant::elapsed).unwrap_or_default(),
        }
    }

    /// Waits until `reached` holds for the store, or until the deadline; whether it did.
    pub async fn wait_until(&self, deadline: Instant, reached: impl Fn(&Snapshot) -> bool) -> bool {
        let doubt = deadline.min(Instant::now() + DOUBT);
        if self.wait_patiently(doubt, &reached).await {
            return true;
        }
        if doubt == deadline {
            return false;
        }
        self.doubts.send_modify(|n| *n += 1);
        self.wait_patiently(deadline, reached).await
    }

    /// The labels that are read because callers select by them.
    pub fn learned_labels(&self) -> &LearnedLabels {
        &self.learned
    }

    /// As [`InformerStatus::wait_until`], for what may well not happen: the watches aren't asked for a sign of life.
    pub async fn wait_patiently(
        &self,
        deadline: Instant,
        reached: impl Fn(&Snapshot) -> bool,
    ) -> bool {
        // Subscribed before the first look, so that no change falls between the two.
        let mut progress = self.progress.subscribe();
        loop {
            if reached(&self.store.snapshot()) {
                return true;
            }
            if timeout_at(deadline, progress.changed()).await.is_err() {
                return false;
            }
        }
    }

    /// Tells of every change of the store, and of every version that it reached.
    pub fn progress(&self) -> watch::Receiver<()> {
        self.progress.subscribe()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn confirm(&self) {
        self.confirmed
            .store(self.start.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// The store took a list, events or a bookmark of one scope; that says nothing of the others.
    pub(super) fn store_changed(&self, scope: usize) {
        let others_follow = {
            let state = self.state();
            let mut scopes = state.watchless.iter().enumerate();
            scopes.all(|(i, since)| i == scope || since.is_none())
        };
        if others_follow {
            self.confirm();
        }
        self.progress.send_replace(());
    }

    pub(super) fn watching(&self, scope: usize) {
        let mut state = self.state();
        state.watchless[scope] = None;
        state.watched[scope] = Some(Instant::now());
    }

    /// A scope was listed completely: until its watch is open that is as good as one.
    pub(super) fn listed(&self, scope: usize) {
        let mut state = self.state();
        state.watchless[scope] = Some((Instant::now(), "no watch after the list".into()));
    }

    /// A watch of the scope has been asked for, and the one before it is over.
    pub(super) fn opening_watch(&self, scope: usize) {
        let unanswered = || (Instant::now(), "its start isn't answered".to_owned());
        let mut state = self.state();
        state.watched[scope] = None;
        state.watchless[scope].get_or_insert_with(unanswered);
    }

    pub(super) fn not_watching(&self, scope: usize, why: &str) {
        let mut state = self.state();
        let since = state.watchless[scope]
            .as_ref()
            .map_or_else(Instant::now, |(since, _)| *since);
        state.watched[scope] = None;
        state.watchless[scope] = Some((since, why.to_owned()));
    }

    /// The API server answered a probe; whether it didn't before.
    pub(super) fn probed(&self) -> bool {
        let mut state = self.state();
        // Of the copy it says nothing: the watches have connections of their own, which may be half-open.
        state.probed = Some(Instant::now());
        let recovered = state.probe_problem.take().is_some();
        drop(state);
        if recovered {
            self.reconnected.notify_waiters();
            self.doubts.send_modify(|n| *n += 1);
        }
        recovered
    }

    /// A probe failed, with an answer or without; whether the one before it didn't.
    pub(super) fn probe_failed(&self, why: String) -> bool {
        self.state().probe_problem.replace(why).is_none()
    }
}
