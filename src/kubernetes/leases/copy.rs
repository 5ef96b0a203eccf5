//! This server's copy of the Lease objects: what their watch tells, and beforehand what its own writes and readings were answered with.
//!
//! Such an answer is shown only where the watch hasn't come to it, and an event that is older than it changes nothing.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;
use tokio::sync::watch;
use tracing::{info, warn};
use uuid::Uuid;

use crate::{
    kubernetes::{
        calls::CallError,
        follower::{Followed, refused},
    },
    leases::{KIND_LABEL, Lease, NotALease, Stored, object_name},
};

/// Namespace and name of a Deployment.
type Key = (String, String);

/// The leases at one version of the cluster.
#[derive(Debug, Clone, Default)]
pub struct KnownLeases {
    version: u64,
    leases: BTreeMap<Key, Arc<Stored>>,
    unreadable: BTreeMap<String, NotALease>,
}

impl KnownLeases {
    /// That of a Deployment.
    pub fn of(&self, namespace: &str, name: &str) -> Option<&Arc<Stored>> {
        self.leases.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// All of them, by namespace and name.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Stored>> {
        self.leases.values()
    }

    /// How many there are, with those that can't be read.
    pub fn len(&self) -> usize {
        self.leases.len() + self.unreadable.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The names of the objects that are labelled as leases and can't be read, and why.
    pub fn unreadable(&self) -> impl Iterator<Item = (&str, &NotALease)> {
        self.unreadable.iter().map(|(name, why)| (&**name, why))
    }

    pub(super) fn keeps(&self, uid: Uuid) -> bool {
        self.leases.values().any(|stored| stored.uid == uid)
    }

    /// Takes an object, unless what is there is as new.
    fn put(&mut self, stored: Stored) {
        let lease = &stored.lease;
        let key = (lease.namespace.clone(), lease.name.clone());
        let there = self.leases.get(&key);
        if there.is_none_or(|there| there.version < stored.version) {
            self.leases.insert(key, Arc::new(stored));
        }
    }

    /// Forgets the object by a name, unless what is there is newer.
    fn remove(&mut self, own: &str, version: u64) {
        self.unreadable.remove(own);
        self.leases.retain(|(namespace, name), stored| {
            stored.version > version || object_name(namespace, name) != own
        });
    }
}

/// The copy, which the watch and this server's own calls keep.
pub(super) struct Copy {
    known: watch::Sender<Option<Arc<KnownLeases>>>,
    inner: Mutex<Inner>,
}

struct Inner {
    next: KnownLeases,
    /// Those that are known to be gone until the watch tells of it, too: that answer has no version.
    deleted: HashSet<Uuid>,
    /// Moves when the cluster was recognised as restored from an older state, in which they may be there.
    restores: watch::Receiver<u64>,
}

impl Copy {
    pub(super) fn new(restores: watch::Receiver<u64>) -> Self {
        Self {
            known: watch::Sender::new(None),
            inner: Mutex::new(Inner {
                next: KnownLeases::default(),
                deleted: HashSet::new(),
                restores,
            }),
        }
    }

    pub(super) fn known(&self) -> Option<Arc<KnownLeases>> {
        self.known.borrow().clone()
    }

    pub(super) fn changes(&self) -> watch::Receiver<Option<Arc<KnownLeases>>> {
        self.known.subscribe()
    }

    /// Shows what an own write, or reading, was answered with.
    pub(super) fn told(&self, stored: &Stored) {
        let mut inner = self.lock();
        // What the watch has passed it may have deleted since.
        if stored.version > inner.next.version && !inner.deleted.contains(&stored.uid) {
            let Lease {
                namespace, name, ..
            } = &stored.lease;
            inner.next.unreadable.remove(&object_name(namespace, name));
            inner.next.put(stored.clone());
            self.show(&inner);
        }
    }

    /// Shows no more what this server has deleted, or found to be gone.
    pub(super) fn deleted(&self, stored: &Stored) {
        let mut inner = self.lock();
        if inner.next.keeps(stored.uid) {
            inner.deleted.insert(stored.uid);
            inner.next.leases.retain(|_, there| there.uid != stored.uid);
            self.show(&inner);
        }
    }

