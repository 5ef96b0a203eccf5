//! Brings counts back whose leases are over, and ends leases whose counts aren't theirs any more.
//!
//! Of several servers one does, by [`Election`]; what it leaves half done the next one goes on with, since each step is
//! decided on the lease's object and the Deployment alone ([`crate::leases::settle`]).

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    task::{Id, JoinSet},
    time::{Instant, Interval, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    access::WriteRules,
    api::{judge_return, lease_record, tell_of_end},
    audit::Audit,
    kubernetes::{Deployments, Details, Election, KnownLeases, LeaseObjects, Settled, Unsettled},
    leases::{Lease, State, Stored},
    telemetry::metrics::LeaseMetrics,
};

/// How often it is looked what is due.
const TICK: Duration = Duration::from_millis(500);
/// How many leases are settled at once.
const AT_ONCE: usize = 8;
/// A Deployment that changes all the time is looked at this often.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How long one waits that couldn't be settled, at first and at most.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How long a server leaves counts to others that has no record of what it does.
const STANDS_DOWN: Duration = Duration::from_secs(60);
/// How long what is under way has at the end.
const FINISH: Duration = Duration::from_secs(10);

/// Namespace and name of a Deployment.
type Key = (String, String);

/// What settling a lease takes.
struct Parts {
    deployments: Arc<Deployments>,
    leases: Arc<LeaseObjects>,
    rules: Box<dyn Fn() -> WriteRules + Send + Sync>,
    audit: Audit,
    metrics: Arc<LeaseMetrics>,
}

/// This server's part in the election, for as long as it is one to bring counts back.
struct Candidate {
    parts: Arc<Parts>,
    election: Election,
    /// Until when others are to bring counts back.
    stands_down: Option<Instant>,
}

/// When a lease that couldn't be settled is tried again.
struct Later {
    at: Instant,
    /// How long it has waited then.
    waited: Duration,
    /// Whether it waits since its Deployment isn't managed, which has been told.
    unmanaged: bool,
}

/// Follows the leases of one server's namespace. [`Reverter::run`] ends when it is told to.
pub struct Reverter {
    parts: Arc<Parts>,
    under_way: JoinSet<Result<Settled, Unsettled>>,
    busy: HashMap<Id, Key>,
    /// Those that couldn't be settled, and when they are tried again.
    later: HashMap<Key, Later>,
    /// The version of the Deployment at which a lease was looked at last.
    looked: HashMap<Key, (u64, Instant)>,
    /// When each was begun to be settled last: those that hang don't stand in front of others.
    begun: HashMap<Key, Instant>,
}

impl Reverter {
    /// Settles leases through `deployments`, within the bounds that `rules` tells.
    pub fn new(
        deployments: Arc<Deployments>,
        leases: Arc<LeaseObjects>,
        rules: impl Fn() -> WriteRules + Send + Sync + 'static,
        audit: Audit,
        metrics: Arc<LeaseMetrics>,
    ) -> Self {
        let parts = Arc::new(Parts {
            deployments,
            leases,
            rules: Box::new(rules),
            audit,
            metrics,
        });
        Self {
            parts,
            under_way: JoinSet::new(),
            busy: HashMap::new(),
            later: HashMap::new(),
            looked: HashMap::new(),
            begun: HashMap::new(),
        }
    }

