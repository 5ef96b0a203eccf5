//! What happened, in order: a ring of events that watches read and from which older versions are rebuilt.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::cluster::lock;
use crate::negotiate::Encoding;
use crate::object::Object;

/// How many of the newest events keep their encoded form for other watchers.
const ENCODED: usize = 1024;
/// How many older versions keep what differs from the present one.
const PAST: usize = 16;

/// A change of one object.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) version: u64,
    /// The state after the change; for a deletion the last state, with the deletion's version.
    pub(crate) object: Arc<Object>,
    /// The state before it; `None` for a creation.
    pub(crate) before: Option<Arc<Object>>,
    pub(crate) deletes: bool,
    encoded: [Mutex<Option<Bytes>>; 2],
    old: AtomicBool,
}

impl Event {
    pub(crate) fn new(object: Arc<Object>, before: Option<Arc<Object>>, deletes: bool) -> Self {
        Self {
            version: object.resource_version,
            object,
            before,
            deletes,
            encoded: Default::default(),
            old: AtomicBool::new(false),
        }
    }

    /// The object in this encoding, made once for all watchers as long as the event is new.
    pub(crate) fn encoded(
        &self,
        encoding: Encoding,
        encode: impl FnOnce(&Object) -> Bytes,
    ) -> Bytes {
        let mut slot = lock(&self.encoded[encoding as usize]);
        if self.old.load(Ordering::Relaxed) {
            return encode(&self.object);
        }
        slot.get_or_insert_with(|| encode(&self.object)).clone()
    }

    fn forget_encoded(&self) {
        // First of all, so that a watcher that is late can't fill a slot that nobody empties any more.
        self.old.store(true, Ordering::Relaxed);
        for slot in &self.encoded {
            *lock(slot) = None;
        }
    }
}

/// The events that are still known, and what they say about older versions.
#[derive(Debug)]
pub(crate) struct History {
    events: VecDeque<Arc<Event>>,
    capacity: usize,
    /// The oldest version that can still be shown or watched from.
    floor: u64,
    past: VecDeque<Past>,
}

/// How the cluster at `version` differs from the present one: objects by key, `None` for those that weren't there.
#[derive(Debug)]
struct Past {
    version: u64,
    seen: u64,
    differs: BTreeMap<Arc<str>, Option<Arc<Object>>>,
}

impl History {
    pub(crate) fn new(version: u64, capacity: usize) -> Self {
        Self {
            events: VecDeque::new(),
            capacity: capacity.max(1),
            floor: version,
            past: VecDeque::new(),
        }
    }

    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    pub(crate) fn push(&mut self, event: Event) {
        if self.events.len() == self.capacity
            && let Some(oldest) = self.events.pop_front()
        {
            self.floor = oldest.version;
        }
        if let Some(at) = self.events.len().checked_sub(ENCODED) {
            self.events[at].forget_encoded();
        }
        self.events.push_back(Arc::new(event));
    }

    /// Forgets everything up to `version`.
    pub(crate) fn forget(&mut self, version: u64) {
        self.events.clear();
        self.past.clear();
        self.floor = version;
    }

    /// The events after `version`, at most `limit`, none newer than `until`; `None` if some of them are forgotten.
    pub(crate) fn after(&self, version: u64, until: u64, limit: usize) -> Option<Vec<Arc<Event>>> {
        if version < self.floor {
            return None;
        }
        let start = self
            .events
            .partition_point(|event| event.version <= version);
        Some(
            self.events
                .range(start..)
                .take_while(|event| event.version <= until)
                .take(limit)
                .cloned()
                .collect(),
        )
    }

    /// What differs between `version` and the present; `None` if the history doesn't reach back that far.
    pub(crate) fn past(
        &mut self,
        version: u64,
    ) -> Option<&BTreeMap<Arc<str>, Option<Arc<Object>>>> {
        let at = match self.past.iter().position(|past| past.version == version) {
            Some(at) => at,
            None => {
                if self.past.len() == PAST {
                    self.past.pop_front();
                }
                self.past.push_back(Past {
                    version,
                    seen: version,
                    differs: BTreeMap::new(),
                });
                self.past.len() - 1
            }
        };
        if self.past[at].seen < self.floor {
            self.past.remove(at);
            return None;
        }
        let past = &mut self.past[at];
        let start = self
            .events
            .partition_point(|event| event.version <= past.seen);
        for event in self.events.range(start..) {
            // The first change after the version tells what was there at the version.
            past.differs
                .entry(event.object.key.clone())
                .or_insert_with(|| event.before.clone());
            past.seen = event.version;
        }
        Some(&past.differs)
    }
}