    /// Makes the next state known, if there was one before.
    fn show(&self, inner: &Inner) {
        self.known.send_if_modified(|known| {
            let shown = known.is_some();
            if shown {
                *known = Some(Arc::new(inner.next.clone()));
            }
            shown
        });
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn take(&mut self, object: &Value) {
        let own = object["metadata"]["name"].as_str().unwrap_or_default();
        match Stored::read(object) {
            Ok(stored) if self.deleted.contains(&stored.uid) => {}
            Ok(stored) => {
                self.next.unreadable.remove(own);
                self.next.put(stored);
            }
            Err(why) => {
                self.next.remove(own, version_of(object));
                warn!(name: "lease.unreadable", object = %own, error = %why,
                    "a Lease object that is labelled {}={} can't be read and is left as it is", KIND_LABEL.0, KIND_LABEL.1);
                self.next.unreadable.insert(own.to_owned(), why);
            }
        }
    }
}

fn version_of(object: &Value) -> u64 {
    <&Copy as Followed>::version(object).parse().unwrap_or(0)
}

fn uid_of(object: &Value) -> Option<Uuid> {
    object["metadata"]["uid"].as_str()?.parse().ok()
}

impl Followed for &Copy {
    type Object = Value;
    const WHAT: &'static str = "leases";
    const WATCH_SECONDS: u64 = 20;

    fn version(object: &Value) -> &str {
        let version = object["metadata"]["resourceVersion"].as_str();
        version.unwrap_or_default()
    }

    fn listed(&mut self, all: Vec<Value>, version: u64) {
        let mut inner = self.lock();
        let restored = inner.restores.has_changed().unwrap_or(false);
        if restored {
            inner.restores.mark_unchanged();
            inner.deleted.clear();
        }
        // A list shows what was deleted while it was made; what it doesn't show no event tells of.
        let listed: HashSet<_> = all.iter().filter_map(uid_of).collect();
        inner.deleted.retain(|uid| listed.contains(uid));
        let before = std::mem::take(&mut inner.next);
        inner.next.version = version;
        all.iter().for_each(|object| inner.take(object));
        // What own calls were answered with since then the watch comes to, unless the cluster is of an older time.
        if !restored && version >= before.version {
            let newer = before.leases.into_values();
            newer
                .filter(|stored| stored.version > version)
                .for_each(|stored| inner.next.put(Arc::unwrap_or_clone(stored)));
        }
    }

    fn changed(&mut self, object: Value, deleted: bool) {
        let mut inner = self.lock();
        // At once: an answer that is older than this event must not come between it and the last of its chunk.
        inner.next.version = inner.next.version.max(version_of(&object));
        if deleted {
            let own = object["metadata"]["name"].as_str().unwrap_or_default();
            inner.next.remove(own, version_of(&object));
            if let Some(uid) = uid_of(&object) {
                inner.deleted.remove(&uid);
            }
        } else {
            inner.take(&object);
        }
    }

    fn publish(&mut self, version: u64) {
        let mut inner = self.lock();
        inner.next.version = version;
        self.known.send_replace(Some(Arc::new(inner.next.clone())));
    }

    fn forget(&mut self) {
        let mut inner = self.lock();
        inner.next = KnownLeases::default();
        self.known.send_replace(None);
    }

    fn followed(&self) {
        let count = self.lock().next.len();
        info!(name: "leases.followed", count, "{count} leases of counts are known");
    }

