//! The cluster as tests hold it: options, direct actions, snapshots.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use tokio::time::Instant;

use crate::controller::Controller;
use crate::event::Events;
use crate::faults::Faults;
use crate::json::ManagedFields;
use crate::log::{Counts, Log, Loss, SeenRequest};
use crate::object::{Deployment, NewDeployment, Object, Pairs, Rollout, SetBy};
use crate::objects::Objects;
use crate::own::{OwnRule, OwnRules};
use crate::review::{AccessReview, Authorizer, Verdict};
use crate::serve::ApiServer;
use crate::state::{Namespace, State};

/// How a cluster is made.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// What uids are derived from.
    pub seed: u64,
    /// The resourceVersion at the beginning.
    pub first_version: u64,
    /// How many events are kept for watches and for the later pages of lists; older ones are expired.
    pub history: usize,
    /// How long a rollout takes: status follows spec in three steps within this time. `None`: status stays as it is.
    /// With a time, [`Cluster::new`] must be called within a tokio runtime.
    pub rollout: Option<Duration>,
    /// About how many bytes of `managedFields` each Deployment carries; 0 for none. Sent with every object, kept once.
    pub managed_fields: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            first_version: 1000,
            history: 100_000,
            rollout: None,
            managed_fields: 400,
        }
    }
}

impl Options {
    /// Turns the controller on: see [`Options::rollout`].
    #[must_use]
    pub fn rollout(mut self, time: Duration) -> Self {
        self.rollout = Some(time);
        self
    }

    /// Sets [`Options::history`].
    #[must_use]
    pub fn history(mut self, events: usize) -> Self {
        self.history = events;
        self
    }

    /// Sets [`Options::managed_fields`].
    #[must_use]
    pub fn managed_fields(mut self, bytes: usize) -> Self {
        self.managed_fields = bytes;
        self
    }

    /// Sets [`Options::seed`].
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}

/// A simulated cluster; clones are handles to the same one.
#[derive(Clone)]
pub struct Cluster {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) state: Mutex<State>,
    /// Wakes watches and waiting lists after every change of state or faults.
    pub(crate) changed: watch::Sender<()>,
    pub(crate) faults: Faults,
    pub(crate) log: Log,
    pub(crate) managed_fields: ManagedFields,
    pub(crate) controller: Controller,
    pub(crate) authorizer: Authorizer,
    pub(crate) own_rules: OwnRules,
    pub(crate) events: Events,
    pub(crate) autoscalers: Objects,
    pub(crate) leases: Objects,
    /// What the next audit id is made from.
    pub(crate) answers: AtomicU64,
    started: (SystemTime, Instant),
}

/// A moment of a cluster to which [`Cluster::restore`] goes back.
#[derive(Clone)]
pub struct Snapshot {
    objects: BTreeMap<Arc<str>, Arc<Object>>,
    namespaces: HashMap<String, Namespace>,
    version: u64,
}

impl Snapshot {
    /// The version at that moment.
    pub fn resource_version(&self) -> u64 {
        self.version
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("version", &self.resource_version())
            .finish_non_exhaustive()
    }
}

fn since_epoch(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs() as i64
}

/// A panic elsewhere leaves these states whole, so poison is ignored.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Seconds since the epoch, by tokio's clock: paused time stands still here too.
    pub(crate) fn now(&self) -> i64 {
        let (wall, start) = self.started;
        since_epoch(wall + start.elapsed())
    }

    /// The newest version that this server replica has seen: the cluster's, unless it is stale.
    pub(crate) fn seen_version(&self) -> u64 {
        let version = self.state().version;
        self.faults.stale_at().map_or(version, |at| at.min(version))
    }

    /// Tells watches, waiting lists and the controller that an object changed.
    pub(crate) fn announce(&self, object: &Arc<Object>) {
        self.changed.send_replace(());
        self.controller.notice(object);
    }
}

impl Cluster {
    /// An empty cluster.
    ///
    /// # Panics
    ///
    /// With [`Options::rollout`] outside a tokio runtime.
    pub fn new(options: Options) -> Self {
        let Options {
            seed,
            first_version,
            history,
            rollout,
            managed_fields,
        } = options;
        let (changed, _) = watch::channel(());
        let started = (SystemTime::now(), Instant::now());
        let cluster = Self {
            shared: Arc::new(Shared {
                state: Mutex::new(State::new(
                    first_version,
                    history,
                    seed,
                    since_epoch(started.0),
                )),
                faults: Faults::new(changed.clone()),
                changed,
                log: Log::default(),
                managed_fields: ManagedFields::new(managed_fields),
                controller: Controller::default(),
                authorizer: Authorizer::default(),
                own_rules: OwnRules::default(),
                events: Events::default(),
                autoscalers: Objects::default(),
                leases: Objects::default(),
                answers: AtomicU64::new(0),
                started,
            }),
        };
        cluster.set_rollout(rollout);
        cluster
    }

