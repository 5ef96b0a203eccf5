//! What the requests of one caller hold in memory, whatever connections they come on. Each connection has bounds of its own, but a
//! caller has many.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Limit, NoTurn};

/// A head (URI and headers) of so many bytes is a large one.
pub(crate) const LARGE_HEAD: usize = 4096;
/// Large heads at once whose requests are under way, and as many that are being read: 64 KiB each at most.
const LARGE_HEADS: usize = 128;

/// One caller's.
#[derive(Debug)]
pub(crate) struct Share {
    /// Requests under way over HTTP/2: over HTTP/1.1 there are no more than connections.
    streams: AtomicUsize,
    /// Heads that are being read.
    coming: Arc<Semaphore>,
    /// Heads of requests under way.
    heads: Arc<Semaphore>,
}

impl Default for Share {
    fn default() -> Self {
        Self {
            streams: AtomicUsize::new(0),
            coming: Arc::new(Semaphore::new(LARGE_HEADS)),
            heads: Arc::new(Semaphore::new(LARGE_HEADS)),
        }
    }
}

impl Share {
    /// One more request; how many there were.
    pub(crate) fn begin(&self) -> usize {
        self.streams.fetch_add(1, Relaxed)
    }

    /// One is over.
    pub(crate) fn end(&self) {
        self.streams.fetch_sub(1, Relaxed);
    }

    /// The turns of large heads that come.
    pub(crate) fn coming(&self) -> Arc<Semaphore> {
        Arc::clone(&self.coming)
    }

    /// A place for a head of so many bytes while its request is under way, if it needs one.
    pub(crate) fn head(&self, bytes: usize) -> Result<Option<OwnedSemaphorePermit>, NoTurn> {
        if bytes < LARGE_HEAD {
            return Ok(None);
        }
        let place = Arc::clone(&self.heads).try_acquire_owned();
        place.map(Some).map_err(|_| NoTurn {
            limit: Limit::LargeHeads,
            own: true,
        })
    }
}