    /// Until `stop`: then what is under way is finished, and another server may go on at once.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut tick = unhurried(TICK);
        let mut candidate = Candidate::of(&self.parts);
        let won = candidate.election.won();
        // Beside the rest: however long its calls take, what is due is looked at.
        let mut standing = Box::pin(candidate.stand());
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(done) = self.under_way.join_next_with_id() => {
                    // One that panicked is tried again, as others that failed.
                    let (id, settled) = done.unwrap_or_else(|error| {
                        (error.id(), Err(Unsettled::of("it met a defect of this server")))
                    });
                    self.done(id, &settled);
                }
                _ = tick.tick() => self.look(won.is()),
                () = &mut standing => {}
            }
        }
        let finish = async { while self.under_way.join_next().await.is_some() {} };
        let _ = timeout(FINISH, finish).await;
        drop(standing);
        candidate.election.release().await;
    }

    /// Begins to settle what has to be.
    fn look(&mut self, won: bool) {
        let leases = &self.parts.leases;
        let (known, now) = (leases.known(), leases.now());
        self.parts.metrics.show(won, known.as_deref(), now);
        let Some(known) = known.filter(|_| won && !(self.parts.rules)().read_only) else {
            return;
        };
        self.forget(&known);
        let mut candidates: Vec<_> = known
            .all()
            .map(|stored| (key(&stored.lease), stored))
            .collect();
        candidates.sort_by_cached_key(|(key, stored)| {
            (stored.lease.due() > now, self.begun.get(key).copied())
        });
        for (key, stored) in candidates {
            if self.under_way.len() >= AT_ONCE {
                return;
            }
            let later = self.later.get(&key);
            let waits = later.is_some_and(|later| Instant::now() < later.at);
            let busy = self.busy.values().any(|busy| *busy == key);
            if waits || busy || !self.needs_a_look(&key, &stored.lease, now) {
                continue;
            }
            let (parts, stored) = (Arc::clone(&self.parts), Stored::clone(stored));
            let settling = self
                .under_way
                .spawn(async move { parts.settle(stored).await });
            self.begun.insert(key.clone(), Instant::now());
            self.busy.insert(settling.id(), key);
        }
    }

    /// Whether it is over, or its Deployment isn't what its holder left.
    fn needs_a_look(&mut self, key: &Key, lease: &Lease, now: Timestamp) -> bool {
        if lease.due() <= now {
            return true;
        }
        let store = self.parts.deployments.store();
        let snapshot = store.snapshot();
        if lease.state != State::Held || !snapshot.synced() {
            return false;
        }
        let record = snapshot.get(&lease.namespace, &lease.name);
        let record = record.filter(|record| record.uid() == lease.uid);
        let version = record.map_or(0, |record| record.resource_version());
        let looked = self.looked.get(key);
        // Another count, or another Deployment, is somebody's word: all else may be its status, which changes all the time.
        let plain = record.is_none_or(|record| record.replicas() != lease.replicas);
        if looked.is_some_and(|(at, when)| *at == version || !plain && when.elapsed() < LOOK_AGAIN)
        {
            return false;
        }
        self.looked.insert(key.clone(), (version, Instant::now()));
        true
    }

    fn done(&mut self, id: Id, settled: &Result<Settled, Unsettled>) {
        let Some(key) = self.busy.remove(&id) else {
            return;
        };
        let before = self.later.remove(&key);
        if !matches!(settled, Ok(Settled::Waits(_) | Settled::Unmanaged)) {
            // What wasn't found out at this version is still to be.
            self.looked.remove(&key);
        }
        let unmanaged = matches!(settled, Ok(Settled::Unmanaged));
        let waited = match settled {
            Ok(Settled::Ended(..) | Settled::Refused(_)) => return,
            Ok(Settled::Unmanaged) => {
                if !before.is_some_and(|later| later.unmanaged) {
                    self.parts.tell_unmanaged(&key);
                }
                LONGEST_WAIT
            }
            // The copy has it in a moment.
            Ok(Settled::Changed | Settled::Waits(_)) => FIRST_WAIT,
            Err(_) => before.map_or(FIRST_WAIT, |later| LONGEST_WAIT.min(later.waited * 2)),
        };
        let later = Later {
            at: Instant::now() + waited,
            waited,
            unmanaged,
        };
        self.later.insert(key, later);
    }

    /// Keeps nothing of those that are gone.
    fn forget(&mut self, known: &KnownLeases) {
        let there = |key: &Key| known.of(&key.0, &key.1).is_some();
        self.later.retain(|key, _| there(key));
        self.looked.retain(|key, _| there(key));
        self.begun.retain(|key, _| there(key));
    }
}

fn key(lease: &Lease) -> Key {
    (lease.namespace.clone(), lease.name.clone())
}

fn unhurried(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

impl Candidate {
    fn of(parts: &Arc<Parts>) -> Self {
        Self {
            parts: Arc::clone(parts),
            election: Election::new(Arc::clone(&parts.leases)),
            stands_down: None,
        }
    }

    /// Stands for the election, unless what has to be settled would be left undone here: others may be able to. Never ends.
    async fn stand(&mut self) {
        let mut elect = unhurried(Election::EVERY);
        loop {
            elect.tick().await;
            let refuses = self.parts.audit.refuses();
            if refuses && self.election.is_won() {
                self.stands_down = Some(Instant::now() + STANDS_DOWN);
            }
            let later = self.stands_down.is_some_and(|until| Instant::now() < until);
            if later && refuses || (self.parts.rules)().read_only {
                self.election.release().await;
            } else {
                self.election.attempt().await;
            }
        }
    }
}

impl Parts {
    /// Settles one, and tells what came of it.
    async fn settle(&self, stored: Stored) -> Result<Settled, Unsettled> {
        let lease = stored.lease.clone();
        let rules = (self.rules)();
        let may = |now: &Details| judge_return(rules, now, lease.previous);
        let settled = self
            .deployments
            .settle(&self.leases, stored, None, may, || self.record(&lease))
            .await;
        match &settled {
            Ok(settled) => tell_of_end(
                &self.deployments,
                &self.audit,
                &self.metrics,
                &lease,
                settled,
            ),
            Err(error) => {
                let Lease {
                    namespace,
                    name,
                    holder,
                    ..
                } = &lease;
                self.metrics.ended("failed");
                warn!(name: "lease.unsettled", principal = %holder, namespace = %namespace, name = %name, error = %error,
                    "the lease of Deployment {namespace}/{name} couldn't be settled; it is tried again");
            }
        }
        settled
    }

    /// Records what is about to be done, if that has to be on record first.
    async fn record(&self, lease: &Lease) -> Result<(), String> {
        let record = || lease_record("lease.requested", lease).with("to", lease.previous);
        let recorded = self.audit.before(record).await;
        recorded.map_err(|_| "the audit trail can't be written".to_owned())
    }

    fn tell_unmanaged(&self, (namespace, name): &Key) {
        self.metrics.ended("unmanaged");
        warn!(name: "lease.unsettled", namespace = %namespace, name = %name,
            "the lease of Deployment {namespace}/{name} is left as it is: this server doesn't manage the Deployment");
    }
}