    /// The API as a tower service, for `kube::Client::new(cluster.service(), "default")`.
    pub fn service(&self) -> ApiServer {
        ApiServer::new(self.shared.clone())
    }

    /// What goes wrong.
    pub fn faults(&self) -> Faults {
        self.shared.faults.clone()
    }

    /// Changes [`Options::rollout`]. Turned on again, the controller catches up with what it missed.
    ///
    /// # Panics
    ///
    /// When turned on for the first time outside a tokio runtime.
    pub fn set_rollout(&self, time: Option<Duration>) {
        Controller::set(&self.shared, time);
    }

    /// Decides SubjectAccessReviews from now on. Until then everything is allowed, as to everybody who calls this API.
    pub fn set_authorizer(
        &self,
        decide: impl Fn(&AccessReview) -> Verdict + Send + Sync + 'static,
    ) {
        self.shared.authorizer.set(decide);
    }

    /// What SelfSubjectAccessReviews and SelfSubjectRulesReviews tell callers from now on. Until then everything is allowed.
    pub fn set_own_rules(&self, rules: Vec<OwnRule>) {
        self.shared.own_rules.set(rules);
    }

    /// All Event objects that were created, as JSON.
    pub fn events(&self) -> Vec<serde_json::Value> {
        self.shared.events.all()
    }

    /// Creates a Deployment, and its namespace if that isn't there; the version that made it, or `None` if it exists.
    pub fn create(&self, new: NewDeployment) -> Option<u64> {
        let now = self.shared.now();
        let mut state = self.shared.state();
        let draft = state.draft(&new, now);
        let object = state.insert(draft, now)?;
        drop(state);
        self.shared.announce(&object);
        Some(object.resource_version)
    }

    /// Creates a namespace, unless it is there; Deployments create theirs.
    pub fn create_namespace(&self, name: &str) {
        let now = self.shared.now();
        self.shared.state().ensure_namespace(name, now);
    }

    /// Sets `spec.replicas` (`None` removes the field); the object's version afterwards, or `None` if it is absent.
    pub fn scale(
        &self,
        namespace: &str,
        name: &str,
        replicas: impl Into<Option<i32>>,
    ) -> Option<u64> {
        self.change(namespace, name, |state, object| {
            state.scale(object, replicas.into(), None)
        })
    }

