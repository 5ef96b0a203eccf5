//! All that a run knows: the model, what readers saw, what passed through the network, and the first thing that was wrong.

use std::{sync::Arc, time::Duration};

use headcount::{
    kubernetes::{Connection, InformerStatus},
    store::LabelKeys,
};
use simkube::Cluster;
use tokio::time::Instant;

use crate::{history::History, network::Traffic, schedule::Setup, witness::Witness};

/// How long a watch may go unnoticed that nobody serves any more.
const HALF_OPEN: Duration = Duration::from_secs(30);
/// How long health may be wrong.
const TRUTHFUL: Duration = Duration::from_secs(10);

/// What a run knows.
pub(crate) struct Observer {
    start: Instant,
    cluster: Cluster,
    status: Arc<InformerStatus>,
    pub(crate) history: History,
    witness: Witness,
    pub(crate) traffic: Traffic,
    /// The API server can't be reached at all: the slot of the fault, and since when.
    pub(crate) down: Option<(u8, Instant)>,
    /// No fault is at work, since then.
    pub(crate) well: Option<Instant>,
    /// Keys of labels that are wanted.
    pub(crate) wanted: Arc<LabelKeys>,
    /// The first thing that was wrong.
    pub(crate) wrong: Option<String>,
    /// What happened, if somebody wants to know.
    trace: Option<Vec<String>>,
    /// How waits ended, in the order in which they began: which of those that end together comes first is left to chance.
    waits: Vec<String>,
}

impl Observer {
    pub(crate) fn new(
        setup: &Setup,
        cluster: &Cluster,
        status: &Arc<InformerStatus>,
        traced: bool,
    ) -> Self {
        let now = Instant::now();
        Self {
            start: now,
            cluster: cluster.clone(),
            status: Arc::clone(status),
            history: History::new(),
            witness: Witness::new(setup),
            traffic: Traffic::new(&setup.namespaces, now),
            down: None,
            well: None,
            wanted: Arc::default(),
            wrong: None,
            trace: traced.then(Vec::new),
            waits: Vec::new(),
        }
    }

    /// Adds a line to the trace.
    pub(crate) fn note(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let at = self.start.elapsed().as_secs_f64();
            trace.push(format!("{at:9.3} {}", what()));
        }
    }

    /// A wait begins; its number.
    pub(crate) fn begin_wait(&mut self) -> usize {
        self.waits.push(String::new());
        self.waits.len() - 1
    }

    /// How the wait of this number ended.
    pub(crate) fn end_wait(&mut self, number: usize, how: impl FnOnce() -> String) {
        if self.trace.is_some() {
            let at = self.start.elapsed().as_secs_f64();
            self.waits[number] = format!("{at:9.3} {}", how());
        }
    }

    /// All that happened, the waits last.
    pub(crate) fn take_trace(&mut self) -> Vec<String> {
        let mut trace = self.trace.take().unwrap_or_default();
        trace.append(&mut self.waits);
        trace
    }

    /// Takes note of what can't be; only the first counts.
    pub(crate) fn fail(&mut self, why: String) {
        self.note(|| format!("WRONG: {why}"));
        let at = self.start.elapsed().as_secs_f64();
        self.wrong
            .get_or_insert_with(|| format!("after {at:.3} s: {why}"));
    }

    /// Looks at what a reader would see now.
    pub(crate) fn look(&mut self) {
        let losses = self.cluster.take_losses();
        self.witness.lost(&losses);
        for loss in losses {
            self.note(|| format!("lost: {}/{} at {}", loss.namespace, loss.name, loss.version));
        }
        let snapshot = self.status.store().snapshot();
        let before = self.witness.versions();
        match self.witness.look(&snapshot, &self.history) {
            Ok(false) => {}
            Ok(true) => {
                let now = self.witness.versions();
                // A list that found nothing new changes no version.
                let refreshed = |at: usize| before[at] != now[at] || before == now;
                self.traffic.refreshed(refreshed);
                self.note(|| {
                    format!(
                        "store: versions {now:?}, {} Deployments, fingerprint {:016x}",
                        snapshot.len(),
                        snapshot.fingerprint()
                    )
                });
            }
            Err(why) => self.fail(why),
        }
    }

    /// Whether health says what is.
    pub(crate) fn judge_health(&mut self) {
        self.look();
        let now = Instant::now();
        let connection = self.status.connection();
        let synced = self.status.store().snapshot().synced();
        let watchless = self.traffic.watchless(now);
        // A rule that is older may still let a probe through.
        let down = self
            .down
            .map(|(_, since)| now - self.traffic.probed.map_or(since, |p| p.max(since)));
        let well = self
            .well
            .zip(self.traffic.followed())
            .map(|(well, followed)| now - well.max(followed));
        let wrong = match &connection {
            Connection::NotSynced(_) if synced => Some("it is said not to be synced".into()),
            Connection::Connected | Connection::Lost(_) if !synced => {
                Some(format!("it is said to be {connection:?} and isn't synced"))
            }
            Connection::Connected if watchless > TRUTHFUL => Some(format!(
                "it is said to be connected, and a scope has had no watch for {watchless:?}"
            )),
            Connection::Connected if down.is_some_and(|d| d > TRUTHFUL) => Some(format!(
                "it is said to be connected, and the API server has been away for {down:?}"
            )),
            Connection::Lost(why) if well.is_some_and(|w| w > TRUTHFUL) => Some(format!(
                "it is said to be lost ({why}), and all has been well for {well:?}"
            )),
            _ => None,
        };
        if let Some(wrong) = wrong {
            self.fail(format!("health: {wrong}"));
        }
        if self.traffic.deceived(now) > HALF_OPEN {
            self.fail(format!(
                "a watch that nobody serves is still followed after {HALF_OPEN:?}"
            ));
        }
    }

    /// Whether all is well now: the copy is the cluster, and health says so.
    ///
    /// # Errors
    ///
    /// What isn't.
    pub(crate) fn settled(&mut self) -> Result<(), String> {
        self.look();
        let snapshot = self.status.store().snapshot();
        self.witness
            .is_present(&snapshot, &self.history, &self.wanted)?;
        match self.status.connection() {
            Connection::Connected => Ok(()),
            other => Err(format!("health says {other:?}")),
        }
    }

    /// Of how many objects something was lost that the informer can't know of.
    pub(crate) fn misses(&self) -> usize {
        self.witness.misses()
    }

    /// Whether something was lost and hasn't been made good since.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.witness.is_incomplete()
    }

    /// The greatest version that a reader has seen.
    pub(crate) fn version(&self) -> u64 {
        self.witness.version()
    }
}
