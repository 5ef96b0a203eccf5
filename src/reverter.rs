//! Brings counts back whose leases are over, and ends leases whose counts aren't theirs any more.
//!
//! Of several servers one does, by [`Election`]; what it leaves half done the next one goes on with, since each step is
//! decided on the lease's object and the Deployment alone ([`crate::leases::settle`]).

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{
    task::{Id, JoinSet},
    time::{Instant, interval, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    access::WriteRules,
    api::{judge_return, overtaken, refused},
    audit::Audit,
    kubernetes::{
        Deployments, Details, Election, KnownLeases, LeaseObjects, NOT_REVERTED, Settled, Told,
        Unsettled,
    },
    leases::{End, Lease, State, Stored},
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

/// Follows the leases of one server's namespace. [`Reverter::run`] ends when it is told to.
pub struct Reverter {
    parts: Arc<Parts>,
    election: Election,
    /// Until when others are to bring counts back.
    stands_down: Option<Instant>,
    under_way: JoinSet<Result<Settled, Unsettled>>,
    busy: HashMap<Id, Key>,
    /// Those that couldn't be settled, until when, and how long they waited.
    later: HashMap<Key, (Instant, Duration)>,
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
        Self {
            election: Election::new(Arc::clone(&leases)),
            stands_down: None,
            parts: Arc::new(Parts {
                deployments,
                leases,
                rules: Box::new(rules),
                audit,
                metrics,
            }),
            under_way: JoinSet::new(),
            busy: HashMap::new(),
            later: HashMap::new(),
            looked: HashMap::new(),
            begun: HashMap::new(),
        }
    }

    /// Until `stop`: then what is under way is finished, and another server may go on at once.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut tick = interval(TICK);
        let mut elect = interval(Election::EVERY);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = elect.tick() => self.elect().await,
                Some(done) = self.under_way.join_next_with_id() => {
                    // One that panicked is tried again, as others that failed.
                    let (id, settled) = done.unwrap_or_else(|error| {
                        (error.id(), Err(Unsettled::of("it met a defect of this server")))
                    });
                    self.done(id, &settled);
                }
                _ = tick.tick() => self.look(),
            }
        }
        let finish = async { while self.under_way.join_next().await.is_some() {} };
        let _ = timeout(FINISH, finish).await;
        self.election.release().await;
    }

    /// Stands for the election, unless what has to be settled would be left undone here: others may be able to.
    async fn elect(&mut self) {
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

    /// Begins to settle what has to be.
    fn look(&mut self) {
        let won = self.election.is_won();
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
            let waits = self.later.get(&key);
            let waits = waits.is_some_and(|(until, _)| Instant::now() < *until);
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
        let waits = match settled {
            Ok(Settled::Unmanaged) => LONGEST_WAIT,
            Ok(Settled::Ended(..) | Settled::Refused(_)) => {
                self.later.remove(&key);
                return;
            }
            // The copy has it in a moment.
            Ok(Settled::Changed | Settled::Waits(_)) => FIRST_WAIT,
            Err(_) => {
                let before = self.later.get(&key).map(|(_, waited)| *waited);
                before.map_or(FIRST_WAIT, |waited| LONGEST_WAIT.min(waited * 2))
            }
        };
        self.later.insert(key, (Instant::now() + waits, waits));
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

impl Parts {
    /// Settles one, and tells what came of it.
    async fn settle(&self, stored: Stored) -> Result<Settled, Unsettled> {
        let lease = stored.lease.clone();
        let over = lease.state == State::Ending || lease.until() <= self.leases.now();
        if over {
            let record = || overtaken::record("lease.requested", &lease).with("to", lease.previous);
            let recorded = self.audit.before(record).await;
            recorded.map_err(|_| Unsettled::of("the audit trail can't be written"))?;
        }
        let rules = (self.rules)();
        let may = |now: &Details| judge_return(rules, now, lease.previous);
        let settled = self
            .deployments
            .settle(&self.leases, stored, None, may)
            .await;
        self.tell(&lease, &settled);
        settled
    }

    fn tell(&self, lease: &Lease, settled: &Result<Settled, Unsettled>) {
        let Lease {
            namespace,
            name,
            holder,
            replicas,
            previous,
            ..
        } = lease;
        let (result, event, reason, why) = match settled {
            Ok(Settled::Ended(End::Returned, there)) => {
                let version = there.as_ref().map(|there| there.version);
                let ended_by = lease.ended_by.as_deref();
                info!(name: "lease.reverted", principal = %holder, namespace = %namespace, name = %name, from = replicas, to = previous,
                    ended_by, resource_version = version, "the lease of Deployment {namespace}/{name} was over: set from {replicas} to {previous} replicas");
                let over = match ended_by {
                    None => "the lease is over".to_owned(),
                    Some("") => "the lease was ended".to_owned(),
                    Some(by) => format!("{by} ended the lease"),
                };
                let why = format!("{over}: {replicas} → {previous}");
                (
                    "reverted",
                    "lease.reverted",
                    "LeaseRevertedByHeadcount",
                    why,
                )
            }
            Ok(Settled::Ended(End::Overtaken, Some(there))) => {
                let (deployments, metrics) = (&self.deployments, &self.metrics);
                return overtaken::tell(deployments, &self.audit, metrics, lease, there);
            }
            Ok(Settled::Ended(..)) => {
                info!(name: "lease.dropped", principal = %holder, namespace = %namespace, name = %name,
                    "the lease of Deployment {namespace}/{name} was dropped: its count was never set, or the Deployment is gone");
                self.metrics.ended("dropped");
                return self
                    .audit
                    .record(|| overtaken::record("lease.dropped", lease));
            }
            Ok(Settled::Refused(why)) => {
                refused::log(lease, why);
                let why = refused::words(lease, why);
                ("refused", "lease.refused", NOT_REVERTED, why)
            }
            Ok(Settled::Waits(_) | Settled::Changed) => return,
            Ok(Settled::Unmanaged) => {
                self.metrics.ended("unmanaged");
                warn!(name: "lease.unsettled", principal = %holder, namespace = %namespace, name = %name,
                    "the lease of Deployment {namespace}/{name} is left as it is: this server doesn't manage the Deployment");
                return;
            }
            Err(error) => {
                self.metrics.ended("failed");
                warn!(name: "lease.unsettled", principal = %holder, namespace = %namespace, name = %name, error = %error,
                    "the lease of Deployment {namespace}/{name} couldn't be settled; it is tried again");
                return;
            }
        };
        self.metrics.ended(result);
        // What is there, and else what was to be.
        let to = match settled {
            Ok(Settled::Ended(_, Some(there))) => there.replicas,
            _ => *previous,
        };
        self.audit.record(|| {
            overtaken::record(event, lease)
                .with("from", *replicas)
                .with("to", to)
                .with("result", result)
                .with(
                    "error",
                    if result == "refused" {
                        why.as_str()
                    } else {
                        ""
                    },
                )
        });
        let version = match settled {
            Ok(Settled::Ended(_, Some(there))) => there.version,
            _ => 0,
        };
        self.deployments.tell(|| Told {
            namespace: namespace.clone(),
            name: name.clone(),
            uid: lease.uid,
            resource_version: version,
            reason,
            note: refused::note(holder, &why),
        });
    }
}