    /// The same by a field manager, which owns the count from then on: through the `scale` subresource, or on the object itself.
    pub fn scale_by(
        &self,
        namespace: &str,
        name: &str,
        replicas: i32,
        (manager, subresource): (&str, &'static str),
    ) -> Option<u64> {
        let by = SetBy {
            manager: manager.to_owned(),
            subresource,
            at: self.shared.now(),
            applied: false,
        };
        self.change(namespace, name, |state, object| {
            state.scale(object, Some(replicas), Some(by))
        })
    }

    /// Replaces all labels; the object's version afterwards, or `None` if it is absent.
    pub fn set_labels(&self, namespace: &str, name: &str, labels: &[(&str, &str)]) -> Option<u64> {
        let labels: Pairs = labels.iter().copied().collect();
        self.change(namespace, name, |state, object| {
            state.set_labels(object, labels)
        })
    }

    /// Replaces all annotations; the object's version afterwards, or `None` if it is absent.
    pub fn set_annotations(
        &self,
        namespace: &str,
        name: &str,
        annotations: &[(&str, &str)],
    ) -> Option<u64> {
        let annotations: Pairs = annotations.iter().copied().collect();
        self.change(namespace, name, |state, object| {
            state.set_annotations(object, annotations)
        })
    }

    /// Makes an event that changes only a time in the status; its version, or `None` if the object is absent.
    pub fn touch_status(&self, namespace: &str, name: &str) -> Option<u64> {
        self.change(namespace, name, |state, object| {
            let touched = object.status.touched.wrapping_add(1);
            let status = Rollout {
                touched,
                ..object.status
            };
            state.set_status(object, status)
        })
    }

    /// Sets how many replicas are ready; the object's version afterwards, or `None` if it is absent.
    pub fn set_ready(&self, namespace: &str, name: &str, ready: i32) -> Option<u64> {
        self.change(namespace, name, |state, object| {
            let status = Rollout {
                ready,
                available: ready,
                ..object.status
            };
            state.set_status(object, status)
        })
    }

    /// Deletes a Deployment, as far as its finalizers let it; the version that this made, or `None` if it is absent.
    pub fn delete(&self, namespace: &str, name: &str) -> Option<u64> {
        let now = self.shared.now();
        self.change(namespace, name, |state, object| state.delete(object, now))
    }

    /// Removes all finalizers; a Deployment that waited for this is gone then.
    pub fn remove_finalizers(&self, namespace: &str, name: &str) -> Option<u64> {
        self.change(namespace, name, |state, before| {
            let mut object = Object::clone(&before);
            object.finalizers = Arc::default();
            if object.same_content(&before) {
                before
            } else {
                state.replace(object, before)
            }
        })
    }

    fn change(
        &self,
        namespace: &str,
        name: &str,
        change: impl FnOnce(&mut State, Arc<Object>) -> Arc<Object>,
    ) -> Option<u64> {
        let mut state = self.shared.state();
        let object = state.get(namespace, name)?;
        let changed = change(&mut state, object);
        drop(state);
        self.shared.announce(&changed);
        Some(changed.resource_version)
    }

    /// The cluster's present version.
    pub fn resource_version(&self) -> u64 {
        self.shared.state().version
    }

    /// Lets the version grow by `n` without an event, as writes of other resources do.
    pub fn advance_version(&self, n: u64) {
        self.shared.state().version += n;
        self.shared.changed.send_replace(());
    }

    /// All Deployments, in etcd's order: that of the string `namespace/name`.
    pub fn deployments(&self) -> Vec<Deployment> {
        self.shared
            .state()
            .objects
            .values()
            .map(|object| object.view())
            .collect()
    }

    /// One Deployment.
    pub fn deployment(&self, namespace: &str, name: &str) -> Option<Deployment> {
        self.shared
            .state()
            .get(namespace, name)
            .map(|object| object.view())
    }

    /// How many Deployments there are.
    pub fn len(&self) -> usize {
        self.shared.state().objects.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all history: watches from an older version and continue tokens of older lists are expired.
    /// Watches that are open have seen it and go on.
    pub fn compact(&self) {
        let mut state = self.shared.state();
        let version = state.version;
        state.history.forget(version);
    }

    /// Lets every continue token that was given out expire.
    pub fn expire_continue_tokens(&self) {
        self.shared.state().token_epoch += 1;
    }

    /// This moment, for [`Cluster::restore`].
    pub fn snapshot(&self) -> Snapshot {
        let state = self.shared.state();
        Snapshot {
            objects: state.objects.clone(),
            namespaces: state.namespaces.clone(),
            version: state.version,
        }
    }

    /// Goes back to an earlier moment, as when etcd is restored from a backup: versions fall, history is gone,
    /// open watches end.
    pub fn restore(&self, snapshot: &Snapshot) {
        // They are locked before the state wherever both are.
        self.shared.autoscalers.restore(snapshot.version);
        self.shared.leases.restore(snapshot.version);
        let mut state = self.shared.state();
        state.objects = snapshot.objects.clone();
        state.namespaces = snapshot.namespaces.clone();
        state.version = snapshot.version;
        state.history.forget(snapshot.version);
        state.watch_epoch += 1;
        drop(state);
        self.shared.changed.send_replace(());
    }

    /// The last requests, oldest first, at most 10,000.
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.shared.log.seen()
    }

    /// The last SubjectAccessReviews that were decided, oldest first, at most 10,000.
    pub fn reviews(&self) -> Vec<AccessReview> {
        self.shared.authorizer.seen()
    }

    /// Empties the log of requests; the counters stay.
    pub fn clear_requests(&self) {
        self.shared.log.forget();
    }

    /// What faults kept from clients since this was last asked, oldest first, at most 10,000: events that were dropped, held
    /// back or made unreadable, and items of lists that were.
    pub fn take_losses(&self) -> Vec<Loss> {
        self.shared.log.take_losses()
    }

    /// How often each kind of request came.
    pub fn counts(&self) -> Counts {
        self.shared.log.counts()
    }
}
