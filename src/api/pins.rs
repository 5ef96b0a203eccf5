//! What lists under way keep in memory: an old snapshot for as long as somebody reads it, and what is on its way to each reader.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::{
    limits::{Memory, Reservation},
    store::Snapshot,
};

/// What the buffers on the way to one reader hold at most: of TLS, and of the socket.
const ON_ITS_WAY: usize = 256 * 1024;

/// The newest snapshot that is being read, and what is reserved for it: its readers share that.
#[derive(Debug, Default)]
pub(super) struct Pins(Mutex<(Weak<Snapshot>, Weak<Reservation>)>);

/// What one list needs until it has been sent.
#[derive(Debug)]
pub(super) struct Pinned {
    _snapshot: Arc<Reservation>,
    _on_its_way: Reservation,
}

impl Pins {
    /// Reserves what reading a snapshot may need; `None` when there is no room. As long as nothing changes, a snapshot is the
    /// store's own; it costs as much as the store when everything has changed since.
    pub(super) fn pin(&self, memory: &Arc<Memory>, snapshot: &Arc<Snapshot>) -> Option<Pinned> {
        let length = snapshot.list_len();
        let on_its_way = length.min(ON_ITS_WAY);
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = std::ptr::eq(newest.0.as_ptr(), Arc::as_ptr(snapshot));
        if let Some(reserved) = newest.1.upgrade().filter(|_| known) {
            return Some(Pinned {
                _snapshot: reserved,
                _on_its_way: memory.reserve(on_its_way)?,
            });
        }
        let mut whole = memory.reserve(snapshot.size() + on_its_way)?;
        let on_its_way = whole.split(on_its_way);
        let whole = Arc::new(whole);
        *newest = (Arc::downgrade(snapshot), Arc::downgrade(&whole));
        Some(Pinned {
            _snapshot: whole,
            _on_its_way: on_its_way,
        })
    }
}