    fn lost(&self, error: &CallError) {
        if refused(error) {
            warn!(name: "leases.lost", error = %error,
                "leases of counts can't be taken, and none goes back: let this server's account get, list, watch, create, update and delete leases (coordination.k8s.io) in the namespace of leases.namespace, or set leases.enabled to false");
        } else {
            warn!(name: "leases.lost", error = %error, "leases of counts aren't followed for now; what was known of them stays in use");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::leases::State;

    fn object(uid: u128, version: u64, seconds: u32) -> Value {
        let lease = Lease {
            namespace: "web".into(),
            name: "shop".into(),
            uid: Uuid::nil(),
            mark: "0123456789abcdef".into(),
            replicas: 10,
            previous: 3,
            state: State::Held,
            reason: None,
            holder: "alice".into(),
            ended_by: None,
            taken: jiff::Timestamp::UNIX_EPOCH,
            renewed: jiff::Timestamp::UNIX_EPOCH,
            seconds,
        };
        let mut object = lease.object();
        object["metadata"]["uid"] = json!(Uuid::from_u128(uid));
        object["metadata"]["resourceVersion"] = json!(version.to_string());
        object
    }

    fn stored(uid: u128, version: u64, seconds: u32) -> Stored {
        Stored::read(&object(uid, version, seconds)).unwrap()
    }

    /// The version and the seconds of the lease that is shown.
    fn shown(copy: &Copy) -> Option<(u64, u32)> {
        let known = copy.known().unwrap();
        let stored = known.of("web", "shop")?;
        Some((stored.version, stored.lease.seconds))
    }

    /// What a list at version 5 shows.
    fn listed(all: Vec<Value>) -> (Copy, watch::Sender<u64>) {
        let restores = watch::Sender::new(0);
        let copy = Copy::new(restores.subscribe());
        (&copy).listed(all, 5);
        (&copy).publish(5);
        (copy, restores)
    }

    #[test]
    fn an_own_write_is_shown_at_once_and_no_older_event_takes_it_back() {
        let (copy, _restores) = listed(vec![object(1, 4, 60)]);
        copy.told(&stored(1, 8, 90));
        assert_eq!(shown(&copy), Some((8, 90)));
        (&copy).changed(object(1, 6, 70), false);
        (&copy).publish(6);
        assert_eq!(shown(&copy), Some((8, 90)));
        (&copy).changed(object(1, 9, 80), false);
        (&copy).publish(9);
        assert_eq!(shown(&copy), Some((9, 80)));
    }

    #[test]
    fn an_answer_that_comes_late_brings_nothing_back() {
        let (copy, _restores) = listed(vec![object(1, 4, 60)]);
        (&copy).changed(object(1, 9, 60), true);
        (&copy).publish(9);
        copy.told(&stored(1, 8, 90));
        assert_eq!(shown(&copy), None);
    }

    #[test]
    fn an_answer_that_comes_between_two_events_brings_nothing_back() {
        let (copy, _restores) = listed(vec![object(1, 4, 60)]);
        (&copy).changed(object(1, 9, 60), true);
        copy.told(&stored(1, 8, 90));
        (&copy).publish(9);
        assert_eq!(shown(&copy), None);
        (&copy).listed(Vec::new(), 12);
        copy.told(&stored(2, 11, 90));
        (&copy).publish(12);
        assert_eq!(shown(&copy), None);
    }

    #[test]
    fn a_list_that_is_older_than_an_own_write_takes_nothing_back_but_one_of_a_restored_cluster_does()
     {
        let (copy, _restores) = listed(vec![object(1, 4, 60)]);
        copy.told(&stored(1, 8, 90));
        (&copy).listed(vec![object(1, 4, 60)], 6);
        (&copy).publish(6);
        assert_eq!(shown(&copy), Some((8, 90)));
        (&copy).listed(vec![object(1, 3, 60)], 3);
        (&copy).publish(3);
        assert_eq!(shown(&copy), Some((3, 60)));
    }

    #[test]
    fn what_this_server_deleted_is_gone_at_once_whatever_the_watch_tells_of_before() {
        let (copy, _restores) = listed(vec![object(1, 4, 60)]);
        copy.deleted(&stored(1, 4, 60));
        assert_eq!(shown(&copy), None);
        (&copy).changed(object(1, 4, 60), false);
        copy.told(&stored(1, 6, 60));
        assert_eq!(shown(&copy), None);
        // Another one by its name, which the end of the first doesn't end.
        copy.told(&stored(2, 8, 90));
        (&copy).changed(object(1, 7, 60), true);
        (&copy).publish(7);
        assert_eq!(shown(&copy), Some((8, 90)));
    }

    #[test]
    fn what_was_deleted_is_there_again_in_a_cluster_that_was_restored() {
        let (copy, restores) = listed(vec![object(1, 4, 60)]);
        copy.deleted(&stored(1, 4, 60));
        (&copy).listed(vec![object(1, 4, 60)], 5);
        (&copy).publish(5);
        assert_eq!(shown(&copy), None);
        restores.send_replace(1);
        (&copy).listed(vec![object(1, 4, 60)], 4);
        (&copy).publish(4);
        assert_eq!(shown(&copy), Some((4, 60)));
    }

    #[test]
    fn nothing_is_shown_before_all_were_listed() {
        let restores = watch::Sender::new(0);
        let copy = Copy::new(restores.subscribe());
        copy.told(&stored(1, 8, 90));
        assert!(copy.known().is_none());
    }
}
